//! Logs and metrics: one line of JSON a request or message, which carries its metrics too.
//!
//! `line.rs` is what a line looks like, `subscriber.rs` what makes lines of events, `namespace.rs` where metrics go.
//!
//! A line holds identifiers and numbers, never object ids, bodies or credentials. Its fields that are named like a metric
//! are metrics, by CloudWatch's embedded metric format: whoever logs `TasksDone = 1`, at `INFO` or
//! above, has counted one.

mod line;
mod namespace;
mod subscriber;

pub use line::{MAX_LINE_BYTES, METRICS};
pub use namespace::{MAX_NAMESPACE_BYTES, MetricsNamespace};

use std::io::Write;
use std::str::FromStr;
use subscriber::Lines;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel(LevelFilter);

impl LogLevel {
    /// The most talkative level that is logged.
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

/// What is logged and counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// How much to log.
    pub level: LogLevel,
    /// Where the metrics go; `None`: there are none.
    pub metrics: Option<MetricsNamespace>,
}

/// Logs as JSON lines on standard output, which Lambda gives to CloudWatch Logs, and that to CloudWatch what they count.
pub fn init(config: TelemetryConfig) {
    let lines = lines(config, |line| {
        // Nobody could be told that it failed.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    });
    let _ = tracing::subscriber::set_global_default(lines);
}

/// What makes lines of events and hands each, with its line feed, to `write`.
pub fn lines(
    config: TelemetryConfig,
    write: impl Fn(&str) + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    Lines::new(config, write)
}
