//! The log line of a message.

use super::Verdict;
use crate::store::Settled;
use crate::task::{Counts, Message, TaskStatus};
use crate::telemetry::{self, Line, Metric, Metrics, ShortText};
use chrono::TimeDelta;
use serde::Serialize;
use std::fmt;
use tracing::Level;

/// The content of a message's line, collected on the way.
///
/// So the line says what was done even if the work is broken off later.
#[derive(Debug, Default)]
pub(super) struct MessageLog {
    /// The task's final status, if this message ended the task.
    ended: Option<TaskStatus>,
    /// Objects that got an outcome from this message.
    newly: Counts,
    /// The last thing that went wrong.
    cause: Option<ShortText>,
    /// Whether a claim may have been made.
    has_claimed: bool,
}

impl MessageLog {
    /// Notes that a claim is about to be made.
    pub(super) fn claiming(&mut self) {
        self.has_claimed = true;
    }

    /// Returns whether a claim may have been made.
    pub(super) fn has_claimed(&self) -> bool {
        self.has_claimed
    }

    /// Notes that the end of a claim is recorded.
    pub(super) fn settled(&mut self, settled: &Settled) {
        self.ended = settled.ended;
        self.newly = self.newly.and(settled.newly);
    }

    /// Notes that the task has ended without an object to try.
    pub(super) fn ended(&mut self, status: TaskStatus) {
        self.ended = Some(status);
    }

    /// Notes that something went wrong. The line shows the last cause.
    pub(super) fn cause(&mut self, cause: impl fmt::Display) {
        self.cause = Some(ShortText::new(cause));
    }

    /// Writes the line.
    pub(super) fn write(mut self, message: &Message, verdict: &Verdict, duration: TimeDelta) {
        let mut line = MessageLine {
            task_id: &message.task_id,
            attempt: message.attempt,
            chunk: message.chunk,
            outcome: None,
            why: None,
            sent: None,
            unsent: None,
            cause: None,
            metrics: self.metrics(),
            duration_ms: Some(duration.num_milliseconds()),
        };
        let mut level = Level::INFO;
        line.outcome = Some(match verdict {
            Verdict::Recorded { status, .. } => status.as_str(),
            Verdict::Dropped(why) => {
                line.why = Some(why);
                "dropped"
            }
            Verdict::FannedOut { sent, unsent } => {
                (line.sent, line.unsent) = (Some(*sent), Some(*unsent));
                "fanned out"
            }
            Verdict::Deferred(why) => {
                line.why = Some(why);
                level = Level::WARN;
                "deferred"
            }
            Verdict::HandedBack => "handed back",
            Verdict::TurnIsFar(_) => {
                line.why = Some("its index is busy");
                "handed back"
            }
            Verdict::StorePauses(_) => {
                line.why = Some("its store has asked to wait");
                "handed back"
            }
            Verdict::StoreFailed(error) => {
                self.cause(error);
                "error"
            }
            Verdict::OutOfTime => {
                level = Level::WARN;
                "out of time"
            }
        });
        if self.cause.is_some() {
            level = Level::WARN;
        }
        line.cause = self.cause;
        telemetry::log(level, line);
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        match self.ended {
            Some(TaskStatus::Done) => metrics.add(Metric::TasksDone, 1),
            Some(TaskStatus::Failed) => metrics.add(Metric::TasksFailed, 1),
            Some(TaskStatus::Pending | TaskStatus::Processing | TaskStatus::Canceled) | None => {}
        }
        for (metric, count) in [
            (Metric::ObjectsDeleted, self.newly.deleted),
            (Metric::ObjectsNotFound, self.newly.not_found),
            (
                Metric::ObjectsFailed,
                self.newly.failed.saturating_sub(self.newly.not_found),
            ),
        ] {
            if count > 0 {
                metrics.add(metric, count);
            }
        }
        metrics
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

    fn names(&self) -> [Option<&str>; 3] {
        [Some(self.task_id), None, None]
    }

    fn shorten(&mut self) -> bool {
        // If the line counts a task that ended, the metric's name says the same as `outcome`.
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
    /// Creates the line. `cause` says why the message could not be sent to the dead-letter queue.
    pub(super) fn new(message_id: &str, cause: Option<impl fmt::Display>) -> Self {
        Self {
            message_id: ShortText::new(message_id),
            outcome: "refused",
            why: "not a message of this service",
            cause: cause.map(ShortText::new),
        }
    }
}

impl Line for RefusedLine {}

/// The line of messages for which the time of redelivery could not be set.
#[derive(Debug, Serialize)]
pub(super) struct LateLine {
    messages: usize,
    outcome: &'static str,
    why: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ShortText>,
}

impl LateLine {
    /// Creates the line. `cause` says why the time could not be set.
    pub(super) fn new(messages: usize, cause: impl fmt::Display) -> Self {
        Self {
            messages,
            outcome: "late",
            why: "they come back after the queue's visibility timeout",
            cause: Some(ShortText::new(cause)),
        }
    }
}

impl Line for LateLine {}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(metrics: Metrics) -> MessageLine<'static> {
        MessageLine {
            task_id: "t",
            attempt: 1,
            chunk: None,
            outcome: Some("done"),
            why: None,
            sent: None,
            unsent: None,
            cause: Some(ShortText::new("a cause")),
            metrics,
            duration_ms: Some(1),
        }
    }

    #[test]
    fn the_tasks_id_is_a_name_that_others_chose() {
        let line = line(Metrics::default());
        assert_eq!(line.names(), [Some("t"), None, None]);
    }

    #[test]
    fn a_line_that_is_too_long_loses_its_duration_and_then_its_cause() {
        let mut line = line(Metrics::default());
        assert!(line.shorten() && line.duration_ms.is_none() && line.cause.is_some());
        assert!(line.shorten() && line.cause.is_none());
        assert!(!line.shorten(), "nothing is left to leave out");
        assert_eq!(line.outcome, Some("done"), "nothing else says it");
    }

    #[test]
    fn a_line_that_is_too_long_loses_first_what_its_metric_says_too() {
        for ended in [Metric::TasksDone, Metric::TasksFailed] {
            let mut metrics = Metrics::default();
            metrics.add(ended, 1);
            let mut line = line(metrics);
            assert!(line.shorten() && line.outcome.is_none() && line.duration_ms.is_some());
            assert!(line.shorten() && line.shorten() && !line.shorten());
        }
    }
}
