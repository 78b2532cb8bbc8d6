//! The task and its rules. Pure: no I/O, no clock, no AWS.
//!
//! [`TaskStatus`] and its transitions are in `status.rs`, the outcome of each object in
//! `outcome.rs`. `chunk.rs` has the work on a chunk of objects: what to delete and what to record.
//! The first failures of a task are in `failed_head.rs`, the rules for names in `id.rs`, lists of
//! object ids in `object_ids.rs`.
#![warn(clippy::wildcard_enum_match_arm)]

mod bitmap;
mod chunk;
mod failed_head;
mod fingerprint;
mod id;
mod message;
mod object_ids;
mod outcome;
mod status;

pub use bitmap::Bitmap;
pub use chunk::{Chunk, ChunkState, Claim, Counts, Settlement};
pub use failed_head::{FailedHead, MAX_HEAD_ITEMS};
pub use fingerprint::Fingerprint;
pub use id::{
    InvalidName, MAX_MODEL_ID_BYTES, MAX_OBJECT_ID_BYTES, MAX_REQUEST_REASON_BYTES,
    MAX_TASK_ID_BYTES, ModelId, RequestReason, TaskId, check_object_id,
};
pub use message::Message;
pub use object_ids::encoding::Undecodable;
pub use object_ids::{ChunkLimits, DistinctIds, MAX_CHUNK_BYTES, MAX_CHUNK_OBJECTS, ObjectIds};
pub use outcome::{NOT_FOUND, Outcome, OutcomeFilter, Outcomes, Reason};
pub use status::{Effect, Event, TaskStatus};

#[cfg(test)]
use chrono::TimeDelta;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::borrow::Cow;

/// A task without its objects: what a list row shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The caller's name for it, or one that the service made.
    pub id: TaskId,
    /// The embedding model, which names the vector index.
    pub model: ModelId,
    /// The state that the task is in.
    pub status: TaskStatus,
    /// The attempt: 1 at creation, one more with each restart.
    pub attempt: u32,
    /// When it was created, in whole seconds.
    pub created_at: DateTime<Utc>,
    /// When it last changed, in whole seconds.
    pub updated_at: DateTime<Utc>,
    /// From this moment on the task counts as absent.
    pub expires_at: DateTime<Utc>,
    /// The counters of its objects.
    pub progress: Progress,
    /// The first reason for giving up an object in this attempt, as one sentence for a person.
    ///
    /// It says why a `failed` task failed.
    pub detail: Option<String>,
}

impl Task {
    /// Returns whether the task counts as absent at `now`, even if its item is still stored.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at <= now
    }

    /// A new task of one object.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        let created_at = DateTime::from_timestamp_secs(1_716_292_800).unwrap();
        Self {
            id: TaskId::new("delete-xyz").unwrap(),
            model: ModelId::new("embed-456").unwrap(),
            status: TaskStatus::Pending,
            attempt: 1,
            created_at,
            updated_at: created_at,
            expires_at: created_at + TimeDelta::days(90),
            progress: Progress {
                total: 1,
                ..Progress::default()
            },
            detail: None,
        }
    }
}

/// Why a task exists, and who asked for it.
///
/// Callers are IAM ARNs, as API Gateway authenticated them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Attribution {
    /// Why the objects are to be deleted, in the words of the caller who created the task.
    pub reason: Option<RequestReason>,
    /// Who created the task. `None` if the caller had no identity, as on one machine.
    pub created_by: Option<String>,
    /// Who last restarted or canceled it. `None` if nobody did, or if that caller had no identity.
    pub changed_by: Option<String>,
}

/// The counters of a task's objects. `deleted + failed + remaining = total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// All objects of the task.
    pub total: u32,
    /// Objects that were deleted.
    pub deleted: u32,
    /// Objects that were tried and not deleted.
    pub failed: u32,
}

impl Progress {
    /// Returns the number of objects that have no outcome yet.
    pub fn remaining(&self) -> u32 {
        self.total
            .saturating_sub(self.deleted)
            .saturating_sub(self.failed)
    }
}

/// An object that was not deleted, and the reason, as responses show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedItem {
    /// The object.
    pub object_id: String,
    /// The reason, for a person. Most often it is [`NOT_FOUND`], which is borrowed, not copied.
    pub detail: Cow<'static, str>,
}

impl FailedItem {
    /// Creates a failure with its reason for a person.
    pub fn new(object_id: String, detail: &str) -> Self {
        let detail = match detail {
            NOT_FOUND => Cow::Borrowed(NOT_FOUND),
            other => Cow::Owned(other.to_owned()),
        };
        Self { object_id, detail }
    }
}
