//! The vector store port: say which of these ids exist, delete these ids.
//!
//! `rules.rs` chooses the store for a model; each other file is an adapter, which owns its service's limits and sorts its
//! errors by meaning.

mod rules;
mod s3vectors;

pub use rules::VectorStoreRules;
pub use s3vectors::S3Vectors;

use crate::task::ModelId;
use futures_util::future::BoxFuture;
use rules::Target;
use std::error::Error;
use std::sync::Arc;

/// A place that holds a model's vectors.
pub trait VectorStore: Send + Sync {
    /// Which of `ids` are in the index, position by position.
    fn present<'a>(&'a self, ids: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<bool>, VectorError>>;

    /// Deletes `ids`, at most [`VectorStore::max_delete`] of them, in one call. Absent ones do no harm.
    ///
    /// After an error some may be deleted and some not. Where no answer came (see [`VectorErrorKind::Unanswered`]) the call
    /// may still be carried out, but no later than [`VECTOR_CALL_TIMEOUT`] after it was made: the adapter and its service
    /// end it by then.
    ///
    /// [`VECTOR_CALL_TIMEOUT`]: crate::aws::VECTOR_CALL_TIMEOUT
    fn delete<'a>(&'a self, ids: &'a [&'a str]) -> BoxFuture<'a, Result<(), VectorError>>;

    /// The most ids that one delete call takes.
    fn max_delete(&self) -> usize;
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
    /// One of the ids is one that the store will never take.
    InvalidId,
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

/// The stores a deployment is configured with.
#[derive(Clone, Debug)]
pub struct VectorStores {
    rules: VectorStoreRules,
    s3vectors: aws_sdk_s3vectors::Client,
}

impl VectorStores {
    /// The stores that `rules` name.
    pub fn new(rules: VectorStoreRules, s3vectors: aws_sdk_s3vectors::Client) -> Self {
        Self { rules, s3vectors }
    }

    /// The store of a model's vectors: the first rule that matches. `None` when none does.
    pub fn for_model(&self, model: &ModelId) -> Option<Arc<dyn VectorStore>> {
        match self.rules.find(model)? {
            Target::S3Vectors { bucket, index } => Some(Arc::new(S3Vectors::new(
                self.s3vectors.clone(),
                bucket.clone(),
                index.fill(model),
            ))),
        }
    }
}
