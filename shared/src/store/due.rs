//! Work that is due to be sent: tasks for the sweeper, and the chunks of a task for its fan-out.
//!
//! Before messages are sent, a guarded write takes the work over. So two concurrent senders send it
//! once.

use super::attribute::{self as attr, Attributes, Item, n, s, seconds};
use super::guarded::{Condition, GuardedUpdate, absent, equals, same_attempt, status_moved_by};
use super::item::{self, Objects, StoredTask};
use super::list::{TaskPosition, position_of};
use super::{
    INDEX_NAME, KEY, LONGEST_THROTTLED, StoreError, TaskStore, Written, new_token, resend_delay,
};
use crate::task::{ChunkState, Event, ModelId, TaskId, TaskStatus};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;

/// The number of rows of a partition that are read to find the oldest pending task.
const OLDEST_ROWS: i32 = 100;

/// A task whose message may be lost or whose worker may have died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTask {
    /// The task's name.
    pub id: TaskId,
    /// Its embedding model. The messages of one model are a message group on the queue.
    pub model: ModelId,
    /// Its attempt, as the index shows it.
    pub attempt: u32,
    /// Its place in its partition.
    pub position: TaskPosition,
    status: TaskStatus,
    due_at: DateTime<Utc>,
    sends: u32,
}

/// One page of an index partition's due tasks.
#[derive(Debug)]
pub struct DuePage {
    /// The due tasks, oldest first.
    pub tasks: Vec<DueTask>,
    /// The last row that was read. `None` at the end of the partition.
    pub next: Option<TaskPosition>,
}

/// An index partition that the sweeper visits: a status that is not terminal, and a shard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition(String);

/// Where the next sweep continues: the row after which it begins, for each partition that the last
/// sweep did not read to its end.
#[derive(Clone, Debug, Default)]
pub struct SweepPositions {
    after: BTreeMap<Partition, TaskPosition>,
    /// The attribute's value when it was read.
    stored: Option<AttributeValue>,
}

impl SweepPositions {
    /// Returns the row after which a sweep continues in `partition`, or `None` if it begins anew.
    pub fn get(&self, partition: &Partition) -> Option<TaskPosition> {
        self.after.get(partition).cloned()
    }

    /// Records the row after which a sweep stopped in `partition`, or `None` if it reached the end.
    pub fn set(&mut self, partition: Partition, after: Option<TaskPosition>) {
        match after {
            Some(position) => self.after.insert(partition, position),
            None => self.after.remove(&partition),
        };
    }

    /// Returns whether the next sweep begins anew in every partition.
    pub fn is_empty(&self) -> bool {
        self.after.is_empty()
    }

    /// Reads the entries that name one of `partitions` and a position that a row could have.
    ///
    /// In every other partition a sweep begins anew.
    fn read(stored: Option<AttributeValue>, partitions: &[Partition]) -> Self {
        let entries = match &stored {
            Some(AttributeValue::L(entries)) => entries.as_slice(),
            _ => &[],
        };
        let after = entries.iter().filter_map(|entry| {
            let (partition, position) = entry.as_s().ok()?.split_once(' ')?;
            let partition = partitions.iter().find(|known| known.0 == partition)?;
            let position = TaskPosition(position.to_owned());
            let place = (partition.clone(), position);
            place.1.is_well_formed().then_some(place)
        });
        Self {
            after: after.collect(),
            stored,
        }
    }

    fn to_attribute(&self) -> AttributeValue {
        let entries = self.after.iter();
        let entries = entries.map(|(partition, after)| s([&partition.0, " ", &after.0].concat()));
        AttributeValue::L(entries.collect())
    }
}

/// The chunks that a fan-out sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenChunks {
    /// Their numbers.
    pub numbers: Vec<u32>,
    /// Whether no worker has claimed some of them in this attempt.
    ///
    /// Their messages may still be on the queue, so they are sent again ever more rarely.
    pub not_taken_up: bool,
    /// Whether some of them were deferred or lost their worker. They may be deferred again.
    pub tried_again: bool,
    /// When the first of the other chunks is due.
    ///
    /// Such a chunk is deferred, or claimed by a worker that may die.
    pub next_due: Option<DateTime<Utc>>,
}

impl TaskStore {
    /// Returns the partitions that the sweeper visits: every shard of `processing`, then of
    /// `pending`.
    pub fn open_partitions(&self) -> Vec<Partition> {
        [TaskStatus::Processing, TaskStatus::Pending]
            .into_iter()
            .flat_map(|status| (0..self.shards).map(move |n| item::list_partition(status, n)))
            .map(Partition)
            .collect()
    }

    /// Reads where the next sweep continues, strongly consistent.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn sweep_positions(&self) -> Result<SweepPositions, StoreError> {
        let response = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(KEY, s(item::SWEEP_KEY))
            .consistent_read(true)
            .send()
            .boxed()
            .await?;
        let item = response.item.unwrap_or_default();
        let stored = item.get(attr::POSITIONS).cloned();
        Ok(SweepPositions::read(stored, &self.open_partitions()))
    }

    /// Stores where the next sweep continues, unless another sweep has moved it since it was read.
    ///
    /// Writes nothing if it has not changed. Concurrent sweeps do each other no harm, so it does
    /// not matter which of them stores its positions.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn move_sweep_if_unmoved(
        &self,
        positions: &SweepPositions,
    ) -> Result<(), StoreError> {
        let moved = positions.to_attribute();
        let guard = match &positions.stored {
            Some(stored) if *stored == moved => return Ok(()),
            None if positions.is_empty() => return Ok(()),
            Some(stored) => equals(attr::POSITIONS, stored.clone()),
            None => absent(attr::POSITIONS),
        };
        let update = GuardedUpdate::when(guard).set(attr::POSITIONS, moved);
        let key = s(item::SWEEP_KEY);
        match update.send(&self.client, &self.table, key).await? {
            Written::Applied(()) | Written::NotApplied(_) => Ok(()),
        }
    }

    /// Returns one page of the tasks in a partition that are due at `now`, oldest first.
    ///
    /// It covers the rows after `after`: as many as DynamoDB reads in one query (1 MB), or `rows`
    /// if that is less. The index may lag.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn due_tasks(
        &self,
        partition: &Partition,
        after: Option<&TaskPosition>,
        rows: Option<i32>,
        now: DateTime<Utc>,
    ) -> Result<DuePage, StoreError> {
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(INDEX_NAME)
            .set_limit(rows)
            .filter_expression("#due_at <= :now AND #expires_at > :now")
            .expression_attribute_names("#list_pk", attr::INDEX_HASH_KEY)
            .expression_attribute_names("#due_at", attr::DUE_AT)
            .expression_attribute_names("#expires_at", attr::EXPIRES_AT)
            .expression_attribute_values(":list_pk", s(&partition.0))
            .expression_attribute_values(":now", seconds(now));
        query = match after {
            None => query.key_condition_expression("#list_pk = :list_pk"),
            Some(after) => query
                .key_condition_expression("#list_pk = :list_pk AND #list_sk > :after")
                .expression_attribute_names("#list_sk", attr::INDEX_RANGE_KEY)
                .expression_attribute_values(":after", s(&after.0)),
        };
        let response = query.send().boxed().await?;
        let tasks = response.items.unwrap_or_default().into_iter();
        Ok(DuePage {
            tasks: tasks
                .filter_map(|row| item::or_skip(due_task(row)))
                .collect(),
            next: response.last_evaluated_key.as_ref().and_then(position_of),
        })
    }

    /// Returns since when the oldest pending task has been pending, or `None` if no task is.
    ///
    /// The index may lag. A task counts from its last change: that is its creation or its restart,
    /// or a settlement of the attempt before that restart. The index sorts a restarted task by its
    /// creation, so it is among the first rows.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn oldest_pending(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let shards = (0..self.shards).map(|shard| self.oldest_pending_in(shard, now));
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
        let pending = tasks.filter(|task| !task.is_expired(now));
        Ok(pending.map(|task| task.updated_at).min())
    }

    /// Takes over a due task for one more send, if nothing has changed since it was found due.
    ///
    /// Its next send is delayed.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
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
        let update = self.in_status(update, &due.id, Some(due.status), due.status);
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

    /// Returns the chunks of `task` to send at `now`: those that have objects without an outcome,
    /// that no worker is processing, and that are due.
    ///
    /// Their states are read a hundred at a time, so that memory does not grow with the task.
    /// Before the first fan-out nothing is read: no chunk has a state yet, since no worker claims a
    /// chunk without its message.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
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

    /// Records that the chunks `open` of `read` are about to be sent, and when the sweeper is to
    /// check the task again.
    ///
    /// If every object has an outcome, ends the task instead. Changes nothing if another fan-out
    /// began since the task was read. Returns the status that the task has now.
    ///
    /// A chunk that is deferred does not write to its task, so the fan-out records when it is due.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn fan_out_if_unmoved(
        &self,
        read: &StoredTask,
        open: &OpenChunks,
        now: DateTime<Utc>,
    ) -> Result<Written<TaskStatus>, StoreError> {
        let token = s(new_token());
        let task = &read.task;
        // A pending task becomes `processing` first, even if no object remains.
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
        update = self.in_status(update, &task.id, Some(task.status), status);
        if status != task.status {
            update = update.set(attr::UPDATED_AT, seconds(now));
        }
        if is_complete {
            // Within an attempt no object becomes open again, so none remains now either.
            update = update.remove(attr::DUE_AT);
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
            // Until then the sweeper does not send the task, unless a settlement sets another time.
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

/// The task is as the index showed it.
fn task_as_found(due: &DueTask) -> Condition {
    equals(attr::STATUS, s(due.status.as_str())).and(equals(attr::ATTEMPT, n(due.attempt)))
}

/// Nobody has sent it since, and no progress has delayed its next send.
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

/// When a chunk is to be sent.
enum Due {
    /// All its objects have an outcome.
    Never,
    Now,
    /// When its deferral or its lease is over.
    At(DateTime<Utc>),
    /// No worker has claimed it in this attempt: its message may be on the queue.
    NotTakenUp,
}

fn due_chunk(task: &StoredTask, state: &ChunkState, now: DateTime<Utc>) -> Due {
    let attempt = task.task.attempt;
    let outcomes = state.counts(attempt, task.baseline);
    if outcomes.sum() as usize == state.size {
        return Due::Never;
    }
    if let Some(lease_until) = state.lease_until
        && state.is_leased(now)
    {
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
    let position = position_of(&item);
    let mut item = Attributes::of(item);
    let task = item::read_task(&mut item)?;
    Ok(DueTask {
        id: task.id,
        model: task.model,
        attempt: task.attempt,
        position: position.ok_or_else(|| item.damaged(attr::INDEX_RANGE_KEY))?,
        status: task.status,
        due_at: item.required(attr::DUE_AT)?,
        sends: item.required(attr::SENDS)?,
    })
}
