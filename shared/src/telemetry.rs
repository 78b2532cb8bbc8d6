//! Logs: one structured line a request or message.
//!
//! A line holds identifiers and numbers, never object ids, bodies or credentials.

use std::str::FromStr;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

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
///
/// Only our own lines, whatever the level, and the runtime's errors: libraries log requests, bodies and whole errors.
pub fn init(level: LogLevel) {
    let targets = Targets::new()
        .with_target("shared", level.0)
        .with_target("lambda_runtime", LevelFilter::ERROR);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(targets));
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Logs as lines on standard error, for a person. Of libraries only their errors: an embedded service's refusal of a
/// conditional write is everyday business.
pub fn init_for_a_person(level: LogLevel, ours: &[&'static str]) {
    let targets = Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_targets(ours.iter().map(|target| (*target, level.0)));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(targets));
    let _ = tracing::subscriber::set_global_default(subscriber);
}
