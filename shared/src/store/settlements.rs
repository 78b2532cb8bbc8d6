//! A worker settles a claim: one write records what happened to the objects and moves the task's
//! counters.
//!
//! For a task of one chunk this is an update of its item. A chunk of a larger task is an item of
//! its own, so chunk and task are written in one transaction. DynamoDB refuses a transaction while
//! another one on the same task is in flight. So the settlements of one process share transactions
//! ([`Together`]): while one is in flight, the settlements that arrive wait and share the next.
//!
//! [`Together`]: super::together::Together

use super::attribute::{self as attr, n, s, seconds};
use super::claims::{Deferral, TaskChunk, is_claimed_as, take_fence};
use super::guarded::{
    Condition, Contention, GuardedUpdate, Part, Parts, Transacted, equals, exists, more_than,
    same_attempt, transact,
};
use super::item::{self, StoredTask};
use super::together::{Asked, Together};
use super::{DISPATCH_GRACE, StoreError, TaskStore, Written};
use crate::task::{Claim, Counts, Outcome, Settlement, Task, TaskStatus};
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The most chunks that one transaction settles.
///
/// A transaction may have 100 items ("Amazon DynamoDB Transactions: How it works"), but it takes
/// longer the more it has.
const MOST_TOGETHER: usize = 24;
/// The longest time that a settlement waits for others of its task that are in flight in this
/// process.
///
/// It is about the time by which the messages of one batch drift apart. Each settlement that shares
/// a transaction saves 3 write units, and avoids a conflict with the transactions of other
/// processes.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// What a settlement recorded.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The task as it was recorded.
    pub task: Task,
    /// Objects that have an outcome now and had none before.
    pub newly: Counts,
    /// The task's final status, if this settlement ended the task.
    pub ended: Option<TaskStatus>,
}

/// The settlements that wait, by the nonce of their task.
pub(super) type Settlements = Together<Unsettled, Response, Round>;

type Response = Result<Written<Settled>, StoreError>;
type Waiting = Arc<Asked<Unsettled, Response>>;

/// A claim to settle.
pub(super) struct Unsettled {
    chunk: TaskChunk,
    guard: Guard,
    results: Vec<(usize, Outcome)>,
    /// Why the chunk has objects left, if it has any.
    rest: Deferral,
    now: DateTime<Utc>,
}

/// What a settlement assumes about the chunk.
enum Guard {
    /// The claim with this token is the newest, and is not settled.
    Claimed(String),
    /// Nothing has changed since the chunk was read. This claim is made and settled in one write.
    Unmoved(Claim),
}

/// What one write passes on to the next.
#[derive(Default)]
pub(super) struct Round {
    /// The task as it was last found or written.
    task: Option<TaskAsRead>,
    contention: Contention,
}

/// The part of a task that a settlement depends on.
#[derive(Clone)]
struct TaskAsRead {
    task: Task,
    baseline: u32,
}

/// The settlements of several claims together.
struct Joint {
    /// The settlement of each.
    ends: Vec<Settlement>,
    /// The sum over all of them.
    newly: Counts,
    /// The task's status after the write.
    status: TaskStatus,
    now: DateTime<Utc>,
}

impl TaskStore {
    /// Records the outcomes of a claim, unless a newer claim exists.
    ///
    /// It does so even if the task has been canceled or restarted since the claim.
    ///
    /// `claimed` is the chunk as [`Self::claim_if_unmoved`] returned it. `rest` says why it has
    /// objects left, if it has any.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn settle_if_newest(
        &self,
        claimed: TaskChunk,
        results: Vec<(usize, Outcome)>,
        rest: Deferral,
        now: DateTime<Utc>,
    ) -> Result<Written<Settled>, StoreError> {
        let token = claimed.chunk.state.claim.clone().unwrap_or_default();
        self.settle(Unsettled {
            chunk: claimed,
            guard: Guard::Claimed(token),
            results,
            rest,
            now,
        })
        .await
    }

    /// Settles a chunk whose existence check cannot succeed, without a delete, if nothing has
    /// changed since it was read.
    ///
    /// The record of what earlier claims saw is kept.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn fail_if_unmoved(
        &self,
        read: TaskChunk,
        claim: Claim,
        results: Vec<(usize, Outcome)>,
        now: DateTime<Utc>,
    ) -> Result<Written<Settled>, StoreError> {
        self.settle(Unsettled {
            chunk: read,
            guard: Guard::Unmoved(claim),
            results,
            rest: Deferral::Failed,
            now,
        })
        .await
    }

    async fn settle(&self, mut unsettled: Unsettled) -> Result<Written<Settled>, StoreError> {
        let end = unsettled.end(&unsettled.task_as_read());
        if unsettled.has_own_item() && end.newly == Counts::default() {
            return self.end_claim(&unsettled, &end).await;
        }
        let key = unsettled.chunk.nonce.clone();
        let announced = unsettled.chunk.announced.take();
        let settle = |waiting, round| self.settle_together(waiting, round);
        let settled = self.settlements.ask(&key, unsettled, announced, settle);
        settled.await
    }

    /// Ends a claim that changes none of the task's counters.
    async fn end_claim(
        &self,
        unsettled: &Unsettled,
        end: &Settlement,
    ) -> Result<Written<Settled>, StoreError> {
        let task = unsettled.chunk.task.clone();
        let update = unsettled.chunk_part(end, task.status);
        let key = unsettled.chunk.key();
        let became = match update.send(&self.client, &self.table, key).await? {
            Written::Applied(()) => Became::Settled,
            Written::NotApplied(found) => unsettled.became(&Part::Failed(found)),
        };
        Ok(match became {
            Became::Settled => Written::Applied(Settled {
                task,
                newly: Counts::default(),
                ended: None,
            }),
            Became::Open | Became::Superseded => Written::NotApplied(()),
        })
    }

    /// Makes one try to settle all that wait.
    ///
    /// The settlements that it does not decide are tried again, for the task as it is then.
    async fn settle_together(&self, waiting: Vec<Waiting>, round: Round) -> Round {
        let mut next = Round::default();
        let reads = waiting.iter().map(|one| one.what.task_as_read());
        let Some(read) = reads.chain(round.task).max_by_key(TaskAsRead::age) else {
            return next;
        };
        let still_counts = |one: &Waiting| one.what.still_counts(&read.task);
        let (mut open, too_late): (Vec<_>, Vec<_>) = waiting.into_iter().partition(still_counts);
        respond(&too_late, || Ok(Written::NotApplied(())));
        // A write may name each item only once.
        let mut numbers = BTreeSet::new();
        open.retain(|one| numbers.insert(one.what.chunk.number));
        open.truncate(MOST_TOGETHER);
        // A list row shows the first failures. They come from the first of these chunks that has
        // any.
        open.sort_by_key(|one| one.what.chunk.number);
        let joint = Joint::of(&open, &read);

        let parts = match self.write_together(&open, &joint, &read).await {
            Ok(Transacted::NotApplied(parts)) => parts,
            Ok(Transacted::Applied) => return joint.recorded(&open, read),
            Ok(Transacted::Contended) => {
                next.task = Some(read);
                next.contention = round.contention;
                next.contention.pause().await;
                return next;
            }
            Err(error) => {
                respond(&open, || Err(error.clone()));
                return next;
            }
        };
        let mut became = open.iter().zip(&parts.chunks);
        if became.all(|(one, part)| one.what.became(part) == Became::Settled) {
            // The SDK sent this write again after its response was lost; the first one was applied.
            return joint.recorded(&open, read);
        }
        for ((one, part), end) in open.iter().zip(&parts.chunks).zip(&joint.ends) {
            match one.what.became(part) {
                Became::Open => {}
                Became::Superseded => one.respond(Ok(Written::NotApplied(()))),
                // An earlier write of this process did it, and nobody waited for its response.
                Became::Settled => one.respond(Ok(Written::Applied(Settled {
                    task: read.task.clone(),
                    newly: end.newly,
                    ended: None,
                }))),
            }
        }
        next.task = match parts.task {
            Part::Held => Some(read),
            // Other chunks moved the counters, or the task was canceled or restarted.
            Part::Failed(found) => match found.map(StoredTask::from_item).transpose() {
                Ok(found) => found
                    .filter(|found| open.iter().all(|one| one.what.chunk.nonce == found.nonce))
                    .map(|StoredTask { task, baseline, .. }| TaskAsRead { task, baseline }),
                Err(error) => {
                    respond(&open, || Err(error.clone()));
                    return next;
                }
            },
        };
        if next.task.is_none() {
            respond(&open, || Ok(Written::NotApplied(())));
        }
        next
    }

    async fn write_together(
        &self,
        open: &[Waiting],
        joint: &Joint,
        read: &TaskAsRead,
    ) -> Result<Transacted, StoreError> {
        let (client, table) = (&self.client, self.table.as_str());
        let Some(first) = open.first() else {
            return Ok(Transacted::Applied);
        };
        let task_key = item::key_of(&read.task.id);
        let task_part = self.task_part(&first.what, joint, &read.task);
        let chunks = open.iter().zip(&joint.ends);
        let mut chunks = chunks.map(|(one, end)| {
            let part = one.what.chunk_part(end, joint.status);
            (one.what.chunk.key(), part)
        });
        if first.what.has_own_item() {
            return transact(client, table, (task_key, task_part), chunks.collect()).await;
        }
        let update = match chunks.next() {
            Some((_, part)) => task_part.and(part),
            None => task_part,
        };
        Ok(match update.send(client, table, task_key).await? {
            Written::Applied(()) => Transacted::Applied,
            Written::NotApplied(found) => Transacted::NotApplied(Parts {
                task: Part::Failed(found.clone()),
                chunks: vec![Part::Failed(found)],
            }),
        })
    }

    /// Returns the task's part: its counters and, if no object of the task remains, its final
    /// status.
    fn task_part(&self, first: &Unsettled, joint: &Joint, task: &Task) -> GuardedUpdate {
        let (newly, status, now) = (joint.newly, joint.status, joint.now);
        let guard = same_attempt(&first.chunk.nonce, task.attempt).and(status_as_read(task));
        let mut part = GuardedUpdate::when(guard)
            .set(attr::UPDATED_AT, seconds(now))
            .set_sum(attr::DELETED, attr::DELETED, n(newly.deleted))
            .set_sum(attr::FAILED, attr::FAILED, n(newly.failed))
            .subtract(attr::REMAINING, n(newly.sum()));
        part = self.in_status(part, &task.id, Some(task.status), status);
        if status != task.status {
            part = part.remove(attr::DUE_AT);
        }
        part = match status {
            // These were the last chunks. Within an attempt `remaining` only shrinks, and it
            // includes their objects. If it equals the number of these, every other chunk is
            // settled, so no condition on it is needed.
            TaskStatus::Done | TaskStatus::Failed => part,
            TaskStatus::Processing if first.has_own_item() => part
                .and_when(more_remain_than(newly))
                // The other chunks are on the queue. The sweeper checks the task again if no
                // progress follows.
                .set(attr::SENDS, n(0))
                .set(attr::DUE_AT, seconds(now + DISPATCH_GRACE)),
            TaskStatus::Processing if newly.sum() > 0 => part.set(attr::SENDS, n(0)),
            TaskStatus::Processing | TaskStatus::Pending | TaskStatus::Canceled => part,
        };
        let heads = joint.ends.iter().map(|end| &end.failed_head);
        let head = heads.filter_map(item::head_to_attribute).next();
        let detail = joint.gave_up().map(s);
        if first.has_own_item() {
            part.set_if_absent(attr::FAILED_HEAD, head)
                .set_if_absent(attr::DETAIL, detail)
        } else {
            part.set_or_remove(attr::FAILED_HEAD, head)
                .set_or_remove(attr::DETAIL, detail)
        }
    }
}

impl Unsettled {
    /// Returns whether the chunk is an item of its own.
    fn has_own_item(&self) -> bool {
        self.chunk.number.is_some()
    }

    fn task_as_read(&self) -> TaskAsRead {
        TaskAsRead {
            task: self.chunk.task.clone(),
            baseline: self.chunk.baseline,
        }
    }

    /// Returns the settlement for the task as it is now.
    fn end(&self, now: &TaskAsRead) -> Settlement {
        let claimed_attempt = self.chunk.task.attempt;
        self.chunk.chunk.settle(
            &self.results,
            now.task.status,
            claimed_attempt,
            now.task.attempt,
            now.baseline,
        )
    }

    /// Returns whether the settlement still counts.
    ///
    /// If no claim was stored before, nothing is recorded for a task that has ended or is in
    /// another attempt.
    fn still_counts(&self, task: &Task) -> bool {
        match self.guard {
            Guard::Claimed(_) => true,
            Guard::Unmoved(_) => {
                task.attempt == self.chunk.task.attempt && !task.status.is_terminal()
            }
        }
    }

    /// Returns the chunk's part: its outcomes, the end of its claim, and when the rest is due
    /// again.
    ///
    /// `status` is the task's status after the write.
    fn chunk_part(&self, end: &Settlement, status: TaskStatus) -> GuardedUpdate {
        let part = match &self.guard {
            Guard::Claimed(token) => {
                GuardedUpdate::when(claim_is_newest(token).and(claim_is_not_settled()))
            }
            Guard::Unmoved(claim) => take_fence(&self.chunk, claim),
        };
        let mut part = part
            .set_or_remove(attr::SEEN, item::seen_to_attribute(&end.seen))
            .remove(attr::LEASE_UNTIL);
        for (name, value) in item::outcomes_to_attributes(&end.outcomes) {
            part = part.set_or_remove(name, value);
        }
        if end.is_complete && self.has_own_item() {
            return part.remove(attr::DUE_AT);
        }
        if end.is_complete || (!self.has_own_item() && status != TaskStatus::Processing) {
            return part; // the task's part says when the task is due, if it is
        }
        // Objects remain. After progress they are due again at once, else after a delay that grows.
        let state = &self.chunk.chunk.state;
        let has_progress = end.newly.sum() > 0 || self.rest == Deferral::Progress;
        let (tries, put_offs, due_at) = if has_progress {
            (0, 0, self.now)
        } else {
            let tries = match self.rest {
                Deferral::Throttled | Deferral::NoTime | Deferral::Progress => {
                    state.tries.saturating_sub(1)
                }
                Deferral::Failed => state.tries,
            };
            let delay = self.rest.delay(state.put_offs);
            (tries, state.put_offs + 1, self.now + delay)
        };
        part.set(attr::TRIES, n(tries))
            .set(attr::PUT_OFFS, n(put_offs))
            .set(attr::DUE_AT, seconds(due_at))
    }

    /// Returns what became of the claim, judged by its chunk's part of a write that was not
    /// applied.
    fn became(&self, part: &Part) -> Became {
        let token = match &self.guard {
            Guard::Claimed(token) => token,
            Guard::Unmoved(claim) => &claim.token,
        };
        match part {
            Part::Held => Became::Open,
            Part::Failed(Some(chunk)) if is_claimed_as(chunk, token) => {
                // A task of one chunk shares the item with its chunk. Here the task's condition
                // failed.
                if chunk.contains_key(attr::LEASE_UNTIL) {
                    Became::Open
                } else {
                    Became::Settled
                }
            }
            Part::Failed(_) => Became::Superseded,
        }
    }
}

/// What became of a claim that was to be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    /// It is still to be settled.
    Open,
    /// It was settled by an earlier write.
    Settled,
    /// A newer claim exists.
    Superseded,
}

impl TaskAsRead {
    /// Returns a value that grows with each write to a task that a settlement depends on.
    fn age(&self) -> (u32, bool, bool, u32) {
        let Task {
            status, progress, ..
        } = &self.task;
        (
            self.task.attempt,
            status.is_terminal(),
            *status != TaskStatus::Pending,
            progress.deleted + progress.failed,
        )
    }
}

impl Joint {
    fn of(open: &[Waiting], read: &TaskAsRead) -> Self {
        let ends: Vec<_> = open.iter().map(|one| one.what.end(read)).collect();
        let newly = ends.iter().map(|end| end.newly);
        let mut joint = Self {
            newly: newly.fold(Counts::default(), Counts::and),
            ends,
            status: read.task.status,
            now: open
                .iter()
                .map(|one| one.what.now)
                .max()
                .unwrap_or_default(),
        };
        let is_unmoved = |one: &Waiting| matches!(one.what.guard, Guard::Unmoved(_));
        let is_at_work = match read.task.status {
            TaskStatus::Processing => true,
            // Chunks with a claim: the task has been restarted since. Their results are recorded,
            // and the status stays.
            TaskStatus::Pending => open.iter().any(is_unmoved),
            TaskStatus::Done | TaskStatus::Failed | TaskStatus::Canceled => false,
        };
        if is_at_work && read.task.progress.remaining() == joint.newly.sum() {
            joint.status = if joint.gave_up().is_some() || read.task.detail.is_some() {
                TaskStatus::Failed
            } else {
                TaskStatus::Done
            };
        }
        joint
    }

    /// Returns why objects were given up, if any were.
    fn gave_up(&self) -> Option<&String> {
        self.ends.iter().find_map(|end| end.gave_up.as_ref())
    }

    /// Responds to all with what was recorded. If the task has ended, one response says so.
    fn recorded(self, open: &[Waiting], read: TaskAsRead) -> Round {
        let mut ended = (self.status != read.task.status).then_some(self.status);
        let mut after = read;
        let gave_up = self.gave_up().cloned();
        after.task.detail = after.task.detail.or(gave_up);
        after.task.status = self.status;
        after.task.progress.deleted += self.newly.deleted;
        after.task.progress.failed += self.newly.failed;
        for (one, end) in open.iter().zip(self.ends) {
            one.respond(Ok(Written::Applied(Settled {
                task: after.task.clone(),
                newly: end.newly,
                ended: ended.take(),
            })));
        }
        Round {
            task: Some(after),
            ..Round::default()
        }
    }
}

fn respond(all: &[Waiting], response: impl Fn() -> Result<Written<Settled>, StoreError>) {
    for one in all {
        one.respond(response());
    }
}

fn status_as_read(task: &Task) -> Condition {
    equals(attr::STATUS, s(task.status.as_str()))
}

/// This settlement is not the last: more objects remain than it settles.
fn more_remain_than(newly: Counts) -> Condition {
    more_than(attr::REMAINING, n(newly.sum()))
}

fn claim_is_newest(token: &str) -> Condition {
    equals(attr::CLAIM, s(token))
}

fn claim_is_not_settled() -> Condition {
    exists(attr::LEASE_UNTIL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_reads_of_a_task_the_later_one_is_the_one_that_counts() {
        let read = |attempt, status, deleted, failed| {
            let mut task = Task::example();
            (task.attempt, task.status) = (attempt, status);
            (task.progress.deleted, task.progress.failed) = (deleted, failed);
            TaskAsRead { task, baseline: 0 }
        };
        let in_order = [
            read(1, TaskStatus::Pending, 0, 0),
            read(1, TaskStatus::Processing, 0, 0),
            read(1, TaskStatus::Processing, 0, 1),
            read(1, TaskStatus::Processing, 2, 1),
            read(1, TaskStatus::Processing, 2, 2),
            read(1, TaskStatus::Canceled, 2, 2),
            // Those that failed are tried again.
            read(2, TaskStatus::Pending, 2, 0),
            read(2, TaskStatus::Processing, 2, 0),
            read(2, TaskStatus::Done, 4, 0),
        ];
        assert!(in_order.is_sorted_by(|a, b| a.age() < b.age()));
    }
}
