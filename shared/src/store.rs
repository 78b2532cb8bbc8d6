//! Tasks in DynamoDB.
//!
//! `attribute.rs` names the attributes, `item.rs` says what items look like, both ways. Every write
//! is conditional on what it assumes (`guarded.rs`) and named for its guard, and its conditions
//! stand beside it; only a chunk's ids are not, which are written before anybody can know their
//! name, and grants, which nobody reads.
//!
//! | file | writes and reads |
//! |---|---|
//! | `create.rs` | the create |
//! | `control.rs` | restart and cancel |
//! | `claims.rs`, `settlements.rs` | the worker's: claim or defer, and settle |
//! | `due.rs` | what is due to be sent: the sweeper's tasks, a fan-out's chunks |
//! | `grants.rs` | the time of a vector index, which all workers share |
//! | `chunks.rs` | chunks' ids and states, many at a time |
//! | `list.rs`, `outcomes.rs` | what a caller asks for: tasks, and what happened to each object |

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
pub use list::{ListFilter, ListPage, ListRow, MAX_ROWS_READ, Position};
pub use outcomes::{Failures, ObjectOutcome, OutcomePage, Place};
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
/// What the index holds beside the keys: what a list row shows, and what the sweeper asks for.
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

/// How much longer than its task a chunk is kept: it must not be gone while anybody may still read
/// it.
const CHUNK_RETENTION: TimeDelta = TimeDelta::days(7);
/// How long after a message was sent its task counts as not taken up, and the sweeper sends it
/// again.
const DISPATCH_GRACE: TimeDelta = TimeDelta::seconds(60);
/// The longest the sweeper waits between two sends of the same work.
const MAX_RESEND_DELAY: TimeDelta = TimeDelta::hours(1);

/// The longest that a chunk is deferred because its vector store throttles.
const LONGEST_THROTTLED: TimeDelta = TimeDelta::minutes(8);

/// How long work waits that the sweeper has sent `sends` times without progress.
fn resend_delay(sends: u32) -> TimeDelta {
    DISPATCH_GRACE
        .checked_mul(1 << sends.min(16))
        .map_or(MAX_RESEND_DELAY, |delay| delay.min(MAX_RESEND_DELAY))
}

/// The chunks from `from` on, as many at a time as one BatchGetItem takes.
fn windows(from: u32, count: u32) -> impl Iterator<Item = Range<u32>> {
    let most = u32::try_from(chunks::MAX_BATCH_GET).unwrap_or(1);
    let start = move |n: &u32| *n < count;
    std::iter::successors(Some(from), move |n| n.checked_add(most))
        .take_while(start)
        .map(move |n| n..n.saturating_add(most).min(count))
}

/// A name that no other write has.
fn new_token() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// What became of a guarded write.
#[derive(Debug)]
#[must_use]
pub enum Written<T, F = ()> {
    /// Its condition held, and it was made: by this call, also where the SDK had to send it again
    /// because the first response was lost.
    Applied(T),
    /// Its condition did not hold, and nothing was changed. What was found instead.
    NotApplied(F),
}

/// Why a call of the store failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB is throttling or out of reach: the same call may succeed later.
    #[error("DynamoDB is throttling or out of reach: {code}")]
    Unavailable {
        /// DynamoDB's error code, or what became of the call.
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
    /// An item is not as this service writes it.
    #[error("a stored item is damaged: {0}")]
    Damaged(String),
}

impl StoreError {
    /// DynamoDB cannot do it now, though no call of the SDK failed.
    fn unavailable(code: &str, why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            code: code.to_owned(),
            source: why.into().into(),
        }
    }

    /// An attribute of the item with this key is not as it should be.
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

/// A request lacks what the SDK requires. This service always gives it.
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
    /// The store in the table that `config` names.
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

    /// Reads a task, strongly consistent. An expired one may still be there: ask
    /// [`crate::task::Task::is_expired`]. The messages of a batch that read the same task share
    /// reads; each begins after it was asked for.
    ///
    /// # Errors
    /// When DynamoDB does not answer or the item is damaged.
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

    /// Puts a task into `status`, with an update of its item. `was`: its status as the update's
    /// condition has it; `None`: another.
    ///
    /// Every update of a task's item does this, so that whoever reads the table's stream finds
    /// `previous_status` in an item exactly where that write changed the status.
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

    /// The index partition of a task in `status`.
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
