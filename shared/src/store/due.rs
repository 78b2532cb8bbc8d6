//! Work that is due to be sent: tasks, for the sweeper, and the chunks of a task, for its fan-out.
//! A guarded write takes each over before its messages are sent, so that two senders at once send
//! them once.

use super::attribute::{self as attr, Attributes, Item, n, s, seconds};
use super::guarded::{Condition, GuardedUpdate, absent, equals, same_attempt, status_moved_by};
use super::item::{self, Objects, StoredTask};
use super::list::{Position, position_of};
use super::{
    INDEX_NAME, KEY, LONGEST_THROTTLED, StoreError, TaskStore, Written, new_token, resend_delay,
};
use crate::task::{ChunkState, Event, ModelId, TaskId, TaskStatus};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;

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
    /// Its place in its partition.
    pub position: Position,
    status: TaskStatus,
    due_at: DateTime<Utc>,
    sends: u32,
}

/// One page of an index partition's due tasks.
#[derive(Debug)]
pub struct DuePage {
    /// The due tasks, oldest first.
    pub tasks: Vec<DueTask>,
    /// The last row that was read; `None` at the end of the partition.
    pub next: Option<Position>,
}

/// A partition of the index that the sweeper goes through: a status that has not ended, and a
/// shard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition(String);

/// Where the next sweep goes on, in each partition that the last one left before its end: after
/// this row.
#[derive(Clone, Debug, Default)]
pub struct SweepPositions {
    after: BTreeMap<Partition, Position>,
    /// The attribute as it was read.
    stored: Option<AttributeValue>,
}

impl SweepPositions {
    /// After which row a sweep goes on in `partition`; `None`: it begins there.
    pub fn get(&self, partition: &Partition) -> Option<Position> {
        self.after.get(partition).cloned()
    }

    /// Records after which row a sweep left `partition`; `None`: at its end.
    pub fn set(&mut self, partition: Partition, after: Option<Position>) {
        match after {
            Some(position) => self.after.insert(partition, position),
            None => self.after.remove(&partition),
        };
    }

    /// Whether the next sweep begins in every partition.
    pub fn is_empty(&self) -> bool {
        self.after.is_empty()
    }

    /// What of the attribute names one of `partitions` and a place where a row could be. In the
    /// others a sweep begins anew.
    fn read(stored: Option<AttributeValue>, partitions: &[Partition]) -> Self {
        let entries = match &stored {
            Some(AttributeValue::L(entries)) => entries.as_slice(),
            _ => &[],
        };
        let after = entries.iter().filter_map(|entry| {
            let (partition, position) = entry.as_s().ok()?.split_once(' ')?;
            let partition = partitions.iter().find(|known| known.0 == partition)?;
            let position = Position(position.to_owned());
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
    /// Whether some of them were not taken up in this attempt yet: they may be on the queue
    /// already, so they are sent ever more rarely.
    pub not_taken_up: bool,
    /// Whether some of them were deferred, or their workers died: they may be deferred once more.
    pub tried_again: bool,
    /// When the first of the others is due: one that is deferred, or claimed by a worker that may
    /// die.
    pub next_due: Option<DateTime<Utc>>,
}

impl TaskStore {
    /// The partitions that the sweeper goes through: every shard of what is processing, then of
    /// what is pending.
    pub fn open_partitions(&self) -> Vec<Partition> {
        [TaskStatus::Processing, TaskStatus::Pending]
            .into_iter()
            .flat_map(|status| (0..self.shards).map(move |n| item::list_partition(status, n)))
            .map(Partition)
            .collect()
    }

    /// Where a sweep goes on, strongly consistent.
    ///
    /// # Errors
    /// When DynamoDB does not respond.
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

    /// Stores where the next sweep goes on, unless another sweep has moved it since it was read.
    /// Writes nothing where it has not changed.
    ///
    /// Sweeps at once do each other no harm, so it does not matter which of them is heard.
    ///
    /// # Errors
    /// When DynamoDB does not respond.
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

    /// One page of the tasks in a partition that are due at `now`, oldest first: of the rows after
    /// `after`, as many as DynamoDB reads in one query (1 MB), or `rows` if that is less. The index
    /// may lag.
    ///
    /// # Errors
    /// When DynamoDB does not respond.
    pub async fn due_tasks(
        &self,
        partition: &Partition,
        after: Option<&Position>,
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

    /// Since when the oldest pending task is pending; `None` where none is. The index may lag.
    ///
    /// A task is pending since its creation. A restarted task counts from its last change, since
    /// the index does not have the time of the restart. It is still sorted by its creation, so it
    /// is among the first rows.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
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
        let pending_since =
            tasks
                .filter(|task| !task.is_expired(now))
                .map(|task| match task.attempt {
                    1 => task.created_at,
                    _ => task.updated_at,
                });
        Ok(pending_since.min())
    }

    /// Takes a due task over for one more send, if nothing has moved since it was found due: its
    /// next send is put off.
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

    /// Which chunks of `task` are to be sent at `now`: those with objects to try that nobody is
    /// working on, whose time has come. Their states are read a hundred at a time, so that memory
    /// does not grow with the task; before the first fan-out there are none, since no chunk is
    /// taken up without its message, and nothing is read.
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

    /// Records that the chunks `open` of `read` are about to be sent, and when the sweeper is to
    /// look at the task again or, if every object has an outcome, ends the task, unless another
    /// fan-out began since it was read. Returns the status that the task has now.
    ///
    /// A chunk that is deferred does not write to its task, so the fan-out finds out for it when it
    /// is due.
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
        update = self.in_status(update, &task.id, Some(task.status), status);
        if status != task.status {
            update = update.set(attr::UPDATED_AT, seconds(now));
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
