//! A message's one line of log.

use super::Verdict;
use crate::store::Settled;
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
    pub(super) fn write(mut self, message: &Message, verdict: &Verdict, duration: TimeDelta) {
        let mut line = Ending::default();
        match verdict {
            Verdict::Recorded { status, .. } => line.outcome = status.as_str(),
            Verdict::Dropped(why) => (line.outcome, line.why) = ("dropped", Some(*why)),
            Verdict::FannedOut { sent, unsent } => {
                line.outcome = "fanned out";
                (line.sent, line.unsent) = (Some(*sent), Some(*unsent));
            }
            Verdict::Deferred(why) => {
                (line.outcome, line.why) = ("deferred", Some(*why));
                line.is_trouble = true;
            }
            Verdict::HandedBack => line.outcome = "handed back",
            Verdict::StoreFailed(error) => {
                line.outcome = "error";
                self.cause(error);
            }
            Verdict::OutOfTime => {
                line.outcome = "out of time";
                line.is_trouble = true;
            }
        }
        let one = |status| (self.ended == Some(status)).then_some(1_u64);
        let some = |count: u32| (count > 0).then_some(count);
        macro_rules! line {
            ($level:expr) => {
                event!(
                    $level,
                    task_id = message.task_id.as_str(),
                    attempt = message.attempt,
                    chunk = message.chunk,
                    outcome = line.outcome,
                    why = line.why,
                    sent = line.sent,
                    unsent = line.unsent,
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
        if line.is_trouble || self.cause.is_some() {
            line!(Level::WARN);
        } else {
            line!(Level::INFO);
        }
    }
}

/// What the line says of a verdict.
#[derive(Debug, Default)]
struct Ending {
    outcome: &'static str,
    why: Option<&'static str>,
    sent: Option<usize>,
    unsent: Option<usize>,
    /// Somebody may want to know.
    is_trouble: bool,
}
