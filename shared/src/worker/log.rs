//! A message's one line of log.

use super::Verdict;
use crate::store::{Settled, StoreError};
use crate::task::{Counts, Message, TaskStatus};
use crate::telemetry::{self, Line, Metric, Metrics, ShortText};
use chrono::TimeDelta;
use serde::Serialize;
use std::fmt;
use tracing::Level;

/// What a message's line says, collected on the way: what was done stands in it though the work is broken off after.
#[derive(Debug, Default)]
pub(super) struct MessageLog {
    /// How the task ended, if it was this message that ended it.
    ended: Option<TaskStatus>,
    /// Objects that have an outcome by this message.
    newly: Counts,
    /// The last thing that went wrong.
    cause: Option<ShortText>,
}

/// The time was up before the work had ended.
#[derive(Debug)]
pub(super) struct OutOfTime;

/// How the line says that a message ended.
#[derive(Debug)]
pub(super) struct End {
    outcome: &'static str,
    why: Option<&'static str>,
    sent: Option<usize>,
    unsent: Option<usize>,
    level: Level,
    /// Whether the message is to be delivered again.
    pub(super) comes_again: bool,
}

impl MessageLog {
    /// The end of a claim is on record.
    pub(super) fn settled(&mut self, settled: &Settled) {
        self.ended = settled.ended;
        self.newly = self.newly.and(settled.newly);
    }

    /// The task has ended without an object to try.
    pub(super) fn ended(&mut self, status: TaskStatus) {
        self.ended = Some(status);
    }

    /// Something went wrong. The line says the last of it.
    pub(super) fn cause(&mut self, cause: impl fmt::Display) {
        self.cause = Some(ShortText::new(cause));
    }

    /// Writes the line.
    pub(super) fn write(self, message: &Message, end: &End, duration: TimeDelta) {
        let mut metrics = Metrics::default();
        match self.ended {
            Some(TaskStatus::Done) => metrics.add(Metric::TasksDone, 1),
            Some(TaskStatus::Failed) => metrics.add(Metric::TasksFailed, 1),
            Some(TaskStatus::Pending | TaskStatus::Processing | TaskStatus::Canceled) | None => {}
        }
        let failed = self.newly.failed.saturating_sub(self.newly.not_found);
        for (metric, count) in [
            (Metric::ObjectsDeleted, self.newly.deleted),
            (Metric::ObjectsNotFound, self.newly.not_found),
            (Metric::ObjectsFailed, failed),
        ] {
            if count > 0 {
                metrics.add(metric, count);
            }
        }
        let level = match end.level {
            Level::INFO if self.cause.is_none() => Level::INFO,
            _ => Level::WARN,
        };
        let line = MessageLine {
            task_id: &message.task_id,
            attempt: message.attempt,
            chunk: message.chunk,
            outcome: Some(end.outcome),
            why: end.why,
            sent: end.sent,
            unsent: end.unsent,
            cause: self.cause,
            metrics,
            duration_ms: Some(duration.num_milliseconds()),
        };
        telemetry::log(level, line);
    }
}

/// A message's line, as it is written.
#[derive(Debug, Serialize)]
struct MessageLine<'a> {
    task_id: &'a str,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsent: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ShortText>,
    #[serde(flatten)]
    metrics: Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
}

impl Line for MessageLine<'_> {
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn task_id(&self) -> Option<&str> {
        Some(self.task_id)
    }

    fn shorten(&mut self) -> bool {
        // Where the line counts a task that ended, the metric's name says what `outcome` says.
        let has_end = self.metrics.has(Metric::TasksDone) || self.metrics.has(Metric::TasksFailed);
        (has_end && self.outcome.take().is_some())
            || self.duration_ms.take().is_some()
            || self.cause.take().is_some()
    }
}

/// The line of a message that is not one of this service.
#[derive(Debug, Serialize)]
pub(super) struct RefusedLine {
    message_id: ShortText,
    outcome: &'static str,
    why: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ShortText>,
}

impl RefusedLine {
    /// `cause`: why the message could not be made visible again, if it could not.
    pub(super) fn new(message_id: &str, cause: Option<impl fmt::Display>) -> Self {
        Self {
            message_id: ShortText::new(message_id),
            outcome: "refused",
            why: "not a message of this service",
            cause: cause.map(ShortText::new),
        }
    }
}

impl Line for RefusedLine {
    fn shorten(&mut self) -> bool {
        self.cause.take().is_some()
    }
}

impl End {
    /// The end that a verdict is, or its absence.
    pub(super) fn of(
        verdict: Result<Result<Verdict, StoreError>, OutOfTime>,
        log: &mut MessageLog,
    ) -> Self {
        let end = |outcome| Self {
            outcome,
            why: None,
            sent: None,
            unsent: None,
            level: Level::INFO,
            comes_again: false,
        };
        match verdict {
            Ok(Ok(Verdict::Recorded(status))) => end(status.as_str()),
            Ok(Ok(Verdict::Dropped(why))) => Self {
                why: Some(why),
                ..end("dropped")
            },
            Ok(Ok(Verdict::FannedOut { sent, unsent })) => Self {
                sent: Some(sent),
                unsent: Some(unsent),
                ..end("fanned out")
            },
            Ok(Ok(Verdict::Deferred(why))) => Self {
                why: Some(why),
                level: Level::WARN,
                ..end("deferred")
            },
            Ok(Ok(Verdict::HandedBack)) => Self {
                comes_again: true,
                ..end("handed back")
            },
            Ok(Err(error)) => {
                log.cause(error);
                Self {
                    level: Level::WARN,
                    comes_again: true,
                    ..end("error")
                }
            }
            Err(OutOfTime) => Self {
                level: Level::WARN,
                comes_again: true,
                ..end("out of time")
            },
        }
    }
}
