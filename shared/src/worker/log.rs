//! A message's one line of log.

use super::Verdict;
use crate::store::{Settled, StoreError};
use crate::task::{Counts, Message, TaskStatus};
use chrono::TimeDelta;
use tracing::{Level, event};

/// What a message's line says, collected on the way: what was done stands in it though the work is broken off after.
#[derive(Debug, Default)]
pub(super) struct MessageLog {
    /// How the task ended, if it was this message that ended it.
    ended: Option<TaskStatus>,
    /// Objects that have an outcome by this message.
    newly: Counts,
    /// The last thing that went wrong.
    cause: Option<String>,
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
    pub(super) fn cause(&mut self, cause: impl ToString) {
        self.cause = Some(cause.to_string());
    }

    /// Writes the line.
    pub(super) fn write(self, message: &Message, end: &End, duration: TimeDelta) {
        let one = |status| (self.ended == Some(status)).then_some(1_u64);
        let some = |count: u32| (count > 0).then_some(count);
        macro_rules! line {
            ($level:expr) => {
                event!(
                    $level,
                    task_id = message.task_id.as_str(),
                    attempt = message.attempt,
                    chunk = message.chunk,
                    outcome = end.outcome,
                    why = end.why,
                    sent = end.sent,
                    unsent = end.unsent,
                    cause = self.cause,
                    TasksDone = one(TaskStatus::Done),
                    TasksFailed = one(TaskStatus::Failed),
                    ObjectsDeleted = some(self.newly.deleted),
                    ObjectsNotFound = some(self.newly.not_found),
                    ObjectsFailed = some(self.newly.failed.saturating_sub(self.newly.not_found)),
                    duration_ms = duration.num_milliseconds(),
                )
            };
        }
        match end.level {
            Level::INFO if self.cause.is_none() => line!(Level::INFO),
            _ => line!(Level::WARN),
        }
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
