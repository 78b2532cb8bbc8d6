//! Tasks in DynamoDB.
//!
//! `item.rs` says what an item looks like. Each other file is a family of guarded writes or reads: `create.rs`,
//! `control.rs` (restart and cancel), `fan_out.rs`, `work.rs` (claim, put off), `settle.rs`, `sweep.rs`, `list.rs`,
//! `chunks.rs` (ids and states many at a time), `outcomes.rs` (what a caller asks of the objects). Every write is conditional
//! on what it assumes, and its condition stands beside it; only a chunk's ids are not, which are written before anybody can
//! know their name.

mod chunks;
mod control;
mod create;
mod expression;
mod fan_out;
mod item;
mod list;
mod outcomes;
mod reader;
mod settings;
mod settle;
mod sweep;
mod work;

pub use control::{ControlError, Controlled, Scope};
pub use create::{Created, NewTask};
pub use fan_out::OpenChunks;
pub use item::{InlineChunk, Objects, StoredTask};
pub use list::{ListFilter, ListPage, ListRow, MAX_ROWS_READ, Position};
pub use outcomes::{ObjectOutcome, OutcomePage, Place};
pub use settings::StoreConfig;
pub use settle::Settled;
pub use sweep::{DuePage, DueTask, PageStart};
pub use work::{Deferral, Work, WorkError};

use crate::aws::error_code;
use crate::task::{ChunkLimits, TaskId, TaskStatus};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use chrono::TimeDelta;
use futures_util::FutureExt;
use std::error::Error;
use std::ops::Range;

/// The table's hash key: `T#` and the task's id.
pub const KEY: &str = "pk";
/// The one index, for lists and for the sweeper.
pub const INDEX_NAME: &str = "by_status";
/// The index's hash key: `<status>#<shard>`.
pub const INDEX_HASH_KEY: &str = "list_pk";
/// The index's range key: `<created_at>#<id>`.
pub const INDEX_RANGE_KEY: &str = "list_sk";
/// What the index holds beside the keys: what a list row shows, and what the sweeper asks for.
pub const INDEX_ATTRIBUTES: &[&str] = &[
    "model",
    "status",
    "attempt",
    "total",
    "deleted",
    "failed",
    "created_at",
    "updated_at",
    "expires_at",
    "due_at",
    "sends",
    "failed_head",
    "detail",
];
/// The attribute that DynamoDB's Time to Live reads: seconds since 1970.
pub const TTL_ATTRIBUTE: &str = "expires_at";

/// How long after a message was sent its task counts as not taken up, and the sweeper sends it again.
const DISPATCH_GRACE: TimeDelta = TimeDelta::seconds(60);
/// The longest the sweeper waits between two sends of the same work.
const MAX_RESEND_DELAY: TimeDelta = TimeDelta::hours(1);

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

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB is throttling or out of reach: the same call may succeed later.
    #[error("DynamoDB is throttling or out of reach: {code}")]
    Unavailable {
        /// DynamoDB's error code, or what became of the call.
        code: String,
        /// The SDK's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The table is missing, access is denied, or the call is wrong: an operator must act.
    #[error("DynamoDB refused the call: {code}")]
    Refused {
        /// DynamoDB's error code, such as `ResourceNotFoundException`.
        code: String,
        /// The SDK's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// An item does not look as this service writes it.
    #[error("a stored item is damaged: {0}")]
    Damaged(String),
}

impl StoreError {
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
        let source = error.into();
        match transient {
            true => Self::Unavailable { code, source },
            false => Self::Refused { code, source },
        }
    }
}

/// The tasks in one DynamoDB table.
#[derive(Clone, Debug)]
pub struct TaskStore {
    client: Client,
    table: String,
    shards: u32,
    chunk_limits: ChunkLimits,
}

impl TaskStore {
    /// The store in the table that `config` names.
    pub fn new(client: Client, config: StoreConfig) -> Self {
        Self {
            client,
            table: config.table_name,
            shards: config.list_shards,
            chunk_limits: config.chunk_limits,
        }
    }

    /// Reads a task, strongly consistent. An expired one may still be there: ask [`crate::task::Task::is_expired`].
    ///
    /// # Errors
    /// When DynamoDB does not answer or the item is damaged.
    pub async fn load(&self, id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(KEY, item::key_of(id))
            .consistent_read(true)
            .send()
            .boxed()
            .await?;
        answer.item.map(StoredTask::from_item).transpose()
    }

    /// The index's hash key for a task in `status`.
    fn list_key(&self, status: TaskStatus, id: &TaskId) -> String {
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
