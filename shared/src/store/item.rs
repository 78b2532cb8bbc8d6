//! The DynamoDB items of a task.
//!
//! A task whose objects fit in one chunk is one item. A larger one is an item without objects, and
//! two more for each chunk: one with its ids, which never change, and one with the state of the
//! work on it. Thus updates do not pay for the ids.
//!
//! | item | `pk` | made by |
//! |---|---|---|
//! | the task | `T#<task id>` | the create, last: it is the commit point |
//! | a chunk's ids | `I#<nonce>#<number>` | the create, first: nobody else can have the name |
//! | a chunk's state | `S#<nonce>#<number>` | the first claim, deferral or failure |
//! | where the next sweep continues | `SWEEP` | the first sweep that does not read a partition to its end |
//! | an index's grants | `P#<hash of its address>` | the first grant: `paid_until` (see `grants.rs`) and `expires_at` |
//!
//! A task has these attributes:
//!
//! | attribute | type | holds |
//! |---|---|---|
//! | `model`, `status`, `detail` | S | as in the API; `detail` is set when the first object is given up, and shown once the task has failed |
//! | `previous_status` | S | if the last write changed the status, the status before it; [`NO_STATUS`] if that write created the task |
//! | `attempt`, `baseline` | N | the attempt; the oldest attempt whose outcomes still count |
//! | `nonce`, `restart_op`, `cancel_op`, `dispatch`, `fan_out` | S | the tokens of the create, the newest restart, cancel, send by the sweeper, and fan-out |
//! | `fingerprint` | B | the fingerprint of the model and the set of ids |
//! | `total`, `deleted`, `failed`, `remaining` | N | counters; `total` is the number of ids, `remaining` is what the others leave, for conditions |
//! | `created_at`, `updated_at`, `expires_at`, `due_at` | N | seconds since 1970 |
//! | `sends` | N | how often the sweeper has sent the work since its last progress |
//! | `failed_head` | B | the first failures, for a list row, in the form of `task/failed_head.rs` |
//! | `list_pk`, `list_sk` | S | the index's keys |
//! | `reason`, `created_by`, `changed_by` | S | as in the API, if known |
//! | `chunks` | N | the number of chunks, if they are items of their own |
//! | `fan_outs`, `fan_out_due_at` | N | how often chunks that no worker had claimed were sent in this attempt, and when they are sent again |
//!
//! A chunk's ids are one attribute, `ids` (B), in the form of `task/object_ids/encoding.rs`: 16
//! bytes for a UUID. A chunk's state has these attributes, in an item of its own or in the item of
//! a task of one chunk:
//!
//! | attribute | type | holds |
//! |---|---|---|
//! | `fence`, `claim`, `lease_until`, `seen` | N S N B | the newest claim; `lease_until` is in milliseconds since 1970, and present while the claim is not settled |
//! | `claim_attempt`, `tries`, `put_offs` | N | the attempt that it was made in; claims without progress and deferrals in that attempt |
//! | `due_at` | N | when it is to be sent again, in seconds since 1970 |
//! | `outcomes`, `outcomes_attempt`, `reasons` | B N L | one byte for each object, see `task/outcome.rs` |
//! | `size`, `expires_at` | N N | in an item of its own: the number of objects; for Time to Live, a week after the task expires |
//!
//! The item of the sweeps has `positions` (L of S). For each index partition that a sweep did not
//! read to its end, it holds `<partition> <list_sk>`: the last row that the sweep read. The item is
//! in no index and does not expire.

use super::StoreError;
use super::attribute::{self as attr, Attributes, Item, b, n, s, seconds};
use crate::task::{
    Attribution, Bitmap, ChunkState, FailedHead, FailedItem, Fingerprint, ModelId, ObjectIds,
    Outcomes, Progress, RequestReason, Task, TaskId, TaskStatus,
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, SecondsFormat, Utc};
use sha2::{Digest, Sha256};

/// A task as it is stored.
#[derive(Clone, Debug)]
pub struct StoredTask {
    /// What a list row shows.
    pub task: Task,
    /// Why it exists, and who asked for it.
    pub attribution: Attribution,
    /// Outcomes recorded in attempts before this one no longer count.
    ///
    /// A restart of everything raises it.
    pub baseline: u32,
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The place of its objects.
    pub objects: Objects,
    /// The create's own token. Another task with the same id has a different one.
    pub(super) nonce: String,
    /// The token of the newest restart.
    pub(super) restart_op: Option<String>,
    /// The token of the newest cancel.
    pub(super) cancel_op: Option<String>,
    /// The newest fan-out.
    pub(super) fan_out: FanOut,
}

/// The place of a task's objects.
#[derive(Clone, Debug)]
pub enum Objects {
    /// In the task's item, as its only chunk.
    Inline(Box<InlineChunk>),
    /// In this many chunks, which are items of their own.
    Chunks(u32),
}

/// A task's only chunk.
///
/// Its ids are kept in their stored form, since most responses show none of them.
#[derive(Clone, Debug)]
pub struct InlineChunk {
    ids: Vec<u8>,
    /// The state of the work on it.
    pub state: ChunkState,
}

impl InlineChunk {
    /// Creates a chunk that no worker has claimed yet.
    pub(super) fn new(ids: &ObjectIds) -> Self {
        Self {
            ids: ids.to_bytes(0..ids.len()),
            state: ChunkState::of(ids.len()),
        }
    }

    /// Decodes the ids of the task's objects.
    pub(super) fn ids(&self, task: &TaskId) -> Result<ObjectIds, StoreError> {
        let ids = ObjectIds::from_bytes(&self.ids).ok();
        ids.filter(|ids| ids.len() == self.state.size)
            .ok_or_else(|| StoreError::damaged(attr::IDS, &format!("T#{task}")))
    }
}

/// The newest fan-out of a task into its chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FanOut {
    pub(super) token: Option<String>,
    /// The fan-outs of this attempt that sent chunks which no worker had claimed in it.
    pub(super) count: u32,
    /// When chunks that no worker has claimed are sent again.
    pub(super) due_at: Option<DateTime<Utc>>,
}

/// The value of `previous_status` for a task that was just created.
pub(super) const NO_STATUS: &str = "none";
/// The key of the item that says where the next sweep continues.
pub(super) const SWEEP_KEY: &str = "SWEEP";

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

/// Returns which of `shards` index partitions a task is in, whatever its status.
pub(super) fn shard_of(id: &TaskId, shards: u32) -> u32 {
    let digest: [u8; 32] = Sha256::digest(id.as_str()).into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d]) % shards.max(1)
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

/// The attributes that record the outcome of each object.
pub(super) fn outcomes_to_attributes(
    outcomes: &Outcomes,
) -> [(&'static str, Option<AttributeValue>); 3] {
    let (codes, reasons) = (outcomes.codes(), outcomes.reasons());
    let list = || AttributeValue::L(reasons.iter().map(s).collect());
    [
        (attr::OUTCOMES, (!codes.is_empty()).then(|| b(codes))),
        (attr::OUTCOMES_ATTEMPT, Some(n(outcomes.attempt()))),
        (attr::REASONS, (!reasons.is_empty()).then(list)),
    ]
}

/// The attribute `seen`, if anything was seen.
pub(super) fn seen_to_attribute(seen: &Bitmap) -> Option<AttributeValue> {
    (!seen.is_empty()).then(|| b(seen.to_bytes()))
}

impl StoredTask {
    /// Returns the item of a new task that is due at `due_at`.
    pub(super) fn to_new_item(&self, list_partition: String, due_at: DateTime<Utc>) -> Item {
        let task = &self.task;
        let objects = match &self.objects {
            Objects::Inline(chunk) => (attr::IDS, b(chunk.ids.as_slice())),
            Objects::Chunks(count) => (attr::CHUNKS, n(count)),
        };
        let attributes = [
            (attr::KEY, key_of(&task.id)),
            (attr::MODEL, s(task.model.as_str())),
            (attr::STATUS, s(task.status.as_str())),
            (attr::PREVIOUS_STATUS, s(NO_STATUS)),
            (attr::ATTEMPT, n(task.attempt)),
            (attr::BASELINE, n(self.baseline)),
            (attr::NONCE, s(&self.nonce)),
            (attr::FINGERPRINT, b(self.fingerprint.as_bytes())),
            (attr::TOTAL, n(task.progress.total)),
            (attr::DELETED, n(task.progress.deleted)),
            (attr::FAILED, n(task.progress.failed)),
            (attr::REMAINING, n(task.progress.remaining())),
            (attr::CREATED_AT, seconds(task.created_at)),
            (attr::UPDATED_AT, seconds(task.updated_at)),
            (attr::EXPIRES_AT, seconds(task.expires_at)),
            (attr::DUE_AT, seconds(due_at)),
            (attr::SENDS, n(0)),
            objects,
            (attr::INDEX_HASH_KEY, s(list_partition)),
            (
                attr::INDEX_RANGE_KEY,
                s(list_position(task.created_at, task.id.as_str())),
            ),
        ];
        let attribution = &self.attribution;
        let reason = attribution.reason.as_ref().map(RequestReason::as_str);
        let optional = [
            (attr::REASON, reason),
            (attr::CREATED_BY, attribution.created_by.as_deref()),
        ];
        let optional = optional
            .into_iter()
            .filter_map(|(name, text)| Some((name, s(text?))));
        let attributes = attributes.into_iter().chain(optional);
        attributes
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Reads a task from its item.
    pub(super) fn from_item(item: Item) -> Result<Self, StoreError> {
        let mut item = Attributes::of(item);
        let task = read_task(&mut item)?;
        let fingerprint: Vec<u8> = item.required(attr::FINGERPRINT)?;
        let objects = match item.optional(attr::CHUNKS)? {
            Some(count) => Objects::Chunks(count),
            None => Objects::Inline(Box::new(InlineChunk {
                ids: item.optional(attr::IDS)?.unwrap_or_default(),
                state: read_chunk_state(&mut item, Some(task.progress.total as usize))?,
            })),
        };
        Ok(Self {
            attribution: read_attribution(&mut item)?,
            baseline: item.required(attr::BASELINE)?,
            fingerprint: Fingerprint::from_bytes(&fingerprint)
                .ok_or_else(|| item.damaged(attr::FINGERPRINT))?,
            objects,
            nonce: item.required(attr::NONCE)?,
            restart_op: item.optional(attr::RESTART_OP)?,
            cancel_op: item.optional(attr::CANCEL_OP)?,
            fan_out: FanOut {
                token: item.optional(attr::FAN_OUT)?,
                count: item.optional(attr::FAN_OUTS)?.unwrap_or(0),
                due_at: item.optional(attr::FAN_OUT_DUE_AT)?,
            },
            task,
        })
    }
}

/// Reads what a list row shows of a task. Both the table and the index hold it.
pub(super) fn read_task(item: &mut Attributes) -> Result<Task, StoreError> {
    let id = item.key.strip_prefix("T#").map(TaskId::new);
    let status: String = item.required(attr::STATUS)?;
    Ok(Task {
        id: id
            .and_then(Result::ok)
            .ok_or_else(|| item.damaged(attr::KEY))?,
        model: ModelId::new(item.required::<String>(attr::MODEL)?)
            .map_err(|_| item.damaged(attr::MODEL))?,
        status: status.parse().map_err(|()| item.damaged(attr::STATUS))?,
        attempt: item.required(attr::ATTEMPT)?,
        created_at: item.required(attr::CREATED_AT)?,
        updated_at: item.required(attr::UPDATED_AT)?,
        expires_at: item.required(attr::EXPIRES_AT)?,
        progress: Progress {
            total: item.required(attr::TOTAL)?,
            deleted: item.required(attr::DELETED)?,
            failed: item.required(attr::FAILED)?,
        },
        detail: item.optional(attr::DETAIL)?,
    })
}

/// Reads why a task exists and who asked for it. Only the table holds this.
pub(super) fn read_attribution(item: &mut Attributes) -> Result<Attribution, StoreError> {
    let reason: Option<String> = item.optional(attr::REASON)?;
    let reason = reason.map(RequestReason::new).transpose();
    Ok(Attribution {
        reason: reason.map_err(|_| item.damaged(attr::REASON))?,
        created_by: item.optional(attr::CREATED_BY)?,
        changed_by: item.optional(attr::CHANGED_BY)?,
    })
}

/// Reads the first failures, as a list row shows them.
pub(super) fn read_failed_head(item: &mut Attributes) -> Result<Vec<FailedItem>, StoreError> {
    let Some(bytes) = item.optional::<Vec<u8>>(attr::FAILED_HEAD)? else {
        return Ok(Vec::new());
    };
    let head = FailedHead::from_bytes(&bytes).map_err(|_| item.damaged(attr::FAILED_HEAD))?;
    Ok(head.into_items())
}

/// Reads a chunk's ids from their item.
pub(super) fn ids_from_item(item: Item) -> Result<ObjectIds, StoreError> {
    let mut item = Attributes::of(item);
    let bytes: Vec<u8> = item.optional(attr::IDS)?.unwrap_or_default();
    ObjectIds::from_bytes(&bytes).map_err(|_| item.damaged(attr::IDS))
}

/// Reads a chunk's state from its own item.
pub(super) fn state_from_item(item: Item) -> Result<ChunkState, StoreError> {
    read_chunk_state(&mut Attributes::of(item), None)
}

/// Reads a chunk's state.
///
/// `size` is the number of its objects, if the item is the task's, which does not hold it.
fn read_chunk_state(item: &mut Attributes, size: Option<usize>) -> Result<ChunkState, StoreError> {
    let lease_until: Option<i64> = item.optional(attr::LEASE_UNTIL)?;
    Ok(ChunkState {
        size: match size {
            Some(size) => size,
            None => item.required(attr::SIZE)?,
        },
        fence: item.optional(attr::FENCE)?.unwrap_or(0),
        claim: item.optional(attr::CLAIM)?,
        lease_until: lease_until.and_then(DateTime::from_timestamp_millis),
        attempt: item.optional(attr::CLAIM_ATTEMPT)?.unwrap_or(0),
        tries: item.optional(attr::TRIES)?.unwrap_or(0),
        put_offs: item.optional(attr::PUT_OFFS)?.unwrap_or(0),
        due_at: item.optional(attr::DUE_AT)?,
        seen: Bitmap::from_bytes(item.optional(attr::SEEN)?.unwrap_or_default()),
        outcomes: Outcomes::from_parts(
            item.optional(attr::OUTCOMES)?.unwrap_or_default(),
            item.optional(attr::REASONS)?.unwrap_or_default(),
            item.optional(attr::OUTCOMES_ATTEMPT)?.unwrap_or(0),
        ),
    })
}

/// Returns a row of a list or a sweep, or `None` if it is damaged.
///
/// A damaged row is logged and left out, so that it does not hide the others.
pub(super) fn or_skip<T>(row: Result<T, StoreError>) -> Option<T> {
    row.inspect_err(|error| tracing::error!(cause = %error, "skipped"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

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
        // A task that is stored keeps its shard over deployments.
        assert_eq!(shard_of(&ids[0], 64), 1);
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
        let item = HashMap::from([
            ("pk".into(), s("T#x")),
            ("status".into(), s("done")),
            ("model".into(), n(1)),
        ]);
        let error = StoredTask::from_item(item).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a stored item is damaged: attribute `model` of `T#x`"
        );
    }
}
