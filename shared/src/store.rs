//! Tasks in DynamoDB.
//!
//! `attribute.rs` names the attributes, and `item.rs` converts items to types and back. Every write
//! is conditional on what it assumes (`guarded.rs`). A write is named for its guard, and its
//! conditions are beside it in the code. There are two exceptions. A chunk's ids are written
//! without a condition, before anybody can know their name. A grant has a condition but no token,
//! since a lost response only wastes it.
//!
//! | file | writes and reads |
//! |---|---|
//! | `create.rs` | the create |
//! | `control.rs` | restart and cancel |
//! | `claims.rs`, `settlements.rs` | a worker's claim or deferral, and its settlement |
//! | `due.rs` | work that is due to be sent: tasks for the sweeper, chunks for a fan-out |
//! | `grants.rs` | the time of a vector index, which all workers share |
//! | `chunks.rs` | ids and states of chunks, in batches |
//! | `list.rs`, `outcomes.rs` | lists of tasks, and the outcome of each object |

mod attribute;
mod chunks;
mod claims;
mod control;
mod create;
mod due;
mod grants;
mod guarded;
mod item;
mod list;
mod outcomes;
mod settings;
mod settlements;
mod status_change;
mod together;

pub use attribute::{INDEX_HASH_KEY, INDEX_RANGE_KEY, KEY};
pub use claims::{Deferral, TaskChunk};
pub use control::Scope;
pub use create::NewTask;
pub use due::{DuePage, DueTask, OpenChunks, Partition, SweepPositions};
pub use grants::{Grant, GrantRequest};
pub use item::{InlineChunk, Objects, StoredTask};
pub use list::{ListFilter, ListPage, ListRow, MAX_ROWS_READ, TaskPosition};
pub use outcomes::{Failures, ObjectOutcome, ObjectPosition, OutcomePage};
pub use settings::StoreConfig;
pub use settlements::Settled;
pub use status_change::StatusChange;

use crate::aws::error_code;
use crate::task::{ChunkLimits, TaskId, TaskStatus};
use attribute::{self as attr, s};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use chrono::TimeDelta;
use futures_util::FutureExt;
use guarded::GuardedUpdate;
use settlements::Settlements;
use std::error::Error;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use together::{Asked, Together};

/// The one index, for lists and for the sweeper.
pub const INDEX_NAME: &str = "by_status";
/// The attributes in the index beside the keys: what a list row shows, and what the sweeper needs.
pub const INDEX_ATTRIBUTES: &[&str] = &[
    attribute::MODEL,
    attribute::STATUS,
    attribute::ATTEMPT,
    attribute::TOTAL,
    attribute::DELETED,
    attribute::FAILED,
    attribute::CREATED_AT,
    attribute::UPDATED_AT,
    attribute::EXPIRES_AT,
    attribute::DUE_AT,
    attribute::SENDS,
    attribute::FAILED_HEAD,
    attribute::DETAIL,
];
/// The attribute that DynamoDB's Time to Live reads: seconds since 1970.
pub const TTL_ATTRIBUTE: &str = attribute::EXPIRES_AT;

/// How long a chunk is kept after its task expires, since somebody may still read it.
const CHUNK_RETENTION: TimeDelta = TimeDelta::days(7);
/// How long after a send the task may stay without a claim. Then the sweeper sends it again.
const DISPATCH_GRACE: TimeDelta = TimeDelta::seconds(60);
/// The longest time that the sweeper waits between two sends of the same work.
const MAX_RESEND_DELAY: TimeDelta = TimeDelta::hours(1);

/// The longest time that a chunk is deferred because its vector store throttled or time ran out.
const LONGEST_THROTTLED: TimeDelta = TimeDelta::minutes(8);

/// Returns the delay of work that was sent or deferred `sends` times without progress.
fn resend_delay(sends: u32) -> TimeDelta {
    DISPATCH_GRACE
        .checked_mul(1 << sends.min(16))
        .map_or(MAX_RESEND_DELAY, |delay| delay.min(MAX_RESEND_DELAY))
}

/// Returns the chunks from `from` on, in ranges of as many as one BatchGetItem takes.
fn windows(from: u32, count: u32) -> impl Iterator<Item = Range<u32>> {
    let most = u32::try_from(chunks::MAX_BATCH_GET).unwrap_or(1);
    let start = move |n: &u32| *n < count;
    std::iter::successors(Some(from), move |n| n.checked_add(most))
        .take_while(start)
        .map(move |n| n..n.saturating_add(most).min(count))
}

/// Returns a token that no other write has.
fn new_token() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The result of a guarded write.
#[derive(Debug)]
#[must_use]
pub enum Written<T, F = ()> {
    /// Its condition held, and this call made the write.
    ///
    /// This includes a write that the SDK sent again because the first response was lost.
    Applied(T),
    /// Its condition did not hold, and nothing was changed. Holds what was found instead.
    NotApplied(F),
}

/// The error of a call to the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB is throttling or out of reach: the same call may succeed later.
    #[error("DynamoDB is throttling or out of reach: {code}")]
    Unavailable {
        /// DynamoDB's error code, or how the call failed.
        code: String,
        /// The SDK's error.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The table is missing, access is denied, or the call is wrong: an operator must act.
    #[error("DynamoDB rejected the call: {code}")]
    Rejected {
        /// DynamoDB's error code, such as `ResourceNotFoundException`.
        code: String,
        /// The SDK's error.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// An item does not have the form in which this service writes it.
    #[error("a stored item is damaged: {0}")]
    Damaged(String),
}

impl StoreError {
    /// Returns the error for work that DynamoDB cannot do now, though no call of the SDK failed.
    fn unavailable(code: &str, why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            code: code.to_owned(),
            source: why.into().into(),
        }
    }

    /// Returns the error for an attribute that is missing or invalid in the item with this key.
    fn damaged(attribute: &str, key: &str) -> Self {
        Self::Damaged(format!("attribute `{attribute}` of `{key}`"))
    }
}

impl<E, R> From<SdkError<E, R>> for StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        let transient = match &error {
            SdkError::ConstructionFailure(_) => false,
            SdkError::TimeoutError(_)
            | SdkError::DispatchFailure(_)
            | SdkError::ResponseError(_) => true,
            SdkError::ServiceError(_) => matches!(
                error.code(),
                None | Some(
                    "ThrottlingException"
                        | "ThrottledException"
                        | "ProvisionedThroughputExceededException"
                        | "RequestLimitExceeded"
                        | "LimitExceededException"
                        | "InternalServerError"
                        | "InternalFailure"
                        | "ServiceUnavailable"
                        | "ServiceUnavailableException"
                        | "TransactionInProgressException"
                        | "TransactionConflictException"
                        | "ReplicatedWriteConflictException"
                )
            ),
            _ => true,
        };
        let code = error_code(&error).to_owned();
        let source = Arc::new(error);
        if transient {
            Self::Unavailable { code, source }
        } else {
            Self::Rejected { code, source }
        }
    }
}

/// Returns the error for a request without a field that the SDK requires.
///
/// This service always sets these fields.
fn not_built(error: BuildError) -> StoreError {
    StoreError::Rejected {
        code: "not built".to_owned(),
        source: Arc::new(error),
    }
}

/// The tasks in one DynamoDB table.
#[derive(Clone, Debug)]
pub struct TaskStore {
    client: Client,
    table: String,
    shards: u32,
    chunk_limits: ChunkLimits,
    reads: Together<(), Result<Option<StoredTask>, StoreError>, ()>,
    settlements: Settlements,
}

impl TaskStore {
    /// Creates a store for the table that `config` names.
    pub fn new(client: Client, config: StoreConfig) -> Self {
        Self {
            client,
            table: config.table_name,
            shards: config.list_shards,
            chunk_limits: config.chunk_limits,
            reads: Together::with_patience(Duration::ZERO),
            settlements: Together::with_patience(settlements::PATIENCE),
        }
    }

    /// Reads a task, strongly consistent.
    ///
    /// An expired task may still be stored: check [`crate::task::Task::is_expired`]. The messages
    /// of a batch that read the same task share reads. A shared read begins after the last request
    /// that shares it.
    ///
    /// # Errors
    /// If the call to DynamoDB fails or the item is damaged.
    pub async fn load(&self, id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        let read = async |waiting: Vec<Arc<Asked<_, _>>>, ()| {
            let task = self.read(id).await;
            waiting.iter().for_each(|one| one.respond(task.clone()));
        };
        self.reads.ask(id.as_str(), (), None, read).await
    }

    async fn read(&self, id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        let response = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(KEY, item::key_of(id))
            .consistent_read(true)
            .send()
            .boxed()
            .await?;
        response.item.map(StoredTask::from_item).transpose()
    }

    /// Puts a task into `status`, as a part of an update of its item.
    ///
    /// `was` is the status that the update's condition requires. `None` means any status but
    /// `status`.
    ///
    /// Every update of a task's item does this. So an item has `previous_status` exactly if its
    /// last write changed the status, and whoever reads the table's stream can rely on that.
    fn in_status(
        &self,
        update: GuardedUpdate,
        id: &TaskId,
        was: Option<TaskStatus>,
        status: TaskStatus,
    ) -> GuardedUpdate {
        if was == Some(status) {
            return update.remove(attr::PREVIOUS_STATUS);
        }
        update
            .copy(attr::PREVIOUS_STATUS, &[attr::STATUS])
            .set(attr::STATUS, s(status.as_str()))
            .set(attr::INDEX_HASH_KEY, s(self.list_partition(status, id)))
    }

    /// Returns the index partition of a task in `status`.
    fn list_partition(&self, status: TaskStatus, id: &TaskId) -> String {
        item::list_partition(status, item::shard_of(id, self.shards))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_makes_no_progress_is_sent_again_ever_more_slowly_up_to_an_hour() {
        let delays: Vec<_> = (0..8).map(|n| resend_delay(n).num_seconds()).collect();
        assert_eq!(delays, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(resend_delay(u32::MAX), MAX_RESEND_DELAY);
    }
}
