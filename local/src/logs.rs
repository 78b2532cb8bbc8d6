//! Logs for a person.

use shared::telemetry::LogLevel;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Logs as lines on standard error. Of libraries only their errors: an embedded service's refusal of a conditional write is
/// everyday business.
pub fn init(level: LogLevel) {
    let targets = Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_target("shared", level.filter())
        .with_target("local", level.filter());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(targets));
    let _ = tracing::subscriber::set_global_default(subscriber);
}
