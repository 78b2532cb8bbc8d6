//! What a task looks like as DynamoDB items.
//!
//! A task whose objects fit in one chunk is one item. A larger one is an item without objects, and two more for each chunk:
//! its ids, which never change, and how far the work on it has come, so that updates do not pay for the ids.
//!
//! | item | `pk` | made by |
//! |---|---|---|
//! | the task | `T#<task id>` | the create, last: it is the commit point |
//! | a chunk's ids | `I#<nonce>#<number>` | the create, first: nobody else can have the name |
//! | a chunk's state | `S#<nonce>#<number>` | the first claim, or what else is recorded first |
//!
//! A task has these attributes:
//!
//! | attribute | type | holds |
//! |---|---|---|
//! | `model`, `status`, `detail` | S | as in the API; `detail` from the first object given up on, shown once the task has failed |
//! | `attempt`, `baseline` | N | the attempt; the oldest attempt whose outcomes still count |
//! | `nonce`, `restart_op`, `cancel_op`, `dispatch`, `fan_out` | S | the tokens of the create, the newest restart, cancel, send by the sweeper, and fan-out |
//! | `fingerprint` | B | of the model and the set of ids |
//! | `total`, `deleted`, `failed`, `remaining` | N | counters; the first is the number of ids, the last what the others leave, for conditions |
//! | `created_at`, `updated_at`, `expires_at`, `due_at` | N | seconds since 1970 |
//! | `sends` | N | how often the sweeper sent the work again since it last moved |
//! | `failed_head` | B | the first failures, for a list row, as `task/failed_head.rs` has it |
//! | `list_pk`, `list_sk` | S | the index's keys |
//! | `chunks` | N | the number of chunks, where they are items of their own |
//! | `fan_outs`, `fan_out_due_at` | N | how often chunks that nobody has taken up were sent in this attempt, and when they are sent again |
//!
//! A chunk's ids are one attribute, `ids` (B), as `task/object_ids/encoding.rs` has it: 16 bytes a UUID. A chunk's state is these, in an
//! item of their own or in the item of a task of one chunk:
//!
//! | attribute | type | holds |
//! |---|---|---|
//! | `fence`, `claim`, `lease_until`, `seen` | N S N B | the newest claim; `lease_until` in milliseconds since 1970, while it is not settled |
//! | `claim_attempt`, `tries`, `put_offs` | N | the attempt it was made in; claims without progress and times put off in that attempt |
//! | `due_at` | N | from when on it is to be sent again, seconds since 1970 |
//! | `outcomes`, `outcomes_attempt`, `reasons` | B N L | a byte an object, see `task/outcome.rs` |
//! | `size`, `expires_at` | N N | in an item of its own: the number of objects; a week after the task expires, for Time to Live |

use super::StoreError;
use super::expression::{b, n, s};
use super::reader::Reader;
use crate::task::{
    Bitmap, ChunkState, FailedHead, Fingerprint, ObjectIds, Outcomes, Task, TaskId, TaskStatus,
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, SecondsFormat, Utc};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

pub(super) type Item = HashMap<String, AttributeValue>;

/// A task as it is stored.
#[derive(Clone, Debug)]
pub struct StoredTask {
    /// What a list row shows.
    pub task: Task,
    /// Outcomes recorded in attempts before this one no longer count: raised by a restart of everything.
    pub baseline: u32,
    /// What the request asked for.
    pub fingerprint: Fingerprint,
    /// Where its objects are.
    pub objects: Objects,
    /// The create's own token: another task of the same id has another.
    pub(super) nonce: String,
    /// The token of the newest restart.
    pub(super) restart_op: Option<String>,
    /// The token of the newest cancel.
    pub(super) cancel_op: Option<String>,
    /// The newest fan-out.
    pub(super) fan_out: FanOut,
}

/// Where a task's objects are.
#[derive(Clone, Debug)]
pub enum Objects {
    /// In the task's item, as its only chunk.
    Inline(Box<InlineChunk>),
    /// In so many chunks, each an item of its own.
    Chunks(u32),
}

/// A task's only chunk. Its ids are as they are stored: most answers show none of them.
#[derive(Clone, Debug)]
pub struct InlineChunk {
    ids: Vec<u8>,
    /// How far the work on it has come.
    pub state: ChunkState,
}

impl InlineChunk {
    /// A chunk that nobody has worked on.
    pub(super) fn new(ids: &ObjectIds) -> Self {
        Self {
            ids: ids.to_bytes(0..ids.len()),
            state: ChunkState::of(ids.len()),
        }
    }

    /// The ids, as an attribute.
    pub(super) fn ids_to_attribute(&self) -> AttributeValue {
        b(self.ids.as_slice())
    }

    /// The ids of the task's objects.
    pub(super) fn ids(&self, task: &TaskId) -> Result<ObjectIds, StoreError> {
        let ids = ObjectIds::from_bytes(&self.ids).ok();
        ids.filter(|ids| ids.len() == self.state.size)
            .ok_or_else(|| StoreError::damaged("ids", &format!("T#{task}")))
    }
}

/// The newest fan-out of a task into its chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FanOut {
    pub(super) token: Option<String>,
    /// How many there were in this attempt that sent chunks which nobody had taken up.
    pub(super) count: u32,
    /// When chunks that nobody has taken up are sent again.
    pub(super) due_at: Option<DateTime<Utc>>,
}

pub(super) fn key_of(id: &TaskId) -> AttributeValue {
    s(format!("T#{id}"))
}

/// The key of a chunk's ids.
pub(super) fn ids_key(nonce: &str, number: u32) -> AttributeValue {
    s(format!("I#{nonce}#{number}"))
}

/// The key of a chunk's state.
pub(super) fn state_key(nonce: &str, number: u32) -> AttributeValue {
    s(format!("S#{nonce}#{number}"))
}

/// The index partition of a status and shard.
pub(super) fn list_partition(status: TaskStatus, shard: u32) -> String {
    format!("{status}#{shard}")
}

/// Which of `shards` index partitions a task is in, whatever its status.
pub(super) fn shard_of(id: &TaskId, shards: u32) -> u32 {
    let digest = Sha256::digest(id.as_str());
    let first = digest
        .iter()
        .take(4)
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    first % shards.max(1)
}

/// A task's place in the total order of lists.
pub(super) fn list_position(created_at: DateTime<Utc>, id: &str) -> String {
    format!(
        "{}#{id}",
        created_at.to_rfc3339_opts(SecondsFormat::Secs, true)
    )
}

/// The attribute `failed_head`, if there are failures.
pub(super) fn head_to_attribute(head: &FailedHead) -> Option<AttributeValue> {
    (!head.is_empty()).then(|| b(head.to_bytes()))
}

/// The attributes that record what happened to each object.
pub(super) fn outcomes_to_attributes(
    outcomes: &Outcomes,
) -> [(&'static str, Option<AttributeValue>); 3] {
    let reasons = outcomes.reasons();
    [
        (
            "outcomes",
            (!outcomes.codes().is_empty()).then(|| b(outcomes.codes())),
        ),
        ("outcomes_attempt", Some(n(outcomes.attempt()))),
        (
            "reasons",
            (!reasons.is_empty()).then(|| AttributeValue::L(reasons.iter().map(s).collect())),
        ),
    ]
}

pub(super) fn seen_to_attribute(seen: &Bitmap) -> Option<AttributeValue> {
    (!seen.is_empty()).then(|| b(seen.to_bytes()))
}

impl StoredTask {
    /// Reads a task from its item.
    pub(super) fn from_item(item: Item) -> Result<Self, StoreError> {
        let mut item = Reader::new(item);
        let task = item.task()?;
        let fingerprint = Fingerprint::from_bytes(&item.bytes("fingerprint")?.unwrap_or_default())
            .ok_or_else(|| item.damaged("fingerprint"))?;
        let objects = match item.optional_number("chunks")? {
            Some(count) => Objects::Chunks(count),
            None => Objects::Inline(Box::new(InlineChunk {
                ids: item.bytes("ids")?.unwrap_or_default(),
                state: item.chunk_state(Some(task.progress.total as usize))?,
            })),
        };
        Ok(Self {
            baseline: item.number("baseline")?,
            fingerprint,
            objects,
            nonce: item.text("nonce")?,
            restart_op: item.optional_text("restart_op")?,
            cancel_op: item.optional_text("cancel_op")?,
            fan_out: FanOut {
                token: item.optional_text("fan_out")?,
                count: item.optional_number("fan_outs")?.unwrap_or(0),
                due_at: item.optional_time("fan_out_due_at")?,
            },
            task,
        })
    }
}

/// Reads a chunk's ids from their item.
pub(super) fn ids_from_item(item: Item) -> Result<ObjectIds, StoreError> {
    Reader::new(item).ids()
}

/// Reads a chunk's state from its item.
pub(super) fn state_from_item(item: Item) -> Result<ChunkState, StoreError> {
    Reader::new(item).chunk_state(None)
}

/// A row of a listing; one that is damaged is logged and skipped, so that it does not hide the others.
pub(super) fn or_skip<T>(row: Result<T, StoreError>) -> Option<T> {
    row.inspect_err(|error| tracing::error!(cause = %error, "skipped"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_keeps_its_shard_and_shards_fill_evenly() {
        let ids: Vec<_> = (0..4000)
            .map(|i| TaskId::new(format!("task-{i}")).unwrap())
            .collect();
        let mut filled = [0; 4];
        for id in &ids {
            filled[shard_of(id, 4) as usize] += 1;
            assert_eq!(shard_of(id, 1), 0);
        }
        assert!(
            filled.iter().all(|count| (900..1100).contains(count)),
            "{filled:?}"
        );
    }

    #[test]
    fn positions_sort_by_second_and_then_by_id() {
        let at = |seconds, id| list_position(DateTime::from_timestamp_secs(seconds).unwrap(), id);
        let mut sorted = [at(2, "a"), at(1, "b"), at(1, "a"), at(10_000_000_000, "a")];
        sorted.sort();
        assert_eq!(
            sorted,
            [at(1, "a"), at(1, "b"), at(2, "a"), at(10_000_000_000, "a")]
        );
    }

    #[test]
    fn ids_that_are_damaged_or_not_as_many_as_the_task_counts_are_refused() {
        let id = TaskId::new("x").unwrap();
        let mut ids = ObjectIds::default();
        ids.push("a").unwrap();
        ids.push("b").unwrap();
        let chunk = InlineChunk::new(&ids);
        assert_eq!(chunk.ids(&id).unwrap(), ids);
        let mut shorter = chunk.clone();
        shorter.ids = Vec::new();
        let mut more = chunk;
        more.state.size = 3;
        for damaged in [shorter, more] {
            assert_eq!(
                damaged.ids(&id).unwrap_err().to_string(),
                "a stored item is damaged: attribute `ids` of `T#x`"
            );
        }
    }

    #[test]
    fn an_item_with_a_missing_or_odd_attribute_says_which() {
        let item = HashMap::from([("pk".into(), s("T#x")), ("model".into(), n(1))]);
        let error = StoredTask::from_item(item).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a stored item is damaged: attribute `model` of `T#x`"
        );
    }
}
