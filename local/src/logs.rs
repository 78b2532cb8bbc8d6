//! Logs for a person to read.

use shared::telemetry::LogLevel;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// The most lines that wait to be written. Further lines are dropped, so that a log that nobody
/// reads blocks nothing.
const MAX_WAITING_LINES: usize = 10_000;

/// Writes logs to standard error from their own thread until the returned guard is dropped.
/// Libraries log only errors, since an embedded service's refusal of a conditional write is normal.
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
