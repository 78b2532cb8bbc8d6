//! What makes a line of each event. It knows no spans: a line says all of its own.

use super::line::{self, Line};
use super::{MetricsNamespace, TelemetryConfig};
use crate::clock::Clock;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Makes lines and hands them to `write`.
pub(super) struct Lines<W> {
    level: LevelFilter,
    metrics: Option<MetricsNamespace>,
    write: W,
}

impl<W> Lines<W> {
    pub(super) fn new(config: TelemetryConfig, write: W) -> Self {
        Self {
            level: config.level.filter(),
            metrics: config.metrics,
            write,
        }
    }

    /// Whether events like this are logged for what they say. Only our own, and the runtime's errors: libraries log
    /// requests, bodies and whole errors.
    fn is_logged(&self, metadata: &Metadata<'_>) -> bool {
        let level = match metadata.target().split("::").next() {
            Some("shared") => self.level,
            Some("lambda_runtime") => LevelFilter::ERROR,
            Some(_) | None => LevelFilter::OFF,
        };
        *metadata.level() <= level
    }

    /// Whether events like this may count something. What is counted does not depend on how much is logged.
    fn may_count(&self, metadata: &Metadata<'_>) -> bool {
        let mut fields = metadata.fields().iter();
        self.metrics.is_some() && fields.any(|field| line::is_metric(field.name()))
    }
}

impl<W: Fn(&str) + Send + Sync + 'static> Subscriber for Lines<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && (self.is_logged(metadata) || self.may_count(metadata))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let counted = match self.metrics {
            Some(_) => LevelFilter::INFO,
            None => LevelFilter::ERROR,
        };
        Some(self.level.max(counted))
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line::new(*metadata.level());
        event.record(&mut line);
        if self.is_logged(metadata) || line.has_metrics() {
            (self.write)(&line.finish(self.metrics.as_ref(), Clock::System.now()));
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
