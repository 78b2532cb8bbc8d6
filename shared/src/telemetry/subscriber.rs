//! The subscriber that writes lines: those that our code [logs](super::log), and one for each event
//! of `tracing`. It ignores spans, since a line is complete by itself.

use super::line::{Line, to_json};
use super::{ShortText, TelemetryConfig};
use crate::clock::Clock;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Makes lines and hands them to `write`.
pub(super) struct Lines {
    config: TelemetryConfig,
    write: Box<dyn Fn(&str) + Send + Sync>,
}

impl Lines {
    pub(super) fn new(
        config: TelemetryConfig,
        write: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self {
            config,
            write: Box::new(write),
        }
    }

    /// Writes a line of our own code if its level is logged or if it counts something: metrics do
    /// not depend on how much is logged.
    pub(super) fn log(&self, level: Level, line: &mut impl Line) {
        let counts = self.config.metrics.is_some() && !line.metrics().is_empty();
        if counts || level <= self.config.level.filter() {
            self.write(level, line);
        }
    }

    fn write(&self, level: Level, line: &mut impl Line) {
        let namespace = self.config.metrics.as_ref();
        (self.write)(&to_json(level, line, namespace, Clock::System.now()));
    }
}

impl Subscriber for Lines {
    /// Only our own events and the runtime's errors are logged, since libraries log requests,
    /// bodies and whole errors.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = match metadata.target().split("::").next() {
            Some("shared") => self.config.level.filter(),
            Some("lambda_runtime") => LevelFilter::ERROR,
            Some(_) | None => LevelFilter::OFF,
        };
        metadata.is_event() && *metadata.level() <= level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.config.level.filter().max(LevelFilter::ERROR))
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = EventLine::default();
        event.record(&mut line);
        self.write(*event.metadata().level(), &mut line);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The fields of an event, in order. It counts nothing.
#[derive(Debug, Default)]
struct EventLine(Vec<(&'static str, Value)>);

impl Serialize for EventLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Line for EventLine {
    fn shorten(&mut self) -> bool {
        let before = self.0.len();
        self.0.retain(|(name, _)| *name != "cause");
        self.0.len() < before
    }
}

impl EventLine {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.push((field.name(), value.into()));
    }
}

impl Visit for EventLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, ShortText::new(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, ShortText::new(format_args!("{value:?}")));
    }
}
