//! Logs for a person.

use shared::telemetry::LogLevel;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Lines that wait to be written. Where nobody reads them, more are dropped: a log stops nothing.
const MAX_WAITING_LINES: usize = 10_000;

/// Logs as lines on standard error, by a thread of its own, until what this returns is dropped. Of libraries only their errors: an
/// embedded service's refusal of a conditional write is everyday business.
pub fn init(level: LogLevel) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING_LINES)
        .finish(std::io::stderr());
    let targets = Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_target("shared", level.filter())
        .with_target("local", level.filter());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(targets));
    let _ = tracing::subscriber::set_global_default(subscriber);
    guard
}
