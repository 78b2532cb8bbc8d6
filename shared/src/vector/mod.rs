//! The vector store port: say which of these ids exist; delete these ids, and say what became of each.
//!
//! `rules.rs` chooses the store for a model, `schemes.rs` is the table of adapters by URL scheme; each other file is an
//! adapter, which owns its service's limits, connections and timeouts, and sorts its errors by meaning.

#[cfg(feature = "embedding-studio")]
mod embedding_studio;
#[cfg(any(feature = "s3vectors", feature = "postgres"))]
mod parameters;
mod password;
#[cfg(feature = "postgres")]
mod postgres;
mod rules;
#[cfg(feature = "s3vectors")]
mod s3vectors;
mod schemes;

pub use password::Password;
pub use rules::VectorStoreRules;

use crate::task::ModelId;
use aws_config::SdkConfig;
use futures_util::future::BoxFuture;
use rules::Pattern;
use schemes::{StoreOf, Target};
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

/// The stores a deployment is configured with. Clones share them, and their connections.
#[derive(Clone)]
pub struct VectorStores(Arc<[(Pattern, Arc<StoreOf>)]>);

impl fmt::Debug for VectorStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(pattern, _)| pattern))
            .finish()
    }
}

impl VectorStores {
    /// The stores that `rules` name, those of one URL opened once. Nothing is connected to until a store is first called.
    pub fn new(rules: &VectorStoreRules, services: &Services) -> Self {
        let mut open: Vec<(Pattern, Arc<dyn Target>, Arc<StoreOf>)> = Vec::new();
        for (pattern, target) in rules.iter() {
            let same = open.iter().find(|(_, known, _)| Arc::ptr_eq(known, target));
            let stores = match same {
                Some((_, _, stores)) => Arc::clone(stores),
                None => Arc::new(target.open(services)),
            };
            open.push((pattern.clone(), Arc::clone(target), stores));
        }
        let open = open.into_iter();
        Self(open.map(|(pattern, _, stores)| (pattern, stores)).collect())
    }

    /// The same stores, each in a wrapper of the caller's.
    #[must_use]
    pub fn wrapped(
        self,
        wrap: impl Fn(Arc<dyn VectorStore>) -> Arc<dyn VectorStore> + Send + Sync + 'static,
    ) -> Self {
        let wrap = Arc::new(wrap);
        let wrapped = self.0.iter().map(|(pattern, stores)| {
            let (stores, wrap) = (Arc::clone(stores), Arc::clone(&wrap));
            let stores: StoreOf = Box::new(move |model| wrap(stores(model)));
            (pattern.clone(), Arc::new(stores))
        });
        Self(wrapped.collect())
    }

    /// The store of a model's vectors: the first rule that matches. `None` when none does.
    pub fn for_model(&self, model: &ModelId) -> Option<Arc<dyn VectorStore>> {
        let rule = self
            .0
            .iter()
            .find(|(pattern, _)| pattern.matches(model.as_str()))?;
        Some(rule.1(model))
    }
}
