//! Recording how work on a chunk ended: the chunk's outcomes and the task's counters together.

use super::expression::{GuardedUpdate, n, s};
use super::item;
use super::work::{Deferral, Moved, Work, WorkError, is_claimed_as};
use super::{DISPATCH_GRACE, INDEX_HASH_KEY, StoreError, TaskStore};
use crate::task::{Claim, Counts, Outcome, Settlement, TaskStatus};
use chrono::{DateTime, Utc};

/// How often a record is worked out again for what is there by now. Each time needs another write in between: a cancel, a
/// restart, or the last chunk but this one.
const MAX_ROUNDS: u32 = 20;

/// How work that was recorded ended.
#[derive(Debug)]
pub struct Settled {
    /// The task as it was recorded under, with its counters and its status after it.
    pub work: Work,
    /// Objects that have an outcome now and had none before.
    pub newly: Counts,
    /// Whether no object of the chunk remains.
    pub is_complete: bool,
    /// How the task ended, if this write ended it.
    pub ended: Option<TaskStatus>,
}

/// What must hold of the chunk.
enum Guard<'a> {
    /// The claim is the newest, and not settled.
    Claimed,
    /// Nothing has moved since it was read.
    Unmoved(&'a Claim),
}

impl TaskStore {
    /// Records the end of a claim, whatever became of the task meanwhile, unless a newer claim has taken over.
    ///
    /// `claimed` is the work as it is under the claim: as it was read, with the claim's fence and record in place.
    ///
    /// # Errors
    /// [`WorkError::Lost`] when a newer claim has taken over: nothing was changed.
    pub async fn settle_if_newest(
        &self,
        claimed: Work,
        results: &[(usize, Outcome)],
        why: Deferral,
        now: DateTime<Utc>,
    ) -> Result<Settled, WorkError> {
        let token = claimed.chunk.state.claim.clone().unwrap_or_default();
        self.record(claimed, &token, &Guard::Claimed, results, why, now)
            .await
    }

    /// Ends a chunk whose objects cannot even be looked for, with these results, if nothing has moved since it was read.
    /// What earlier claims saw stays on record.
    ///
    /// # Errors
    /// [`WorkError::Lost`] when somebody was first: nothing was changed.
    pub async fn fail_if_unmoved(
        &self,
        read: Work,
        claim: &Claim,
        results: &[(usize, Outcome)],
        now: DateTime<Utc>,
    ) -> Result<Settled, WorkError> {
        let guard = Guard::Unmoved(claim);
        self.record(read, &claim.token, &guard, results, Deferral::Failed, now)
            .await
    }

    async fn record(
        &self,
        mut work: Work,
        token: &str,
        guard: &Guard<'_>,
        results: &[(usize, Outcome)],
        why: Deferral,
        now: DateTime<Utc>,
    ) -> Result<Settled, WorkError> {
        let claimed_attempt = work.task.attempt;
        for _ in 0..MAX_ROUNDS {
            let task = &work.task;
            let end = work.chunk.settle(
                results,
                task.status,
                claimed_attempt,
                task.attempt,
                work.baseline,
            );
            let status = status_after(&work, &end, guard);
            let chunk = match guard {
                Guard::Claimed => GuardedUpdate::default()
                    .when("#claim = :token AND attribute_exists(#lease_until)")
                    .value("token", s(token)),
                Guard::Unmoved(claim) => work.chunk_unmoved(claim),
            };
            let chunk = chunk_part(chunk, &work, &end, status, why, now);
            // Where nothing counts for the task, and it is another item, only the claim ends.
            let nothing_counts = work.number.is_some() && end.newly == Counts::default();
            let task_part = match nothing_counts {
                true => None,
                false => Some(self.task_part(&work, &end, status, now)),
            };
            match self.write(&work, task_part, chunk).await? {
                Moved::No => return Ok(settled(work, &end, status)),
                Moved::Yes { task, chunk } => {
                    if let Some(chunk) = &chunk
                        && is_claimed_as(chunk, &s(token))
                        && !chunk.contains_key("lease_until")
                    {
                        // Sent again by the SDK after its answer was lost: it succeeded the first time.
                        return Ok(settled(work, &end, status));
                    }
                    let is_ours = match (&chunk, guard) {
                        // In an item of its own: then its part's condition failed.
                        (Some(_), _) if work.number.is_some() => false,
                        (Some(chunk), Guard::Claimed) => is_claimed_as(chunk, &s(token)),
                        (Some(_), Guard::Unmoved(_)) => false,
                        (None, _) => work.number.is_some(),
                    };
                    let Some(found) = task.filter(|_| is_ours) else {
                        return Err(WorkError::Lost);
                    };
                    // Other chunks moved the counters, or the task was canceled or restarted meanwhile: the same results,
                    // seen from there.
                    let before = work.nonce.clone();
                    work.follow(found)?;
                    if work.nonce != before || is_given_up_on(&work, claimed_attempt, guard) {
                        return Err(WorkError::Lost);
                    }
                }
            }
        }
        Err(StoreError::Damaged(format!("counters of `T#{}`", work.task.id)).into())
    }

    /// The part of the task: its counters, and its status where this was the last of its objects.
    fn task_part(
        &self,
        work: &Work,
        end: &Settlement,
        status: TaskStatus,
        now: DateTime<Utc>,
    ) -> GuardedUpdate {
        let task = &work.task;
        let newly = end.newly;
        let part = work
            .task_unmoved()
            .when("#status = :read_status")
            .value("read_status", s(task.status.as_str()))
            .set("updated_at", n(now.timestamp()))
            .compute("deleted", "#deleted + :newly_deleted")
            .compute("failed", "#failed + :newly_failed")
            .compute("remaining", "#remaining - :newly")
            .value("newly_deleted", n(newly.deleted))
            .value("newly_failed", n(newly.failed))
            .value("newly", n(newly.sum()));
        let part = match status == task.status {
            true => part,
            false => part
                .set("status", s(status.as_str()))
                .set(INDEX_HASH_KEY, s(self.list_key(status, &task.id)))
                .remove("due_at"),
        };
        let part = match status {
            // This was the last chunk, whoever it is. Within an attempt what remains only shrinks, and this chunk's objects are
            // among it: that no more than these remain, and that nobody else can give up any more, is so for good.
            TaskStatus::Done | TaskStatus::Failed => part,
            TaskStatus::Processing if work.number.is_some() => part
                .when("#remaining > :newly")
                // There was progress: what is left is on the queue, and is looked at again if there is no more.
                .set("sends", n(0))
                .set("due_at", n((now + DISPATCH_GRACE).timestamp())),
            TaskStatus::Processing if newly.sum() > 0 => part.set("sends", n(0)),
            TaskStatus::Processing | TaskStatus::Pending | TaskStatus::Canceled => part,
        };
        let head = item::head_to_attribute(&end.failed_head);
        match work.number {
            None => part
                .set_or_remove("failed_head", head)
                .set_or_remove("detail", end.gave_up.as_ref().map(s)),
            Some(_) => part
                .set_if_absent("failed_head", head)
                .set_if_absent("detail", end.gave_up.as_ref().map(s)),
        }
    }
}

/// The part of the chunk: its outcomes, the claim's end, and when what remains is due again.
fn chunk_part(
    part: GuardedUpdate,
    work: &Work,
    end: &Settlement,
    status: TaskStatus,
    why: Deferral,
    now: DateTime<Utc>,
) -> GuardedUpdate {
    let state = &work.chunk.state;
    let mut part = part
        .set_or_remove("seen", item::seen_to_attribute(&end.seen))
        .remove("lease_until");
    for (name, value) in item::outcomes_to_attributes(&end.outcomes) {
        part = part.set_or_remove(name, value);
    }
    let is_own_item = work.number.is_some();
    if end.is_complete {
        return match is_own_item {
            true => part.remove("due_at"),
            false => part,
        };
    }
    if !is_own_item && status != TaskStatus::Processing {
        return part;
    }
    // Work remains: it is due again at once where there was progress, and ever later where there was none.
    let moved = end.newly.sum() > 0 || why == Deferral::Progress;
    let tries = match why {
        _ if moved => 0,
        Deferral::Throttled | Deferral::NoTime | Deferral::Progress => {
            state.tries.saturating_sub(1)
        }
        Deferral::Failed => state.tries,
    };
    let (put_offs, due_at) = match moved {
        true => (0, now),
        false => (state.put_offs + 1, now + why.delay(state.put_offs)),
    };
    part.set("tries", n(tries))
        .set("put_offs", n(put_offs))
        .set("due_at", n(due_at.timestamp()))
}

/// Where the task stands once `end` counts.
fn status_after(work: &Work, end: &Settlement, guard: &Guard<'_>) -> TaskStatus {
    let task = &work.task;
    let is_last = task.progress.remaining() == end.newly.sum();
    let ended = match end.gave_up.is_some() || task.detail.is_some() {
        true => TaskStatus::Failed,
        false => TaskStatus::Done,
    };
    match (task.status, guard) {
        (TaskStatus::Processing, _) if is_last => ended,
        (TaskStatus::Pending, Guard::Unmoved(_)) if is_last => ended,
        // Work remains. Or canceled, or restarted and pending: the result is recorded, the status stays.
        (status, _) => status,
    }
}

/// Without a claim, nothing is recorded for a task that is not at work on the same attempt any more.
fn is_given_up_on(work: &Work, attempt: u32, guard: &Guard<'_>) -> bool {
    match guard {
        Guard::Claimed => false,
        Guard::Unmoved(_) => work.task.attempt != attempt || work.task.status.is_terminal(),
    }
}

fn settled(mut work: Work, end: &Settlement, status: TaskStatus) -> Settled {
    let ended = (status != work.task.status).then_some(status);
    work.task.status = status;
    work.task.progress.deleted += end.newly.deleted;
    work.task.progress.failed += end.newly.failed;
    Settled {
        work,
        newly: end.newly,
        is_complete: end.is_complete,
        ended,
    }
}
