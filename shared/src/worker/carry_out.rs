//! One message, from read to settlement: read the task and the chunk, get a turn at the index,
//! check which objects exist, claim, delete, settle.
//!
//! See `docs/architecture.md`.

use super::budget::Budget;
use super::calls::in_short;
use super::deletion::{Deleted, Deletion};
use super::existence;
use super::log::MessageLog;
use super::turn::{NEAR, turn};
use super::{LEASE_MARGIN, MAX_TRIES, Verdict, Worker, give_up};
use crate::store::{Deferral, Objects, Settled, StoreError, StoredTask, TaskChunk, Written};
use crate::task::{Message, Outcome, Reason, Task, TaskId, TaskStatus};
use crate::vector::{Index, Turn, Turns, VectorError, VectorErrorKind, VectorStore};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Duration;

/// The verdict if somebody else's write came between this worker's read and its write.
const MOVED: Verdict = Verdict::Dropped("moved before it was claimed");

impl Worker {
    /// Carries out one message.
    ///
    /// Makes one claim after another, as long as the last one ended only because it had made enough
    /// calls.
    ///
    /// # Errors
    /// If the task could not be read or written.
    pub(super) async fn carry_out(
        &self,
        id: &TaskId,
        message: &Message,
        deadline: DateTime<Utc>,
        log: &mut MessageLog,
    ) -> Result<Verdict, StoreError> {
        loop {
            let Some(task) = self.tasks.load(id).await? else {
                return Ok(Verdict::Dropped("no such task"));
            };
            if let Some(why) = self.reason_to_drop(&task, message) {
                return Ok(Verdict::Dropped(why));
            }
            let budget = Budget::new(deadline, self.clock.clone(), &self.slots);
            if !budget.allows_a_call() {
                return Ok(Verdict::HandedBack);
            }
            if let (Objects::Chunks(_), None) = (&task.objects, message.chunk) {
                return self.fan_out(task, &budget, log).await;
            }
            // These checks come first, since they cost no read. The messages of a busy index come
            // back often.
            let index = self.vectors.for_model(&task.task.model, self.clock.now());
            if let Some(index) = &index
                && let Some(pause) = long_pause(index.store.as_ref())
            {
                return Ok(Verdict::StorePauses(pause));
            }
            if let Some(turns) = index.as_ref().and_then(|index| index.turns.as_ref())
                && turns.is_far(NEAR, self.clock.now())
            {
                let expected = turns.expected(objects_of_a_chunk(&task));
                let after = turns.come_back(expected, NEAR, self.clock.now());
                return Ok(Verdict::TurnIsFar(after));
            }
            let Some(chunk) = self.tasks.load_chunk(task, message.chunk).await? else {
                return Ok(Verdict::Dropped("no such chunk"));
            };
            // The holder of the claim settles it. If the holder died, the sweeper sends the chunk
            // again once the lease is over.
            if chunk.chunk.state.is_leased(self.clock.now()) {
                return Ok(Verdict::Dropped("claimed by another"));
            }
            let verdict = self
                .carry_out_chunk(chunk, index, &budget, deadline, log)
                .await?;
            if !(verdict.has_more_to_do() && budget.allows_a_call()) {
                return Ok(verdict);
            }
        }
    }

    /// Returns why there is nothing to do for a message, if there is nothing.
    fn reason_to_drop(&self, read: &StoredTask, message: &Message) -> Option<&'static str> {
        if read.task.is_expired(self.clock.now()) {
            return Some("no such task");
        }
        if message.attempt != read.task.attempt {
            return Some("another attempt");
        }
        if read.task.status.is_terminal() {
            return Some("ended already");
        }
        // Only a fan-out sends chunks, and it makes the task `processing`.
        let is_early = message.chunk.is_some() && read.task.status == TaskStatus::Pending;
        is_early.then_some("not begun yet")
    }

    /// Checks which objects of a chunk exist, claims the chunk, deletes the objects, and settles.
    async fn carry_out_chunk(
        &self,
        read: TaskChunk,
        index: Option<Index>,
        budget: &Budget,
        deadline: DateTime<Utc>,
        log: &mut MessageLog,
    ) -> Result<Verdict, StoreError> {
        let open = read.open();
        if open.is_empty() && read.number.is_some() {
            return Ok(Verdict::Dropped("ended already"));
        }

        let (store, turns) = match index {
            Some(Index { store, turns }) => (Some(store), turns),
            None => (None, None),
        };
        let turns = turns.filter(|_| !open.is_empty());

        // Reserve the turn of the first delete, for as many objects as are likely to exist. Work
        // whose turn is far is handed back before it is claimed, so it does not count as a try.
        let (mut first_turn, mut first_check) = (None, None);
        if let Some(turns) = &turns {
            first_check = turns.first_check(NEAR).await;
            first_turn = match self.near_turn(turns, turns.expected(open.len())).await {
                Ok(turn) => Some(turn),
                Err(verdict) => return Ok(verdict),
            };
        }

        // Existence check.
        let existence = match &store {
            None => {
                let model = &read.task.model;
                let detail = format!("No vector store is configured for embedding model `{model}`");
                return self.fail(read, detail, log).await;
            }
            Some(store) => {
                let check = existence::check(store.as_ref(), &read.chunk.ids, &open, budget);
                match check.await {
                    Ok(existence) => existence,
                    Err(error) => {
                        // Nothing is claimed yet, so nothing has to be recorded.
                        if error.kind == VectorErrorKind::Throttled
                            && let Some(pause) = long_pause(store.as_ref())
                        {
                            log.cause(in_short(&error));
                            return Ok(Verdict::StorePauses(pause));
                        }
                        return self.defer_or_fail(read, error, log).await;
                    }
                }
            }
        };
        if let Some(turns) = &turns {
            let (present, unknown) = (existence.present.len(), existence.unknown.len());
            turns.found(present, open.len() - unknown);
            drop(first_check);
            let objects = present.min(turns.most());
            // A turn that has passed since is no reason to hand the work back: the delete waits for
            // another one.
            first_turn = first_turn.filter(|turn: &Turn| turn.is_enough_for(objects));
            if first_turn.is_none() {
                first_turn = match self.near_turn(turns, objects).await {
                    Ok(turn) => Some(turn),
                    Err(verdict) => return Ok(verdict),
                };
            }
        }
        if !budget.allows_a_call() && existence.failed.is_empty() {
            return Ok(Verdict::HandedBack);
        }

        // Claim. From then on the chunk is ours and what was seen is recorded. If a seen object is
        // gone later, we deleted it.
        log.claiming();
        let present = existence.present.iter().copied();
        let claim = read.claim(present);
        let (lease_until, now) = (deadline + LEASE_MARGIN, self.clock.now());
        let claim = self.tasks.claim_if_unmoved(read, claim, lease_until, now);
        let Written::Applied(mut claimed) = claim.await? else {
            return Ok(MOVED);
        };
        if claimed.number.is_some() {
            // A claim on a chunk of a larger task does not check the task.
            match self.tasks.task_at_work(&claimed).await? {
                Some(task) => claimed.task = task,
                None => {
                    let release = self.settle(claimed, Vec::new(), Deferral::NoTime, log);
                    let _ = release.await?;
                    return Ok(MOVED);
                }
            }
        }
        let mut results = existence.results(&open, |at| absent(&claimed, at));
        let has_tries_left = claimed.chunk.state.tries <= MAX_TRIES;

        // Delete.
        let mut deleted = match &store {
            Some(store) if has_tries_left => {
                let deletion = Deletion {
                    store: store.as_ref(),
                    turns: turns.as_ref(),
                    tasks: &self.tasks,
                    claimed: &claimed,
                    budget,
                };
                deletion.run(&existence.present, first_turn).await
            }
            Some(_) | None => Deleted::nothing(&existence.present),
        };
        if let Some(failure) = deleted.failure.take() {
            log.cause(failure);
        }
        if deleted.may_still_delete {
            // Leave it as if this worker had died. What was seen is recorded, and the next claim
            // waits for the end of the lease.
            return Ok(Verdict::Dropped(
                "left to its lease: a delete may still arrive",
            ));
        }

        // Settle.
        deleted.leave_too(existence.unknown);
        let has_progress = !results.is_empty() || deleted.made_progress();
        let is_last_try = claimed.chunk.state.tries >= MAX_TRIES && !has_progress;
        results.append(&mut deleted.results);
        results.extend(deleted.given_up(is_last_try));
        let rest = deleted.deferral();
        let settled = match self.settle(claimed, results, rest, log).await? {
            Written::Applied(settled) => settled,
            Written::NotApplied(()) => return Ok(Verdict::Dropped("superseded")),
        };
        Ok(Verdict::Recorded {
            status: settled.task.status,
            has_more_to_do: deleted.used_up_its_calls && has_progress,
        })
    }

    /// Reserves the turn of a delete of `objects` objects, if it is near.
    ///
    /// # Errors
    /// The verdict on work whose turn is far.
    async fn near_turn(&self, turns: &Arc<Turns>, objects: usize) -> Result<Turn, Verdict> {
        let turn = turn(&self.tasks, &self.clock, turns, objects, NEAR).await;
        turn.ok_or_else(|| Verdict::TurnIsFar(turns.come_back(objects, NEAR, self.clock.now())))
    }

    /// Settles a claim. If a new attempt began while it was in force, sends that attempt's message.
    async fn settle(
        &self,
        claimed: TaskChunk,
        results: Vec<(usize, Outcome)>,
        rest: Deferral,
        log: &mut MessageLog,
    ) -> Result<Written<Settled>, StoreError> {
        let (attempt, number) = (claimed.task.attempt, claimed.number);
        let now = self.clock.now();
        let settle = self.tasks.settle_if_newest(claimed, results, rest, now);
        let settled = settle.await?;
        if let Written::Applied(settled) = &settled {
            log.settled(settled);
            if settled.task.attempt != attempt {
                self.wake_new_attempt(&settled.task, number, log).await;
            }
        }
        Ok(settled)
    }

    /// Sends the message of an attempt that began while this claim was in force.
    ///
    /// That attempt's own message met the claim and was dropped. If this message is lost too, the
    /// sweeper sends the next one.
    async fn wake_new_attempt(&self, task: &Task, number: Option<u32>, log: &mut MessageLog) {
        let message = match task.status {
            TaskStatus::Pending => Message::whole(task),
            TaskStatus::Processing => Message::of_chunk(task, number),
            TaskStatus::Done | TaskStatus::Failed | TaskStatus::Canceled => return,
        };
        if let Err(error) = self.queue.send(&task.model, &message).await {
            log.cause(error);
        }
    }

    /// Fails or defers a chunk whose existence check failed.
    async fn defer_or_fail(
        &self,
        read: TaskChunk,
        error: VectorError,
        log: &mut MessageLog,
    ) -> Result<Verdict, StoreError> {
        log.cause(in_short(&error));
        let claim = read.claim([]);
        let (deferral, why) = match error.kind {
            VectorErrorKind::IndexMissing | VectorErrorKind::Denied => {
                return self.fail(read, error.detail, log).await;
            }
            VectorErrorKind::Temporary
            | VectorErrorKind::Unanswered
            | VectorErrorKind::TooSlow
            | VectorErrorKind::KeptObject
            | VectorErrorKind::InvalidId => {
                if claim.tries >= MAX_TRIES {
                    let detail = give_up(&error.detail);
                    return self.fail(read, detail, log).await;
                }
                (Deferral::Failed, "the vector store failed")
            }
            VectorErrorKind::Throttled => (Deferral::Throttled, "the vector store throttled"),
            VectorErrorKind::OutOfTime => (Deferral::NoTime, "there was no time"),
        };
        let now = self.clock.now();
        let defer = self.tasks.defer_if_unmoved(&read, &claim, deferral, now);
        Ok(match defer.await? {
            Written::Applied(()) => Verdict::Deferred(why),
            Written::NotApplied(()) => MOVED,
        })
    }

    /// Fails the open objects of a chunk whose existence check cannot succeed.
    async fn fail(
        &self,
        read: TaskChunk,
        detail: String,
        log: &mut MessageLog,
    ) -> Result<Verdict, StoreError> {
        let failed = Outcome::Failed(Reason::GaveUp(detail));
        let open = read.open().into_iter();
        let results = open.map(|at| (at, failed.clone())).collect();
        let claim = read.claim([]);
        let now = self.clock.now();
        let fail = self.tasks.fail_if_unmoved(read, claim, results, now);
        Ok(match fail.await? {
            Written::Applied(settled) => {
                log.settled(&settled);
                Verdict::Recorded {
                    status: settled.task.status,
                    has_more_to_do: false,
                }
            }
            Written::NotApplied(()) => MOVED,
        })
    }
}

/// Returns how long the store has asked not to be called, if that is too long to hold the work.
fn long_pause(store: &dyn VectorStore) -> Option<Duration> {
    Some(store.pause()).filter(|pause| *pause > NEAR)
}

/// Returns how many objects a chunk of the task has on average.
fn objects_of_a_chunk(task: &StoredTask) -> usize {
    let chunks = match task.objects {
        Objects::Inline(_) => 1,
        Objects::Chunks(count) => count,
    };
    task.task.progress.total.div_ceil(chunks.max(1)) as usize
}

/// Returns the outcome of an object that is not in the store.
///
/// If an earlier claim saw it there and was not settled, this service deleted it.
fn absent(claimed: &TaskChunk, position: usize) -> Outcome {
    if claimed.chunk.state.seen.contains(position) {
        Outcome::Deleted
    } else {
        Outcome::Failed(Reason::NotFound)
    }
}
