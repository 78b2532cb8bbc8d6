//! The port: what a vector store does, and what an adapter provides to open one.

use super::pace::Quota;
use super::password::Password;
use crate::clock::Clock;
use crate::task::ModelId;
use aws_config::SdkConfig;
use futures_util::future::BoxFuture;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A place that holds a model's vectors.
pub trait VectorStore: Send + Sync {
    /// The existence check: which of `ids` are in the index now, position by position. The read
    /// sees everything that was committed before it.
    fn present<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Presence>, VectorError>>;

    /// Deletes `ids`, at most [`VectorStore::max_delete`] of them, in one call, and returns what
    /// became of each, position by position. Ids that are not in the index are allowed.
    ///
    /// [`AfterDelete::Gone`] means that a current read did not find the object after the delete. An
    /// acknowledgement by the store is not enough, unless the store documents that an acknowledged
    /// delete is visible at once. Once this returns, no part of the call takes effect any more.
    ///
    /// After an error some ids may be deleted and others not. If no response came
    /// ([`VectorErrorKind::Unanswered`]), the delete may still be carried out, but no later than
    /// [`VECTOR_CALL_TIMEOUT`] after this was called, however late the adapter sent it. The adapter
    /// and its service must ensure that.
    ///
    /// [`VECTOR_CALL_TIMEOUT`]: crate::aws::VECTOR_CALL_TIMEOUT
    fn delete<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<AfterDelete>, VectorError>>;

    /// The most ids that one existence check can read within the time of a call.
    fn max_present(&self) -> usize {
        usize::MAX
    }

    /// The most ids for the next delete call. It becomes smaller after a call that was too slow.
    fn max_delete(&self) -> usize;

    /// How much longer the store has asked not to be called. Until that time is over, each call
    /// fails at once as throttled.
    fn pause(&self) -> Duration {
        Duration::ZERO
    }
}

/// The result of an existence check for one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is in the index.
    Present,
    /// It is not in the index.
    Absent,
    /// The store can never hold this id. The text is one sentence for the person who reads the
    /// task.
    InvalidId(String),
}

impl Presence {
    /// Returns `Present` or `Absent`.
    pub fn of(is_present: bool) -> Self {
        if is_present {
            Self::Present
        } else {
            Self::Absent
        }
    }
}

/// What became of one id in a delete call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterDelete {
    /// A current read does not find it.
    Gone,
    /// A current read still finds it: something keeps it, or somebody inserted it again. The text
    /// is one sentence for the person who reads the task.
    Kept(String),
    /// A part of it was deleted. Another call deletes more.
    More,
    /// A current read is not possible yet.
    Unconfirmed,
}

/// What went wrong, by what it means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorErrorKind {
    /// There is no such index. Trying again does not help.
    IndexMissing,
    /// Access is denied, or the store refuses the request itself. Trying again does not help until
    /// an operator acts.
    Denied,
    /// The store asks to go slower.
    Throttled,
    /// The store responded with an error that may pass.
    Temporary,
    /// No response came: the store is unreachable, the connection was cut, or the call took too
    /// long. A call that was sent may still be carried out.
    Unanswered,
    /// The caller's own time ended too early to conclude anything about the store.
    OutOfTime,
    /// The call did not fit into its time limit, and no part of it was done. A smaller one may
    /// succeed.
    TooSlow,
    /// The store can never hold at least one of the ids.
    InvalidId,
    /// The store refuses to delete (or to read) at least one of the objects, and nothing was done.
    /// Without that object the others may be deleted.
    KeptObject,
}

/// An error of a vector store.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct VectorError {
    /// What it means for the caller.
    pub kind: VectorErrorKind,
    /// One sentence for the person who reads the task.
    pub detail: String,
    /// The service's error code, or what became of the call, for the log.
    pub code: String,
    /// The adapter's own error.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl VectorError {
    /// No call was made: the rate limit of the index is reached, or the store has asked to wait.
    pub(crate) fn rate_limited() -> Self {
        Self {
            kind: VectorErrorKind::Throttled,
            detail: "Rate limit for this index reached".to_owned(),
            code: "paced".to_owned(),
            source: None,
        }
    }
}

/// What opening a store needs in addition to its URL.
#[derive(Clone, Debug)]
pub struct Services {
    /// For Amazon S3 Vectors and AWS Secrets Manager.
    pub aws: SdkConfig,
    /// The password for stores whose URL has none.
    pub password: Option<Password>,
    /// The token for stores that require one.
    pub token: Option<Password>,
    /// The worker's clock. It measures the times that a store is sent and the pauses that a store
    /// asks for.
    pub clock: Clock,
}

/// What an adapter makes from one URL. It opens the store of each model, and holds what the stores
/// of all models share, such as connections.
pub(super) trait StoreFactory: fmt::Debug + Send + Sync {
    /// Makes what all its stores share, such as a client, while the process starts. It does not
    /// connect yet.
    fn prepare(&self, services: &Services);

    /// The store of a model's vectors. It does not connect yet. `services` are the same in every
    /// call.
    fn open(&self, services: &Services, model: &ModelId) -> Arc<dyn VectorStore>;

    /// The rate limit of deletes of a model's vectors, and the address of the limited index. No
    /// other index in any store has this address. `None`: there is no limit, or no such index.
    fn limit(&self, model: &ModelId) -> Option<(String, Quota)>;
}
