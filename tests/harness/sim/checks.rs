//! The checks of what must hold. Numbers in brackets are the numbers of the invariants that a check
//! covers.
//!
//! `writes.rs` checks every committed write, `deletes.rs` every delete call, `responses.rs` every
//! response to a caller, and `end.rs` the final state. `objects.rs` knows the truth about each
//! object.

mod deletes;
mod end;
mod objects;
mod responses;
mod writes;

pub(crate) use objects::Objects;
pub(crate) use responses::{Shown, Told};

use super::images::{ChunkImage, TaskImage};
use super::world::ProcessId;
use shared::task::TaskStatus;
use shared::vector::AfterDelete;
use std::collections::{BTreeMap, BTreeSet};

/// The state that the checks know.
#[derive(Default)]
pub(crate) struct Checks {
    pub(crate) objects: Objects,
    pub(crate) told: BTreeMap<String, Told>,
    tasks: BTreeMap<String, TaskTruth>,
    /// The ids under the nonce of a create, by chunk.
    ids: BTreeMap<String, BTreeMap<u32, Vec<String>>>,
    /// The task that a nonce belongs to.
    nonces: BTreeMap<String, String>,
    /// Which chunk an object belongs to.
    homes: BTreeMap<String, (String, u32)>,
    /// A process's reads of a task.
    reads: BTreeMap<(ProcessId, String), Vec<TaskRead>>,
    /// Ids that the store refuses in some call.
    pub(crate) bad: BTreeSet<String>,
    /// How many objects were given up because the store kept them.
    pub(crate) given_up_as_kept: u64,
    /// Objects that were counted as deleted since [`Self::take_gone`] was last called.
    gone: Vec<String>,
    /// Counts reads and deletes.
    steps: u64,
}

/// A read of a task.
struct TaskRead {
    step: u64,
    /// The attempt, if the task was found processing.
    at_work_in: Option<u32>,
}

/// A task as it is now.
struct TaskTruth {
    image: TaskImage,
    chunks: Vec<ChunkTruth>,
}

/// A chunk as it is now.
#[derive(Default)]
struct ChunkTruth {
    ids: Vec<String>,
    image: ChunkImage,
    /// The process that made the newest claim.
    owner: ProcessId,
    /// Whether the task was no longer processing when the newest claim was made. Such a claim must
    /// make no delete call.
    is_late: bool,
    /// When its last delete call started, or ended with a response.
    last_delete: Option<u64>,
    /// The objects that the newest claim tried to delete.
    tried: BTreeMap<usize, Tried>,
    /// For each object that counts as gone, the event since which it may be reported as gone.
    decided: BTreeMap<usize, u64>,
}

/// The deletes of an object under one claim.
struct Tried {
    /// When the first of them started.
    since: u64,
    /// The outcomes that the worker got for the object, one for each delete.
    responses: Vec<AfterDelete>,
}

impl Tried {
    /// Whether the claim gives the object up: one delete and one further delete kept it.
    fn is_kept_twice(&self) -> bool {
        let is_kept = |after: &&AfterDelete| matches!(after, AfterDelete::Kept(_));
        self.responses.iter().filter(is_kept).count() > 1
    }

    fn went_in_part(&self) -> bool {
        self.responses.contains(&AfterDelete::More)
    }

    /// Whether the claim may delete the object once more.
    fn goes_on(&self) -> bool {
        match self.responses.last() {
            None | Some(AfterDelete::More) => true,
            Some(AfterDelete::Kept(_)) => !self.is_kept_twice(),
            Some(AfterDelete::Gone | AfterDelete::Unconfirmed) => false,
        }
    }
}

impl Checks {
    /// An item's name without the parts that differ from run to run.
    pub(crate) fn name_of(&self, key: &str) -> String {
        let mut parts = key.splitn(3, '#');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(kind @ ("I" | "S")), Some(nonce), Some(number)) => {
                let task = self.nonces.get(nonce).map_or("?", String::as_str);
                format!("{kind}#{task}#{number}")
            }
            _ => key.to_owned(),
        }
    }

    /// The tasks that have not ended, with the time when each is due.
    pub(crate) fn open_tasks(&self) -> Vec<(String, Option<i64>)> {
        let open = self.tasks.iter();
        open.filter(|(_, task)| !task.image.status.is_terminal())
            .map(|(id, task)| (id.clone(), task.image.due_at))
            .collect()
    }

    /// Returns the objects that were counted as deleted since this function was last called.
    pub(crate) fn take_gone(&mut self) -> Vec<String> {
        std::mem::take(&mut self.gone)
    }

    /// The task that an object belongs to.
    pub(crate) fn task_of(&self, key: &str) -> Option<String> {
        self.homes.get(key).map(|(task, _)| task.clone())
    }

    /// Every task's status.
    pub(crate) fn statuses(&self) -> Vec<(String, TaskStatus)> {
        let tasks = self.tasks.iter();
        tasks
            .map(|(id, task)| (id.clone(), task.image.status))
            .collect()
    }

    /// How many tasks have several chunks.
    pub(crate) fn large_tasks(&self) -> usize {
        let tasks = self.tasks.values();
        tasks.filter(|task| task.image.chunks.is_some()).count()
    }
}
