//! A worker takes up a chunk: it claims it or, if its existence check failed, defers it.
//!
//! Each is one update of the chunk. A task of one chunk is a single item, so the update also
//! requires that the task has not ended. A chunk of a larger task is an item of its own. A claim on
//! it does not touch the task's item, since the other chunks write to that all the time. So the
//! task may have been canceled or restarted before the claim. The worker therefore reads the task
//! after the claim and before the first delete ([`TaskStore::task_at_work`]).

use super::attribute::{self as attr, Item, n, s, seconds};
use super::guarded::{
    Condition, GuardedUpdate, absent, at_most, equals, same_attempt, status_moved_by,
};
use super::item;
use super::together::Announced;
use super::{
    CHUNK_RETENTION, LONGEST_THROTTLED, StoreError, TaskStore, Written, new_token, resend_delay,
};
use crate::task::{Chunk, Claim, Event, Task, TaskStatus};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};

/// A chunk of a task, as a worker reads it ([`TaskStore::load_chunk`]) and works on it.
#[derive(Debug)]
pub struct TaskChunk {
    /// The task.
    pub task: Task,
    /// Outcomes recorded in attempts before this one no longer count.
    pub baseline: u32,
    /// The chunk's number. `None` if it is the task's only chunk, which is in the task's own item.
    pub number: Option<u32>,
    /// The objects, and the state of the work on them.
    pub chunk: Chunk,
    pub(super) nonce: String,
    /// The announced settlement of a chunk that is an item of its own.
    pub(super) announced: Option<Announced>,
}

/// The reason why the rest of a chunk is deferred.
///
/// It decides when the rest is due again, and whether the claim counts as a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferral {
    /// The vector store throttled. The claim does not count as a try.
    Throttled,
    /// There was no time to begin. The claim does not count as a try.
    NoTime,
    /// The vector store kept failing. The claim counts as a try.
    Failed,
    /// A part of an object was deleted, though no object counts yet.
    ///
    /// It is progress, like an outcome.
    Progress,
}

impl TaskStore {
    /// Makes `claim` on the chunk `read`, if nothing has changed since it was read. Until
    /// `lease_until` nobody else may claim.
    ///
    /// A lease in `read` must be over. Returns the chunk under the claim. If the task has several
    /// chunks, the chunk is known to be unchanged, but the task is not.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn claim_if_unmoved(
        &self,
        read: TaskChunk,
        claim: Claim,
        lease_until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Written<TaskChunk>, StoreError> {
        // No lease outlives its task, since another task with the same id may be created right
        // after.
        if lease_until.timestamp() + 1 >= read.task.expires_at.timestamp() {
            return Ok(Written::NotApplied(()));
        }
        let put_offs = read.chunk.state.put_offs_in(claim.attempt);
        let mut update = take_fence(&read, &claim)
            .set(attr::LEASE_UNTIL, n(lease_until.timestamp_millis()))
            .set_or_remove(attr::SEEN, item::seen_to_attribute(&claim.seen))
            .set(attr::TRIES, n(claim.tries))
            .set(attr::PUT_OFFS, n(put_offs))
            .set(attr::DUE_AT, n(lease_until.timestamp() + 1));
        if read.number.is_none() {
            let (task, status) = (&read.task, TaskStatus::Processing);
            update = self
                .in_status(update, &task.id, Some(task.status), status)
                .set(attr::UPDATED_AT, seconds(now));
        }
        Ok(match self.take(&read, &claim, update).await? {
            Written::Applied(()) => Written::Applied(read.under(claim, lease_until)),
            Written::NotApplied(()) => Written::NotApplied(()),
        })
    }

    /// Defers the chunk `read`, whose existence check failed, if nothing has changed since it was
    /// read.
    ///
    /// It becomes due again later. The delay grows with each deferral, up to a limit.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn defer_if_unmoved(
        &self,
        read: &TaskChunk,
        claim: &Claim,
        why: Deferral,
        now: DateTime<Utc>,
    ) -> Result<Written<()>, StoreError> {
        let state = &read.chunk.state;
        let tries = if why == Deferral::Failed {
            claim.tries
        } else {
            state.tries_in(claim.attempt)
        };
        let put_offs = state.put_offs_in(claim.attempt);
        // `updated_at` is not changed: nothing that a caller sees has changed.
        let update = take_fence(read, claim)
            .set(attr::TRIES, n(tries))
            .set(attr::PUT_OFFS, n(put_offs + 1))
            .set(attr::DUE_AT, seconds(now + why.delay(put_offs)))
            .remove(attr::LEASE_UNTIL);
        let update = if read.number.is_none() {
            let task = &read.task;
            self.in_status(update, &task.id, Some(task.status), task.status)
        } else {
            update
        };
        self.take(read, claim, update).await
    }

    /// Sends an update that takes the fence of `read` for `claim`.
    ///
    /// If the chunk already has this claim, the update was applied: its response was lost, and the
    /// SDK sent it again.
    async fn take(
        &self,
        read: &TaskChunk,
        claim: &Claim,
        update: GuardedUpdate,
    ) -> Result<Written<()>, StoreError> {
        let update = if read.number.is_none() {
            update.and_when(is_at_work(read))
        } else {
            update
        };
        let written = update.send(&self.client, &self.table, read.key()).await?;
        Ok(match written {
            Written::NotApplied(Some(found)) if is_claimed_as(&found, &claim.token) => {
                Written::Applied(())
            }
            Written::Applied(()) => Written::Applied(()),
            Written::NotApplied(_) => Written::NotApplied(()),
        })
    }

    /// Reads the task of a claim again, strongly consistent.
    ///
    /// Returns it if it is still processing in the same attempt.
    ///
    /// While the lease lasts nobody else can have claimed the chunk, and the task cannot have
    /// expired and been created again.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn task_at_work(&self, claimed: &TaskChunk) -> Result<Option<Task>, StoreError> {
        let task = self.load(&claimed.task.id).await?;
        let task = task.filter(|read| {
            read.task.attempt == claimed.task.attempt && read.task.status == TaskStatus::Processing
        });
        Ok(task.map(|read| read.task))
    }
}

impl TaskChunk {
    /// Creates a claim on the chunk after an existence check that found the objects at `present`.
    pub fn claim(&self, present: impl IntoIterator<Item = usize>) -> Claim {
        self.chunk.claim(new_token(), self.task.attempt, present)
    }

    /// Returns the chunk as it is after `claim` was made on it.
    fn under(mut self, claim: Claim, lease_until: DateTime<Utc>) -> Self {
        self.task.status = TaskStatus::Processing;
        let state = &mut self.chunk.state;
        state.put_offs = state.put_offs_in(claim.attempt);
        state.fence = claim.fence;
        state.claim = Some(claim.token);
        state.attempt = claim.attempt;
        state.lease_until = Some(lease_until);
        state.tries = claim.tries;
        state.seen = claim.seen;
        self
    }

    /// Returns the positions of the objects that have no outcome yet.
    pub fn open(&self) -> Vec<usize> {
        self.chunk.open(self.task.attempt, self.baseline)
    }

    /// Returns the key of the item that holds the chunk's state.
    pub(super) fn key(&self) -> AttributeValue {
        match self.number {
            Some(number) => item::state_key(&self.nonce, number),
            None => item::key_of(&self.task.id),
        }
    }
}

impl Deferral {
    /// Returns how long a chunk waits after `times` deferrals since its last progress.
    pub(super) fn delay(self, times: u32) -> TimeDelta {
        match self {
            Self::Throttled | Self::NoTime => resend_delay(times).min(LONGEST_THROTTLED),
            Self::Failed => resend_delay(times),
            Self::Progress => TimeDelta::zero(),
        }
    }
}

/// Returns an update that takes the fence of a chunk, if the chunk is as it was read.
pub(super) fn take_fence(read: &TaskChunk, claim: &Claim) -> GuardedUpdate {
    let state = &read.chunk.state;
    let guard = no_later_attempt(claim)
        .and(fence_as_read(state.fence))
        .and(lease_as_read(state.lease_until));
    let update = GuardedUpdate::when(guard)
        .set(attr::FENCE, n(claim.fence))
        .set(attr::CLAIM, s(&claim.token))
        .set(attr::CLAIM_ATTEMPT, n(claim.attempt));
    if read.number.is_none() {
        return update;
    }
    let expires_at = read.task.expires_at + CHUNK_RETENTION;
    update
        .set(attr::SIZE, n(state.size))
        .set(attr::EXPIRES_AT, seconds(expires_at))
}

/// The task is the one that was read, is in the same attempt, and has not ended.
fn is_at_work(read: &TaskChunk) -> Condition {
    same_attempt(&read.nonce, read.task.attempt).and(status_moved_by(Event::Claim))
}

/// A worker of an earlier attempt must not change a chunk that a later attempt has claimed, even if
/// the write does not concern the task.
fn no_later_attempt(claim: &Claim) -> Condition {
    absent(attr::CLAIM_ATTEMPT).or(at_most(attr::CLAIM_ATTEMPT, n(claim.attempt)))
}

/// The newest claim is the one that was read.
fn fence_as_read(fence: u64) -> Condition {
    if fence == 0 {
        absent(attr::FENCE)
    } else {
        equals(attr::FENCE, n(fence))
    }
}

/// The lease, which was over when it was read, has not been released since.
///
/// It cannot have been renewed either: a new lease takes a new fence.
fn lease_as_read(lease_until: Option<DateTime<Utc>>) -> Condition {
    lease_until.map_or_else(Condition::default, |over| {
        equals(attr::LEASE_UNTIL, n(over.timestamp_millis()))
    })
}

/// Returns whether the newest claim on a chunk's item has this token.
pub(super) fn is_claimed_as(item: &Item, token: &str) -> bool {
    item.get(attr::CLAIM) == Some(&s(token))
}
