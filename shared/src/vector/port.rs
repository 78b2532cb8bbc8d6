//! The port: what a vector store does, and what an adapter gives to open one.

use super::password::Password;
use crate::task::ModelId;
use aws_config::SdkConfig;
use futures_util::future::BoxFuture;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A place that holds a model's vectors.
pub trait VectorStore: Send + Sync {
    /// Which of `ids` are in the index now, position by position, by a read that shows all that was committed before it.
    fn present<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Presence>, VectorError>>;

    /// Deletes `ids`, at most [`VectorStore::max_delete`] of them, in one call, and says what became of each, position by
    /// position. Absent ones do no harm.
    ///
    /// An adapter says [`AfterDelete::Gone`] of what a current read did not find after the delete, not of what its store
    /// acknowledged; only where the store documents that an acknowledged delete is visible at once may the acknowledgement
    /// stand for that read. Once it has answered, nothing of the call takes effect any more.
    ///
    /// After an error some may be deleted and some not. Where no answer came (see [`VectorErrorKind::Unanswered`]) the call
    /// may still be carried out, but no later than [`VECTOR_CALL_TIMEOUT`] after it was made: the adapter and its service
    /// end it by then.
    ///
    /// [`VECTOR_CALL_TIMEOUT`]: crate::aws::VECTOR_CALL_TIMEOUT
    fn delete<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<AfterDelete>, VectorError>>;

    /// The most ids that one delete call takes now. It becomes smaller when a call was too slow.
    fn max_delete(&self) -> usize;

    /// Takes the next place for a delete of so many ids, and says how long to wait for it, so that the store is asked for
    /// no more than it takes. `None`: it would be longer than `longest`, and no place is taken.
    ///
    /// The wait is the caller's, so that a delete's own time begins with the call.
    fn turn(&self, _ids: usize, _longest: Duration) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

/// What a read says of one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is in the index.
    Present,
    /// It is not.
    Absent,
    /// The store can never hold this id. One sentence for the person who reads the task.
    Refused(String),
}

impl Presence {
    /// Present or absent.
    pub fn of(is_present: bool) -> Self {
        if is_present {
            Self::Present
        } else {
            Self::Absent
        }
    }
}

/// What became of one id by a delete call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterDelete {
    /// A current read does not find it.
    Gone,
    /// A current read still finds it: something keeps it, or somebody inserted it again. One sentence for the person who
    /// reads the task.
    Kept(String),
    /// A part of it went, and another call takes more.
    More,
    /// No current read is to be had yet.
    Unconfirmed,
}

/// What went wrong, by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorErrorKind {
    /// There is no such index. Trying again does not help.
    IndexMissing,
    /// Access is denied, or the store refuses the request itself. Trying again does not help until an operator acts.
    Denied,
    /// The store asks to go slower.
    Throttled,
    /// The store answered that it failed, in a way that may pass.
    Temporary,
    /// No answer came: out of reach, cut off, or too slow. A call that was sent may still be carried out.
    Unanswered,
    /// The caller's own time was up too soon to blame the store.
    OutOfTime,
    /// The call asked for more than can be done in its time, and nothing of it was done. A smaller one may succeed.
    TooSlow,
    /// One of the ids is one that the store will never take.
    InvalidId,
    /// One of the objects is one that the store refuses to delete (or to read), and nothing was done. The others may go without it.
    KeptObject,
}

/// An error of a vector store.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct VectorError {
    /// What it means.
    pub kind: VectorErrorKind,
    /// One sentence for the person who reads the task.
    pub detail: String,
    /// The service's error code, or what became of the call: for the log.
    pub code: String,
    /// The adapter's own error.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl VectorError {
    /// No call was made: the store is already asked for as much as it takes.
    pub(crate) fn asked_enough() -> Self {
        Self {
            kind: VectorErrorKind::Throttled,
            detail: "The vector store is asked for as much as it takes".to_owned(),
            code: "paced".to_owned(),
            source: None,
        }
    }
}

/// What adapters are opened with, beside their URLs.
#[derive(Clone, Debug)]
pub struct Services {
    /// For the stores that are AWS's own, and for AWS Secrets Manager.
    pub aws: SdkConfig,
    /// What to log in with at a store whose URL names no password.
    pub password: Option<Password>,
}

/// An adapter's part of opening a store: it was made from one URL, opens the store of each model, and holds what the stores of
/// all models share, such as connections and the pace of an index.
pub(super) trait StoreFactory: fmt::Debug + Send + Sync {
    /// The store of a model's vectors. It connects to nothing yet. `services` are the same in every call.
    fn open(&self, services: &Services, model: &ModelId) -> Arc<dyn VectorStore>;
}
