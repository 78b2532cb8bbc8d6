//! The task and its rules. Pure: no I/O, no clock, no AWS.
//!
//! [`TaskStatus`] and its transitions are in `status.rs`, what happened to each object in
//! `outcome.rs`, the work on a chunk of objects (what to delete, what to record) in `chunk.rs`, its
//! first failures in `failed_head.rs`, the rules for names in `id.rs`, many object ids in
//! `object_ids.rs`.
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

use chrono::{DateTime, Utc};
use serde::Serialize;
use std::borrow::Cow;

/// A task, without its objects: what a list row shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The caller's name for it, or one the service made.
    pub id: TaskId,
    /// The embedding model, which names the vector index.
    pub model: ModelId,
    /// Where the task is in its life.
    pub status: TaskStatus,
    /// Which try this is: 1 at creation, one more with each restart.
    pub attempt: u32,
    /// When it was created, in whole seconds.
    pub created_at: DateTime<Utc>,
    /// When it last changed, in whole seconds.
    pub updated_at: DateTime<Utc>,
    /// From this moment on the task counts as absent.
    pub expires_at: DateTime<Utc>,
    /// How many objects stand where.
    pub progress: Progress,
    /// The first reason of something given up in this attempt, in one sentence for a person: why a
    /// `failed` task failed.
    pub detail: Option<String>,
}

impl Task {
    /// Whether the task counts as absent at `now`, whether or not its item is still stored.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at <= now
    }
}

/// Why a task exists, and who asked for it. Callers are IAM ARNs, as API Gateway authenticated
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Attribution {
    /// Why the objects are to be deleted, in the words of the caller who created the task.
    pub reason: Option<RequestReason>,
    /// Who created the task. `None`: a caller without an identity, as on one machine.
    pub created_by: Option<String>,
    /// Who last restarted or canceled it. `None`: nobody, or a caller without an identity.
    pub changed_by: Option<String>,
}

/// How many objects of a task stand where. `deleted + failed + remaining = total`.
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
    /// Objects that have no outcome yet.
    pub fn remaining(&self) -> u32 {
        self.total
            .saturating_sub(self.deleted)
            .saturating_sub(self.failed)
    }
}

/// An object that was not deleted, and why, as responses show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedItem {
    /// The object.
    pub object_id: String,
    /// The reason, for a person. Mostly it is [`NOT_FOUND`], of which there need be no copies.
    pub detail: Cow<'static, str>,
}

impl FailedItem {
    /// A failure, with its reason for a person.
    pub fn new(object_id: String, detail: &str) -> Self {
        let detail = match detail {
            NOT_FOUND => Cow::Borrowed(NOT_FOUND),
            other => Cow::Owned(other.to_owned()),
        };
        Self { object_id, detail }
    }
}
