//! The worker's guarded writes before its first delete: the claim, and putting off what could not even be looked at.
//! `settle.rs` has those that record how the work ended.
//!
//! Each consists of a part for the task and a part for the chunk. Where the task is one item they are one update;
//! where the chunk is an item of its own they are one transaction.

use super::expression::{Condition, GuardedUpdate, Transacted, Written, n, s, transact};
use super::item::{self, Item, Objects, StoredTask};
use super::{INDEX_HASH_KEY, StoreError, TaskStore, resend_delay};
use crate::task::{Chunk, Claim, Event, Task, TaskStatus};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};

/// How much longer than its task a chunk is kept: it must not be gone while anybody may still read it.
pub(super) const CHUNK_RETENTION: TimeDelta = TimeDelta::days(7);
/// Put-offs after which one that throttling caused does not become longer: eight minutes.
const MAX_THROTTLED_PUT_OFFS: u32 = 3;

/// A chunk of a task, as a worker reads it and works on it.
#[derive(Clone, Debug)]
pub struct Work {
    /// The task.
    pub task: Task,
    /// Outcomes recorded in attempts before this one no longer count.
    pub baseline: u32,
    /// The chunk's number; `None` where it is the only one, in the task's own item.
    pub number: Option<u32>,
    /// The objects and how far the work on them has come.
    pub chunk: Chunk,
    pub(super) nonce: String,
}

/// Why a write of the worker was not made.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The work has moved since it was read: another worker, a restart or a cancel was first. Nothing was changed.
    #[error("the work has moved")]
    Lost,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why work goes back undone, which decides whether the try counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferral {
    /// The store throttled: the try does not count.
    Throttled,
    /// There was no time to begin: the try does not count.
    NoTime,
    /// The store kept failing: the try counts.
    Failed,
    /// A part of an object went, though no object is counted: as good as an outcome.
    Progress,
}

impl Deferral {
    /// How long work waits that has been put off `times` times since it last moved.
    pub(super) fn delay(self, times: u32) -> TimeDelta {
        match self {
            Self::Throttled | Self::NoTime => resend_delay(times.min(MAX_THROTTLED_PUT_OFFS)),
            Self::Failed => resend_delay(times),
            Self::Progress => TimeDelta::zero(),
        }
    }
}

/// What the two parts of a write came to.
pub(super) enum Moved {
    /// They were written.
    No,
    /// A condition did not hold. The items of the parts whose condition failed.
    Yes {
        task: Option<Item>,
        chunk: Option<Item>,
    },
}

impl TaskStore {
    /// Takes `read`, if nothing has moved since it was read and no other claim is in force.
    ///
    /// # Errors
    /// [`WorkError::Lost`] when somebody was first.
    pub async fn claim_if_unmoved(
        &self,
        read: &Work,
        claim: &Claim,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        let task = read.task_unmoved().when_moved_by(Event::Claim);
        // No lease outlives its task: another of the same id may come right after.
        let task = task
            .when("#expires_at > :lease_end")
            .value("lease_end", n(claim.lease_until.timestamp() + 1));
        let task = match read.number {
            // The fan-out has made it `processing` already.
            Some(_) => task,
            None => {
                let status = TaskStatus::Processing;
                task.set("status", s(status.as_str()))
                    .set(INDEX_HASH_KEY, s(self.list_key(status, &read.task.id)))
                    .set("updated_at", n(now.timestamp()))
            }
        };
        let chunk = read
            .chunk_unmoved(claim)
            .set("lease_until", n(claim.lease_until.timestamp_millis()))
            .set_or_remove("seen", item::seen_to_attribute(&claim.seen))
            .set("tries", n(claim.tries))
            .set("put_offs", n(read.chunk.state.put_offs_in(claim.attempt)))
            .set("due_at", n(claim.lease_until.timestamp() + 1));
        let moved = self.write(read, Some(task), chunk).await?;
        unless_moved(moved, &claim.token)
    }

    /// Puts work off that could not even be looked at: it becomes due again later, ever more slowly.
    ///
    /// # Errors
    /// [`WorkError::Lost`] when somebody was first.
    pub async fn defer_if_unmoved(
        &self,
        read: &Work,
        claim: &Claim,
        why: Deferral,
        now: DateTime<Utc>,
    ) -> Result<(), WorkError> {
        let state = &read.chunk.state;
        let tries = match why {
            Deferral::Throttled | Deferral::NoTime | Deferral::Progress => {
                state.tries_in(claim.attempt)
            }
            Deferral::Failed => claim.tries,
        };
        let put_offs = state.put_offs_in(claim.attempt);
        let chunk = read
            .chunk_unmoved(claim)
            .set("tries", n(tries))
            .set("put_offs", n(put_offs + 1))
            .set("due_at", n((now + why.delay(put_offs)).timestamp()))
            .remove("lease_until");
        let task = match read.number {
            Some(_) => None,
            // `updated_at` stays: nothing that a caller sees has changed, and the task has been waiting since.
            None => Some(read.task_unmoved().when_moved_by(Event::Claim)),
        };
        let moved = self.write(read, task, chunk).await?;
        unless_moved(moved, &claim.token)
    }

    /// Whether the task is still at work under the claim that `claimed` holds, read strongly consistent.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn is_still_claimed(&self, claimed: &Work) -> Result<bool, StoreError> {
        let Some(task) = self.load(&claimed.task.id).await? else {
            return Ok(false);
        };
        let state = match (&task.objects, claimed.number) {
            (Objects::Inline(chunk), None) => Some(chunk.state.clone()),
            (Objects::Chunks(_), Some(number)) if task.nonce == claimed.nonce => {
                self.chunk_state(&task, number).await?
            }
            (Objects::Inline(_) | Objects::Chunks(_), _) => None,
        };
        Ok(task.task.status == TaskStatus::Processing
            && task.task.attempt == claimed.task.attempt
            && state.is_some_and(|state| {
                state.claim == claimed.chunk.state.claim && state.lease_until.is_some()
            }))
    }

    /// Writes the part of the task, if there is one, and the part of the chunk together.
    pub(super) async fn write(
        &self,
        work: &Work,
        task: Option<GuardedUpdate>,
        chunk: GuardedUpdate,
    ) -> Result<Moved, StoreError> {
        let (client, table) = (&self.client, self.table.as_str());
        let task_key = item::key_of(&work.task.id);
        let chunk_key = work
            .number
            .map(|number| item::state_key(&work.nonce, number));
        match (task, chunk_key) {
            (Some(task), Some(key)) => {
                let parts = vec![(task_key, task), (key, chunk)];
                match transact(client, table, parts).await? {
                    Transacted::Applied => Ok(Moved::No),
                    Transacted::Refused(conditions) => Ok(moved(conditions)),
                }
            }
            (task, key) => {
                let update = match task {
                    Some(task) => task.and(chunk),
                    None => chunk,
                };
                let key = key.unwrap_or(task_key);
                match update.send(client, table, key, false).await? {
                    Written::Applied(_) => Ok(Moved::No),
                    Written::Refused(found) => Ok(Moved::Yes {
                        task: found.clone().filter(|_| work.number.is_none()),
                        chunk: found,
                    }),
                }
            }
        }
    }
}

fn moved(conditions: Vec<Condition>) -> Moved {
    let mut found = conditions.into_iter().map(|condition| match condition {
        Condition::Held => None,
        Condition::Failed(item) => item,
    });
    let task = found.next().flatten();
    let chunk = found.next().flatten();
    Moved::Yes { task, chunk }
}

/// A write that the SDK sent again after its answer was lost succeeded the first time: its token is there.
fn unless_moved(moved: Moved, token: &str) -> Result<(), WorkError> {
    match moved {
        Moved::No => Ok(()),
        Moved::Yes {
            chunk: Some(chunk), ..
        } if chunk.get("claim") == Some(&s(token)) => Ok(()),
        Moved::Yes { .. } => Err(WorkError::Lost),
    }
}

impl Work {
    /// The work as it is once `claim` is made on it.
    #[must_use]
    pub fn under(mut self, claim: Claim) -> Self {
        self.task.status = TaskStatus::Processing;
        let state = &mut self.chunk.state;
        state.put_offs = state.put_offs_in(claim.attempt);
        state.fence = claim.fence;
        state.claim = Some(claim.token);
        state.attempt = claim.attempt;
        state.lease_until = Some(claim.lease_until);
        state.tries = claim.tries;
        state.seen = claim.seen;
        self
    }

    /// The positions of the objects that are to be tried.
    pub fn open(&self) -> Vec<usize> {
        self.chunk.open(self.task.attempt, self.baseline)
    }

    /// Takes over what a refused write found in the task's item.
    pub(super) fn follow(&mut self, found: Item) -> Result<(), StoreError> {
        let found = StoredTask::from_item(found)?;
        self.task = found.task;
        self.baseline = found.baseline;
        Ok(())
    }

    /// A part that assumes that the task is the same, in the same attempt.
    pub(super) fn task_unmoved(&self) -> GuardedUpdate {
        GuardedUpdate::default()
            .when("#nonce = :read_nonce AND #attempt = :read_attempt")
            .value("read_nonce", s(&self.nonce))
            .value("read_attempt", n(self.task.attempt))
    }

    /// A part that takes the fence, and assumes that the last claim is the one that was read, and that its lease (which
    /// was over when it was read) has neither been released nor renewed.
    pub(super) fn chunk_unmoved(&self, claim: &Claim) -> GuardedUpdate {
        let state = &self.chunk.state;
        let part = GuardedUpdate::default()
            .set("fence", n(claim.fence))
            .set("claim", s(&claim.token))
            .set("claim_attempt", n(claim.attempt));
        let part = match self.number {
            None => part,
            Some(_) => {
                let expires_at = self.task.expires_at + CHUNK_RETENTION;
                part.set("size", n(state.size))
                    .set("expires_at", n(expires_at.timestamp()))
            }
        };
        // A worker of an earlier attempt leaves a later one alone, also where the task itself is not asked.
        let part =
            part.when("attribute_not_exists(#claim_attempt) OR #claim_attempt <= :claim_attempt");
        let part = match state.fence {
            0 => part.when("attribute_not_exists(#fence)"),
            read => part
                .when("#fence = :read_fence")
                .value("read_fence", n(read)),
        };
        match state.lease_until {
            // Nobody can take a lease without taking the fence.
            None => part,
            Some(over) => part
                .when("#lease_until = :read_lease")
                .value("read_lease", n(over.timestamp_millis())),
        }
    }
}

/// Whether an item carries a claim of this token.
pub(super) fn is_claimed_as(item: &Item, token: &AttributeValue) -> bool {
    item.get("claim") == Some(token)
}
