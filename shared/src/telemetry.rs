//! Logs: one structured line a request or message.
//!
//! A line holds identifiers and numbers, never object ids, bodies or credentials.

use std::str::FromStr;
use tracing::level_filters::LevelFilter;

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel(LevelFilter);

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

/// Logs as JSON lines on standard output, for CloudWatch Logs.
pub fn init(level: LogLevel) {
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(level.0)
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Logs as lines on standard error, for a person.
pub fn init_for_a_person(level: LogLevel, colour: bool) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .with_max_level(level.0)
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
}
