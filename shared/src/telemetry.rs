//! Logs and metrics: one line of JSON for each request or message, which also carries its metrics.
//!
//! `line.rs` defines a line and its greatest length, `metrics.rs` what it counts, `text.rs` its
//! texts of unknown length. `subscriber.rs` writes lines, and `namespace.rs` names where metrics
//! go.
//!
//! A kind of line is a struct that implements [`Line`]; [`log`] writes one. What a line counts is
//! in its [`Metrics`], in CloudWatch's embedded metric format. A line holds identifiers and
//! numbers, never object ids, bodies or credentials. Rare errors that belong to no request or
//! message are plain events of `tracing`; each is also a line.

mod line;
mod metrics;
mod namespace;
mod subscriber;
mod text;

pub use line::{Line, MAX_LINE_BYTES};
pub use metrics::{Metric, Metrics};
pub use namespace::{MAX_NAMESPACE_BYTES, MetricsNamespace};
pub use text::ShortText;

use std::io::Write;
use std::str::FromStr;
use subscriber::Lines;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber, dispatcher, error, info, warn};

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel(LevelFilter);

impl LogLevel {
    /// The least severe level that is logged.
    pub fn filter(self) -> LevelFilter {
        self.0
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self(LevelFilter::INFO)
    }
}

impl FromStr for LogLevel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let level = match text.to_ascii_lowercase().as_str() {
            "error" => LevelFilter::ERROR,
            "warn" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            _ => return Err(()),
        };
        Ok(Self(level))
    }
}

/// How much is logged, and where metrics go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// How much to log.
    pub level: LogLevel,
    /// The namespace of the metrics. `None`: there are no metrics.
    pub metrics: Option<MetricsNamespace>,
}

/// Starts logging JSON lines to standard output. Lambda passes them to CloudWatch Logs, which
/// passes their metrics to CloudWatch.
pub fn init(config: TelemetryConfig) {
    let lines = lines(config, |line| {
        // If this fails, there is no place to report it.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    });
    let _ = tracing::subscriber::set_global_default(lines);
}

/// Returns the subscriber that writes lines. It hands each, with its line feed, to `write`.
pub fn lines(
    config: TelemetryConfig,
    write: impl Fn(&str) + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    Lines::new(config, write)
}

/// Writes a line through the current subscriber of `tracing`. If [`lines`] did not make the
/// subscriber, as with a log for people, the line is an event with its JSON as the message.
pub fn log(level: Level, mut line: impl Line) {
    let is_written = dispatcher::get_default(|dispatch| {
        let lines = dispatch.downcast_ref::<Lines>();
        lines.map(|lines| lines.log(level, &mut line)).is_some()
    });
    if is_written {
        return;
    }
    // This is not in the closure: while that runs, `tracing` may accept no event.
    let json = || serde_json::to_string(&line).unwrap_or_default();
    match level {
        Level::ERROR => error!("{}", json()),
        Level::WARN => warn!("{}", json()),
        _ => info!("{}", json()),
    }
}
