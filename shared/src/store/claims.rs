//! The worker's guarded writes to a chunk: claim it, defer it, or settle how the work on it ended.
//!
//! Each write has a part for the task and a part for the chunk. For a task of one chunk both are one item and one update; a
//! chunk of a larger task is an item of its own, and they are one transaction.

use super::attribute::{self as attr, Item, n, s, seconds};
use super::guarded::{
    Condition, GuardedUpdate, absent, at_most, equals, exists, more_than, same_attempt,
    status_moved_by, transact,
};
use super::item::{self, Objects, StoredTask};
use super::{
    CHUNK_RETENTION, DISPATCH_GRACE, LONGEST_THROTTLED, StoreError, TaskStore, Written, new_token,
    resend_delay,
};
use crate::task::{Chunk, Claim, Counts, Event, Outcome, Settlement, Task, TaskStatus};
use chrono::{DateTime, TimeDelta, Utc};

/// How often a settlement is worked out again because the task has moved. Each time needs another write in between: a cancel, a
/// restart, or the settlement of another chunk that was the last but this one.
const MAX_ROUNDS: u32 = 20;

/// A chunk of a task, as a worker reads it and works on it. [`TaskStore::load_chunk`] reads it.
#[derive(Clone, Debug)]
pub struct TaskChunk {
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

/// Why the rest of a chunk is deferred. It decides when it is due again, and whether the claim counts as a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferral {
    /// The vector store throttled: it does not count as a try.
    Throttled,
    /// There was no time to begin: it does not count as a try.
    NoTime,
    /// The vector store kept failing: it counts as a try.
    Failed,
    /// A part of an object went, though no object is counted: progress, as an outcome is.
    Progress,
}

/// What a settlement recorded.
#[derive(Debug)]
pub struct Settled {
    /// The chunk and its task as they were recorded, with the task's counters and status after it.
    pub chunk: TaskChunk,
    /// Objects that have an outcome now and had none before.
    pub newly: Counts,
    /// How the task ended, if this write ended it.
    pub ended: Option<TaskStatus>,
}

/// What a settlement assumes of the chunk.
enum Guard<'a> {
    /// The claim of this token is the newest, and not settled.
    Claimed(&'a str),
    /// Nothing has moved since the chunk was read; this claim is made and settled at once.
    Unmoved(&'a Claim),
}

impl TaskStore {
    /// Makes `claim` on the chunk `read`, if nothing has moved since it was read; a lease that was read is over. Returns the
    /// chunk under the claim.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn claim_if_unmoved(
        &self,
        read: TaskChunk,
        claim: Claim,
        now: DateTime<Utc>,
    ) -> Result<Written<TaskChunk>, StoreError> {
        let guard = same_attempt(&read.nonce, read.task.attempt)
            .and(status_moved_by(Event::Claim))
            .and(outlives_lease(&claim));
        let mut task = GuardedUpdate::when(guard);
        // The fan-out of a task of several chunks has made it `processing` already.
        if read.number.is_none() {
            let status = TaskStatus::Processing;
            let partition = self.list_partition(status, &read.task.id);
            task = task
                .set(attr::STATUS, s(status.as_str()))
                .set(attr::INDEX_HASH_KEY, s(partition))
                .set(attr::UPDATED_AT, seconds(now));
        }
        let put_offs = read.chunk.state.put_offs_in(claim.attempt);
        let chunk = take_fence(&read, &claim)
            .set(attr::LEASE_UNTIL, n(claim.lease_until.timestamp_millis()))
            .set_or_remove(attr::SEEN, item::seen_to_attribute(&claim.seen))
            .set(attr::TRIES, n(claim.tries))
            .set(attr::PUT_OFFS, n(put_offs))
            .set(attr::DUE_AT, n(claim.lease_until.timestamp() + 1));
        let written = self.write_parts(&read, Some(task), chunk).await?;
        Ok(match applied_if_claimed_as(written, &claim.token) {
            Written::Applied(()) => Written::Applied(read.under(claim)),
            Written::NotApplied(()) => Written::NotApplied(()),
        })
    }

    /// Defers `read`, of which the existence check failed, if nothing has moved since it was read. It becomes due again
    /// later, ever more slowly.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
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
        let chunk = take_fence(read, claim)
            .set(attr::TRIES, n(tries))
            .set(attr::PUT_OFFS, n(put_offs + 1))
            .set(attr::DUE_AT, seconds(now + why.delay(put_offs)))
            .remove(attr::LEASE_UNTIL);
        // `updated_at` stays: nothing that a caller sees has changed.
        let guard = same_attempt(&read.nonce, read.task.attempt).and(status_moved_by(Event::Claim));
        let is_inline = read.number.is_none();
        let task = is_inline.then(|| GuardedUpdate::when(guard));
        let written = self.write_parts(read, task, chunk).await?;
        Ok(applied_if_claimed_as(written, &claim.token))
    }

    /// Records the outcomes of a claim, even if the task was canceled or restarted meanwhile, unless a newer claim exists.
    ///
    /// `claimed` is the chunk as [`Self::claim_if_unmoved`] returned it. `rest`: why it has objects left, if it has.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn settle_if_newest(
        &self,
        claimed: TaskChunk,
        results: &[(usize, Outcome)],
        rest: Deferral,
        now: DateTime<Utc>,
    ) -> Result<Written<Settled>, StoreError> {
        let token = claimed.chunk.state.claim.clone().unwrap_or_default();
        self.settle(claimed, &Guard::Claimed(&token), results, rest, now)
            .await
    }

    /// Settles, without a delete, a chunk whose existence check cannot succeed, if nothing has moved since it was read. What
    /// earlier claims saw stays on record.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn fail_if_unmoved(
        &self,
        read: TaskChunk,
        claim: &Claim,
        results: &[(usize, Outcome)],
        now: DateTime<Utc>,
    ) -> Result<Written<Settled>, StoreError> {
        self.settle(read, &Guard::Unmoved(claim), results, Deferral::Failed, now)
            .await
    }

    async fn settle(
        &self,
        mut chunk: TaskChunk,
        guard: &Guard<'_>,
        results: &[(usize, Outcome)],
        rest: Deferral,
        now: DateTime<Utc>,
    ) -> Result<Written<Settled>, StoreError> {
        let claimed_attempt = chunk.task.attempt;
        for _ in 0..MAX_ROUNDS {
            let task = &chunk.task;
            let end = chunk.chunk.settle(
                results,
                task.status,
                claimed_attempt,
                task.attempt,
                chunk.baseline,
            );
            let status = guard.status_after(&chunk, &end);
            // Where nothing counts for the task, and it is another item, only the claim ends.
            let counts = chunk.number.is_none() || end.newly != Counts::default();
            let task_part = counts.then(|| self.task_part(&chunk, &end, status, now));
            let chunk_part = chunk_part(guard.take(&chunk), &chunk, &end, status, rest, now);
            let [task_found, chunk_found] =
                match self.write_parts(&chunk, task_part, chunk_part).await? {
                    Written::Applied(()) => return Ok(Written::Applied(chunk.after(&end, status))),
                    Written::NotApplied(found) => found,
                };
            let token = guard.token();
            if let Some(item) = &chunk_found
                && is_claimed_as(item, token)
                && !item.contains_key(attr::LEASE_UNTIL)
            {
                // The SDK sent this write again after its response was lost; the first one was applied.
                return Ok(Written::Applied(chunk.after(&end, status)));
            }
            let has_chunk = match (&chunk_found, guard) {
                // An item of its own is found only where its own condition did not hold.
                (found, _) if chunk.number.is_some() => found.is_none(),
                (Some(item), Guard::Claimed(_)) => is_claimed_as(item, token),
                (Some(_), Guard::Unmoved(_)) | (None, _) => false,
            };
            let Some(found) = task_found.filter(|_| has_chunk) else {
                return Ok(Written::NotApplied(()));
            };
            // Other chunks moved the counters, or the task was canceled or restarted: settle again, for the task as it is.
            let found = StoredTask::from_item(found)?;
            if found.nonce != chunk.nonce || !guard.still_counts(&found.task, claimed_attempt) {
                return Ok(Written::NotApplied(()));
            }
            chunk.task = found.task;
            chunk.baseline = found.baseline;
        }
        Err(StoreError::Unavailable {
            code: "the task keeps changing".to_owned(),
            source: format!("a settlement was worked out {MAX_ROUNDS} times").into(),
        })
    }

    /// The task's part of a settlement: its counters and, where no object of the task remains, its status.
    fn task_part(
        &self,
        chunk: &TaskChunk,
        end: &Settlement,
        status: TaskStatus,
        now: DateTime<Utc>,
    ) -> GuardedUpdate {
        let task = &chunk.task;
        let newly = end.newly;
        let guard = same_attempt(&chunk.nonce, task.attempt).and(status_as_read(task));
        let mut part = GuardedUpdate::when(guard)
            .set(attr::UPDATED_AT, seconds(now))
            .set_sum(attr::DELETED, attr::DELETED, n(newly.deleted))
            .set_sum(attr::FAILED, attr::FAILED, n(newly.failed))
            .subtract(attr::REMAINING, n(newly.sum()));
        if status != task.status {
            let partition = self.list_partition(status, &task.id);
            part = part
                .set(attr::STATUS, s(status.as_str()))
                .set(attr::INDEX_HASH_KEY, s(partition))
                .remove(attr::DUE_AT);
        }
        part = match status {
            // This was the last chunk. Within an attempt `remaining` only shrinks, and it includes this chunk's objects. If it
            // equals them, every other chunk is settled, so no condition on it is needed.
            TaskStatus::Done | TaskStatus::Failed => part,
            TaskStatus::Processing if chunk.number.is_some() => part
                .and_when(more_remain_than(newly))
                // The other chunks are on the queue; the sweeper looks at the task again if no progress follows.
                .set(attr::SENDS, n(0))
                .set(attr::DUE_AT, seconds(now + DISPATCH_GRACE)),
            TaskStatus::Processing if newly.sum() > 0 => part.set(attr::SENDS, n(0)),
            TaskStatus::Processing | TaskStatus::Pending | TaskStatus::Canceled => part,
        };
        let head = item::head_to_attribute(&end.failed_head);
        let detail = end.gave_up.as_ref().map(s);
        if chunk.number.is_none() {
            part.set_or_remove(attr::FAILED_HEAD, head)
                .set_or_remove(attr::DETAIL, detail)
        } else {
            part.set_if_absent(attr::FAILED_HEAD, head)
                .set_if_absent(attr::DETAIL, detail)
        }
    }

    /// Whether the task is still at work under the claim of `claimed`, by a strongly consistent read.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn is_still_claimed(&self, claimed: &TaskChunk) -> Result<bool, StoreError> {
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

    /// Writes the task's part, if there is one, and the chunk's part together. If a condition fails, returns the item of each
    /// part whose condition failed: the task's, then the chunk's. For a task of one chunk both are the same item.
    async fn write_parts(
        &self,
        chunk: &TaskChunk,
        task_part: Option<GuardedUpdate>,
        chunk_part: GuardedUpdate,
    ) -> Result<Written<(), [Option<Item>; 2]>, StoreError> {
        let (client, table) = (&self.client, self.table.as_str());
        let task_key = item::key_of(&chunk.task.id);
        let Some(number) = chunk.number else {
            let update = match task_part {
                Some(part) => part.and(chunk_part),
                None => chunk_part,
            };
            return Ok(match update.send(client, table, task_key).await? {
                Written::Applied(()) => Written::Applied(()),
                Written::NotApplied(found) => Written::NotApplied([found.clone(), found]),
            });
        };
        let chunk_key = item::state_key(&chunk.nonce, number);
        match task_part {
            Some(part) => {
                transact(client, table, [(task_key, part), (chunk_key, chunk_part)]).await
            }
            None => Ok(match chunk_part.send(client, table, chunk_key).await? {
                Written::Applied(()) => Written::Applied(()),
                Written::NotApplied(found) => Written::NotApplied([None, found]),
            }),
        }
    }
}

impl Guard<'_> {
    fn token(&self) -> &str {
        match self {
            Self::Claimed(token) => token,
            Self::Unmoved(claim) => &claim.token,
        }
    }

    /// Begins the chunk's part of a settlement: its condition and, without an earlier claim, the fence that it takes.
    fn take(&self, chunk: &TaskChunk) -> GuardedUpdate {
        match self {
            Self::Claimed(token) => {
                GuardedUpdate::when(claim_is_newest(token).and(claim_is_not_settled()))
            }
            Self::Unmoved(claim) => take_fence(chunk, claim),
        }
    }

    /// The task's status once `end` counts.
    fn status_after(&self, chunk: &TaskChunk, end: &Settlement) -> TaskStatus {
        let task = &chunk.task;
        let is_at_work = match (task.status, self) {
            (TaskStatus::Processing, _) | (TaskStatus::Pending, Self::Unmoved(_)) => true,
            // It was canceled, or restarted and is pending: the results are recorded, the status stays.
            (
                TaskStatus::Pending | TaskStatus::Done | TaskStatus::Failed | TaskStatus::Canceled,
                _,
            ) => false,
        };
        let is_last = task.progress.remaining() == end.newly.sum();
        if !(is_at_work && is_last) {
            task.status
        } else if end.gave_up.is_some() || task.detail.is_some() {
            TaskStatus::Failed
        } else {
            TaskStatus::Done
        }
    }

    /// Without a claim, nothing is recorded for a task that is no longer at work on the same attempt.
    fn still_counts(&self, task: &Task, claimed_attempt: u32) -> bool {
        match self {
            Self::Claimed(_) => true,
            Self::Unmoved(_) => task.attempt == claimed_attempt && !task.status.is_terminal(),
        }
    }
}

impl TaskChunk {
    /// A claim on the chunk, after an existence check that found the objects at `present`.
    pub fn claim(
        &self,
        present: impl IntoIterator<Item = usize>,
        lease_until: DateTime<Utc>,
    ) -> Claim {
        self.chunk
            .claim(new_token(), self.task.attempt, present, lease_until)
    }

    /// The chunk as it is once `claim` is made on it.
    fn under(mut self, claim: Claim) -> Self {
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

    fn after(mut self, end: &Settlement, status: TaskStatus) -> Settled {
        let ended = (status != self.task.status).then_some(status);
        self.task.status = status;
        self.task.progress.deleted += end.newly.deleted;
        self.task.progress.failed += end.newly.failed;
        Settled {
            chunk: self,
            newly: end.newly,
            ended,
        }
    }
}

impl Deferral {
    /// How long a chunk waits that has been deferred `times` times since it last made progress.
    fn delay(self, times: u32) -> TimeDelta {
        match self {
            Self::Throttled | Self::NoTime => resend_delay(times).min(LONGEST_THROTTLED),
            Self::Failed => resend_delay(times),
            Self::Progress => TimeDelta::zero(),
        }
    }
}

/// The chunk's part of a write that takes the fence.
fn take_fence(read: &TaskChunk, claim: &Claim) -> GuardedUpdate {
    let state = &read.chunk.state;
    let guard = no_later_attempt(claim)
        .and(fence_as_read(state.fence))
        .and(lease_as_read(state.lease_until));
    let part = GuardedUpdate::when(guard)
        .set(attr::FENCE, n(claim.fence))
        .set(attr::CLAIM, s(&claim.token))
        .set(attr::CLAIM_ATTEMPT, n(claim.attempt));
    if read.number.is_none() {
        return part;
    }
    let expires_at = read.task.expires_at + CHUNK_RETENTION;
    part.set(attr::SIZE, n(state.size))
        .set(attr::EXPIRES_AT, seconds(expires_at))
}

/// The chunk's part of a settlement: its outcomes, the claim's end, and when what remains is due again.
fn chunk_part(
    part: GuardedUpdate,
    chunk: &TaskChunk,
    end: &Settlement,
    status: TaskStatus,
    rest: Deferral,
    now: DateTime<Utc>,
) -> GuardedUpdate {
    let state = &chunk.chunk.state;
    let mut part = part
        .set_or_remove(attr::SEEN, item::seen_to_attribute(&end.seen))
        .remove(attr::LEASE_UNTIL);
    for (name, value) in item::outcomes_to_attributes(&end.outcomes) {
        part = part.set_or_remove(name, value);
    }
    let is_own_item = chunk.number.is_some();
    if end.is_complete && is_own_item {
        return part.remove(attr::DUE_AT);
    }
    if end.is_complete || (!is_own_item && status != TaskStatus::Processing) {
        return part; // the task's part says when the task is due, if it is
    }
    // Objects remain. They are due again at once where there was progress, and ever later where there was none.
    let has_progress = end.newly.sum() > 0 || rest == Deferral::Progress;
    let (tries, put_offs, due_at) = if has_progress {
        (0, 0, now)
    } else {
        let tries = match rest {
            Deferral::Throttled | Deferral::NoTime | Deferral::Progress => {
                state.tries.saturating_sub(1)
            }
            Deferral::Failed => state.tries,
        };
        (tries, state.put_offs + 1, now + rest.delay(state.put_offs))
    };
    part.set(attr::TRIES, n(tries))
        .set(attr::PUT_OFFS, n(put_offs))
        .set(attr::DUE_AT, seconds(due_at))
}

/// No lease outlives its task, since another of the same id may be created right after.
fn outlives_lease(claim: &Claim) -> Condition {
    more_than(attr::EXPIRES_AT, n(claim.lease_until.timestamp() + 1))
}

fn status_as_read(task: &Task) -> Condition {
    equals(attr::STATUS, s(task.status.as_str()))
}

/// This settlement is not the last: more objects remain than it settles.
fn more_remain_than(newly: Counts) -> Condition {
    more_than(attr::REMAINING, n(newly.sum()))
}

/// A worker of an earlier attempt leaves a later one alone, also where the write has no part for the task.
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

/// The lease, over when it was read, was not released since. It cannot have been renewed either: a new lease takes a new fence.
fn lease_as_read(lease_until: Option<DateTime<Utc>>) -> Condition {
    lease_until.map_or_else(Condition::default, |over| {
        equals(attr::LEASE_UNTIL, n(over.timestamp_millis()))
    })
}

fn claim_is_newest(token: &str) -> Condition {
    equals(attr::CLAIM, s(token))
}

fn claim_is_not_settled() -> Condition {
    exists(attr::LEASE_UNTIL)
}

/// If the chunk already has this claim, the write was applied: its response was lost, and the SDK sent it again.
fn applied_if_claimed_as(written: Written<(), [Option<Item>; 2]>, token: &str) -> Written<()> {
    match written {
        Written::Applied(()) => Written::Applied(()),
        Written::NotApplied([_, Some(chunk)]) if is_claimed_as(&chunk, token) => {
            Written::Applied(())
        }
        Written::NotApplied(_) => Written::NotApplied(()),
    }
}

/// Whether the newest claim on a chunk's item is the one of this token.
fn is_claimed_as(item: &Item, token: &str) -> bool {
    item.get(attr::CLAIM) == Some(&s(token))
}
