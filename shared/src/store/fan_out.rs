//! Fanning a task out into its chunks: which of them are to be sent, and the guarded write before they are.

use super::expression::{GuardedUpdate, Written, n, s};
use super::item::{self, Objects, StoredTask};
use super::work::WorkError;
use super::{INDEX_HASH_KEY, StoreError, TaskStore, resend_delay};
use crate::task::{ChunkState, Event, TaskStatus};
use chrono::{DateTime, Utc};

/// The chunks that a fan-out sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenChunks {
    /// Their numbers.
    pub numbers: Vec<u32>,
    /// Whether some of them were not taken up in this attempt yet: they may be on the queue already, so they are sent
    /// ever more rarely.
    pub not_taken_up: bool,
}

impl TaskStore {
    /// Which chunks of `task` are to be sent at `now`: those with objects to try that nobody is working on, whose time
    /// has come. Their states are read a hundred at a time, so that memory does not grow with the task; before the first
    /// fan-out there are none, since no chunk is taken up without its message, and nothing is read.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn open_chunks(
        &self,
        task: &StoredTask,
        now: DateTime<Utc>,
    ) -> Result<OpenChunks, StoreError> {
        let Objects::Chunks(count) = task.objects else {
            return Ok(OpenChunks::default());
        };
        if task.fan_out.token.is_none() {
            return Ok(OpenChunks {
                numbers: (0..count).collect(),
                not_taken_up: true,
            });
        }
        let mut open = OpenChunks::default();
        let is_first = task.fan_out.due_at.is_none_or(|due| due <= now);
        for window in super::windows(0, count) {
            let states = self.chunk_states(task, window.clone()).await?;
            for (number, state) in window.zip(states) {
                let due = match &state {
                    Some(state) => due_chunk(task, state, now),
                    None => Due::NotTakenUp,
                };
                let is_sent = match due {
                    Due::Now => true,
                    Due::Later => false,
                    Due::NotTakenUp => {
                        open.not_taken_up |= is_first;
                        is_first
                    }
                };
                if is_sent {
                    open.numbers.push(number);
                }
            }
        }
        Ok(open)
    }

    /// Begins to send the chunks `open` of `read`, or ends a task whose objects all have an outcome, if nobody else has
    /// done so since it was read. Answers the status that the task has now.
    ///
    /// # Errors
    /// [`WorkError::Lost`] when somebody was first.
    pub async fn fan_out_if_unmoved(
        &self,
        read: &StoredTask,
        open: &OpenChunks,
        now: DateTime<Utc>,
    ) -> Result<TaskStatus, WorkError> {
        let token = s(uuid::Uuid::new_v4().simple().to_string());
        let task = &read.task;
        // A pending task becomes `processing` first, though nothing is left to try.
        let is_complete = task.progress.remaining() == 0 && task.status == TaskStatus::Processing;
        let (status, event) = match (is_complete, task.detail.is_some()) {
            (false, _) => (TaskStatus::Processing, Event::Claim),
            (true, false) => (TaskStatus::Done, Event::Finish),
            (true, true) => (TaskStatus::Failed, Event::Fail),
        };
        let mut update = GuardedUpdate::default()
            .set("fan_out", token.clone())
            .when("#nonce = :read_nonce AND #attempt = :read_attempt")
            .value("read_nonce", s(&read.nonce))
            .value("read_attempt", n(task.attempt))
            .when_moved_by(event);
        if status != task.status {
            update = update
                .set("status", s(status.as_str()))
                .set(INDEX_HASH_KEY, s(self.list_key(status, &task.id)))
                .set("updated_at", n(now.timestamp()));
        }
        update = match &read.fan_out.token {
            None => update.when("attribute_not_exists(#fan_out)"),
            Some(read) => update
                .when("#fan_out = :read_fan_out")
                .value("read_fan_out", s(read)),
        };
        if is_complete {
            update = update
                .when("#remaining = :zero")
                .value("zero", n(0))
                .remove("due_at");
        }
        if open.not_taken_up {
            let due_at = now + resend_delay(read.fan_out.count);
            update = update
                .set("fan_outs", n(read.fan_out.count + 1))
                .set("fan_out_due_at", n(due_at.timestamp()))
                // Unless there is progress before, nothing is to be looked for until then; and then there is.
                .set("due_at", n(due_at.timestamp()));
        }
        let key = item::key_of(&task.id);
        match update.send(&self.client, &self.table, key, false).await? {
            Written::Applied(_) => Ok(status),
            // Sent again by the SDK after its answer was lost: it succeeded the first time.
            Written::Refused(Some(item)) if item.get("fan_out") == Some(&token) => Ok(status),
            Written::Refused(_) => Err(WorkError::Lost),
        }
    }
}

/// When a chunk is to be sent.
enum Due {
    Now,
    Later,
    /// Nobody has taken it up in this attempt: its message may be on the queue.
    NotTakenUp,
}

fn due_chunk(task: &StoredTask, state: &ChunkState, now: DateTime<Utc>) -> Due {
    let attempt = task.task.attempt;
    let outcomes = state.counts(attempt, task.baseline);
    if outcomes.sum() as usize == state.size || state.is_leased(now) {
        return Due::Later;
    }
    if state.attempt != attempt {
        return Due::NotTakenUp;
    }
    match state.due_at {
        Some(due) if due > now => Due::Later,
        Some(_) | None => Due::Now,
    }
}
