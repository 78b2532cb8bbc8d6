//! Work that is due to be sent: tasks, for the sweeper, and the chunks of a task, for its fan-out. A guarded write takes each
//! over before its messages are sent, so that two senders at once send them once.

use super::attribute::{self as attr, Attributes, Item, n, s, seconds};
use super::guarded::{Condition, GuardedUpdate, absent, equals, same_attempt, status_moved_by};
use super::item::{self, Objects, StoredTask};
use super::{
    INDEX_NAME, LONGEST_THROTTLED, StoreError, TaskStore, Written, new_token, resend_delay,
};
use crate::task::{ChunkState, Event, ModelId, TaskId, TaskStatus};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use futures_util::future::try_join_all;

/// The rows of a partition among which the oldest pending task is looked for.
const OLDEST_ROWS: i32 = 100;

/// A task whose message may be lost or whose worker may have died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTask {
    /// The task's name.
    pub id: TaskId,
    /// Its embedding model, whose messages are a group on the queue.
    pub model: ModelId,
    /// Its attempt, as the index has it.
    pub attempt: u32,
    status: TaskStatus,
    due_at: DateTime<Utc>,
    sends: u32,
}

/// One page of an index partition's due tasks.
#[derive(Debug)]
pub struct DuePage {
    /// The due tasks, oldest first.
    pub tasks: Vec<DueTask>,
    /// Where the next page begins; `None` at the end of the partition.
    pub next: Option<PageStart>,
}

/// Where a page of due tasks begins.
#[derive(Debug)]
pub struct PageStart(Item);

/// The chunks that a fan-out sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenChunks {
    /// Their numbers.
    pub numbers: Vec<u32>,
    /// Whether some of them were not taken up in this attempt yet: they may be on the queue already, so they are sent
    /// ever more rarely.
    pub not_taken_up: bool,
    /// Whether some of them were deferred, or their workers died: they may be deferred once more.
    pub tried_again: bool,
    /// When the first of the others is due: one that is deferred, or claimed by a worker that may die.
    pub next_due: Option<DateTime<Utc>>,
}

impl TaskStore {
    /// The partitions the sweeper walks: every shard of what is processing, then of what is pending. Each minute begins
    /// with another shard, so that a backlog too long for one sweep starves none.
    pub fn open_partitions(&self, now: DateTime<Utc>) -> Vec<(TaskStatus, u32)> {
        let shards = self.shards.max(1);
        let minute = now.timestamp().div_euclid(60).rem_euclid(shards.into());
        let first = u32::try_from(minute).unwrap_or_default();
        [TaskStatus::Processing, TaskStatus::Pending]
            .into_iter()
            .flat_map(|status| (0..shards).map(move |n| (status, (first + n) % shards)))
            .collect()
    }

    /// One page of the tasks in a partition that are due at `now`, oldest first. The index may lag.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn due_tasks(
        &self,
        (status, shard): (TaskStatus, u32),
        from: Option<PageStart>,
        now: DateTime<Utc>,
    ) -> Result<DuePage, StoreError> {
        let response = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(INDEX_NAME)
            .key_condition_expression("#list_pk = :list_pk")
            .filter_expression("#due_at <= :now AND #expires_at > :now")
            .expression_attribute_names("#list_pk", attr::INDEX_HASH_KEY)
            .expression_attribute_names("#due_at", attr::DUE_AT)
            .expression_attribute_names("#expires_at", attr::EXPIRES_AT)
            .expression_attribute_values(":list_pk", s(item::list_partition(status, shard)))
            .expression_attribute_values(":now", seconds(now))
            .set_exclusive_start_key(from.map(|start| start.0))
            .send()
            .boxed()
            .await?;
        let tasks = response.items.unwrap_or_default().into_iter();
        Ok(DuePage {
            tasks: tasks
                .filter_map(|row| item::or_skip(due_task(row)))
                .collect(),
            next: response
                .last_evaluated_key
                .filter(|key| !key.is_empty())
                .map(PageStart),
        })
    }

    /// Since when the oldest pending task is pending; `None` where none is. The index may lag.
    ///
    /// A task is pending since its creation. A restarted task counts from its last change, since the index does not have the
    /// time of the restart. It is still sorted by its creation, so it is among the first rows.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn oldest_pending(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let shards = (0..self.shards.max(1)).map(|shard| self.oldest_pending_in(shard, now));
        let oldest = try_join_all(shards).await?;
        Ok(oldest.into_iter().flatten().min())
    }

    async fn oldest_pending_in(
        &self,
        shard: u32,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let partition = item::list_partition(TaskStatus::Pending, shard);
        let response = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(INDEX_NAME)
            .key_condition_expression("#list_pk = :list_pk")
            .expression_attribute_names("#list_pk", attr::INDEX_HASH_KEY)
            .expression_attribute_values(":list_pk", s(partition))
            .limit(OLDEST_ROWS)
            .send()
            .boxed()
            .await?;
        let rows = response.items.unwrap_or_default().into_iter();
        let tasks = rows.filter_map(|row| item::or_skip(item::read_task(&mut Attributes::of(row))));
        let pending_since =
            tasks
                .filter(|task| !task.is_expired(now))
                .map(|task| match task.attempt {
                    1 => task.created_at,
                    _ => task.updated_at,
                });
        Ok(pending_since.min())
    }

    /// Takes a due task over for one more send, if nothing has moved since it was found due: its next send is put off.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn redispatch_if_due(
        &self,
        due: &DueTask,
        now: DateTime<Utc>,
    ) -> Result<Written<()>, StoreError> {
        let dispatch = s(new_token());
        let sends = due.sends + 1;
        let update = GuardedUpdate::when(task_as_found(due).and(sends_as_found(due)))
            .set(attr::DUE_AT, seconds(now + resend_delay(sends)))
            .set(attr::SENDS, n(sends))
            .set(attr::DISPATCH, dispatch.clone());
        let key = item::key_of(&due.id);
        Ok(match update.send(&self.client, &self.table, key).await? {
            // The SDK sent the write again after its response was lost; the first one was applied.
            Written::NotApplied(Some(found)) if found.get(attr::DISPATCH) == Some(&dispatch) => {
                Written::Applied(())
            }
            Written::Applied(()) => Written::Applied(()),
            Written::NotApplied(_) => Written::NotApplied(()),
        })
    }

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
                ..OpenChunks::default()
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
                match due {
                    Due::Never => {}
                    Due::Now => {
                        open.tried_again = true;
                        open.numbers.push(number);
                    }
                    Due::At(time) => {
                        let next = open.next_due.map_or(time, |next| next.min(time));
                        open.next_due = Some(next);
                    }
                    Due::NotTakenUp if is_first => {
                        open.not_taken_up = true;
                        open.numbers.push(number);
                    }
                    Due::NotTakenUp => {}
                }
            }
        }
        Ok(open)
    }

    /// Records that the chunks `open` of `read` are about to be sent, and when the sweeper is to look at the task again or, if
    /// every object has an outcome, ends the task, unless another fan-out began since it was read. Returns the status that the
    /// task has now.
    ///
    /// A chunk that is deferred does not write to its task, so the fan-out finds out for it when it is due.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn fan_out_if_unmoved(
        &self,
        read: &StoredTask,
        open: &OpenChunks,
        now: DateTime<Utc>,
    ) -> Result<Written<TaskStatus>, StoreError> {
        let token = s(new_token());
        let task = &read.task;
        // A pending task becomes `processing` first, though no object is left to try.
        let is_complete = task.progress.remaining() == 0 && task.status == TaskStatus::Processing;
        let (status, event) = match (is_complete, task.detail.is_some()) {
            (false, _) => (TaskStatus::Processing, Event::Claim),
            (true, false) => (TaskStatus::Done, Event::Finish),
            (true, true) => (TaskStatus::Failed, Event::Fail),
        };
        let guard = same_attempt(&read.nonce, task.attempt)
            .and(status_moved_by(event))
            .and(fan_out_as_read(read));
        let mut update = GuardedUpdate::when(guard).set(attr::FAN_OUT, token.clone());
        if status != task.status {
            let partition = self.list_partition(status, &task.id);
            update = update
                .set(attr::STATUS, s(status.as_str()))
                .set(attr::INDEX_HASH_KEY, s(partition))
                .set(attr::UPDATED_AT, seconds(now));
        }
        if is_complete {
            update = update.and_when(none_remain()).remove(attr::DUE_AT);
        } else {
            let fan_out_due = now + resend_delay(read.fan_out.count);
            if open.not_taken_up {
                update = update
                    .set(attr::FAN_OUTS, n(read.fan_out.count + 1))
                    .set(attr::FAN_OUT_DUE_AT, seconds(fan_out_due));
            }
            let due = [
                open.not_taken_up.then_some(fan_out_due),
                open.tried_again.then(|| now + LONGEST_THROTTLED),
                open.next_due,
            ];
            // Until then the sweeper leaves the task alone, unless a settlement sets another time.
            if let Some(due_at) = due.into_iter().flatten().min() {
                update = update.set(attr::DUE_AT, seconds(due_at));
            }
        }
        let key = item::key_of(&task.id);
        Ok(match update.send(&self.client, &self.table, key).await? {
            Written::Applied(()) => Written::Applied(status),
            // The SDK sent the write again after its response was lost; the first one was applied.
            Written::NotApplied(Some(found)) if found.get(attr::FAN_OUT) == Some(&token) => {
                Written::Applied(status)
            }
            Written::NotApplied(_) => Written::NotApplied(()),
        })
    }
}

/// The task is as the index had it.
fn task_as_found(due: &DueTask) -> Condition {
    equals(attr::STATUS, s(due.status.as_str())).and(equals(attr::ATTEMPT, n(due.attempt)))
}

/// Nobody has sent it since, and no progress has put its next send off.
fn sends_as_found(due: &DueTask) -> Condition {
    equals(attr::DUE_AT, seconds(due.due_at)).and(equals(attr::SENDS, n(due.sends)))
}

/// The newest fan-out is the one that was read.
fn fan_out_as_read(read: &StoredTask) -> Condition {
    match &read.fan_out.token {
        None => absent(attr::FAN_OUT),
        Some(token) => equals(attr::FAN_OUT, s(token)),
    }
}

fn none_remain() -> Condition {
    equals(attr::REMAINING, n(0))
}

/// When a chunk is to be sent.
enum Due {
    /// All its objects have an outcome.
    Never,
    Now,
    /// It is deferred, or claimed, until then.
    At(DateTime<Utc>),
    /// Nobody has taken it up in this attempt: its message may be on the queue.
    NotTakenUp,
}

fn due_chunk(task: &StoredTask, state: &ChunkState, now: DateTime<Utc>) -> Due {
    let attempt = task.task.attempt;
    let outcomes = state.counts(attempt, task.baseline);
    if outcomes.sum() as usize == state.size {
        return Due::Never;
    }
    if let Some(lease_until) = state.lease_until.filter(|until| now < *until) {
        return Due::At(lease_until + TimeDelta::seconds(1));
    }
    if state.attempt != attempt {
        return Due::NotTakenUp;
    }
    match state.due_at {
        Some(due) if due > now => Due::At(due),
        Some(_) | None => Due::Now,
    }
}

fn due_task(item: Item) -> Result<DueTask, StoreError> {
    let mut item = Attributes::of(item);
    let task = item::read_task(&mut item)?;
    Ok(DueTask {
        id: task.id,
        model: task.model,
        attempt: task.attempt,
        status: task.status,
        due_at: item.required(attr::DUE_AT)?,
        sends: item.required(attr::SENDS)?,
    })
}
