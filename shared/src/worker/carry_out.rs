//! One message, from read to settlement: read the task and the chunk, look in the store, claim and record what was seen,
//! delete, settle. See `docs/architecture.md`.

use super::budget::Budget;
use super::deletion::{Deletion, Ended, Found, after_all_tries, in_short, look};
use super::log::MessageLog;
use super::{Verdict, Worker};
use crate::store::{Deferral, Objects, StoreError, StoredTask, Work, WorkError};
use crate::task::{Claim, Message, Outcome, Reason, TaskId, TaskStatus};
use crate::vector::{VectorError, VectorErrorKind};
use chrono::{DateTime, TimeDelta, Utc};

/// Claims without progress after which a chunk's open objects fail.
pub(super) const MAX_TRIES: u32 = 5;
/// How much longer than the invocation a lease lasts: a request that left just before the deadline has arrived, and
/// clocks that differ a little do no harm.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(10);

impl Worker {
    /// Carries out one message: claim after claim, as long as the last one ended only because it had made enough calls.
    ///
    /// # Errors
    /// When the task could not be read or written: the message is to come back.
    pub(super) async fn carry_out(
        &self,
        id: &TaskId,
        message: &Message,
        deadline: DateTime<Utc>,
        log: &mut MessageLog,
    ) -> Result<Verdict, StoreError> {
        loop {
            let read = match self.store.load(id).await? {
                Some(read) => read,
                None => return Ok(Verdict::Dropped("no such task")),
            };
            if let Some(why) = self.reason_to_drop(&read, message) {
                return Ok(Verdict::Dropped(why));
            }
            let budget = Budget::new(deadline, self.clock.clone());
            if !budget.allows_a_call() {
                return Ok(Verdict::HandedBack);
            }
            if let (Objects::Chunks(_), None) = (&read.objects, message.chunk) {
                return self.fan_out(read, &budget, log).await;
            }
            let work = match self.store.load_work(read, message.chunk).await? {
                None => return Ok(Verdict::Dropped("no such chunk")),
                // Its holder settles it; if that one died, the sweeper sends the work again once the lease is over.
                Some(work) if work.chunk.state.is_leased(self.clock.now()) => {
                    return Ok(Verdict::Dropped("claimed by another"));
                }
                Some(work) => work,
            };
            let (verdict, goes_on) = self.work_on(work, &budget, deadline, log).await?;
            if !(goes_on && budget.allows_a_call()) {
                return Ok(verdict);
            }
        }
    }

    /// Why there is nothing to do for a message.
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
        // Only a fan-out, which makes the task `processing`, sends chunks.
        let is_early = message.chunk.is_some() && read.task.status == TaskStatus::Pending;
        is_early.then_some("not begun yet")
    }

    /// Looks, claims, deletes and settles. Also says whether the claim ended only because it had made enough calls.
    async fn work_on(
        &self,
        read: Work,
        budget: &Budget,
        deadline: DateTime<Utc>,
        log: &mut MessageLog,
    ) -> Result<(Verdict, bool), StoreError> {
        let ends = |verdict| Ok((verdict, false));
        let open = read.open();
        if open.is_empty() && read.number.is_some() {
            return ends(Verdict::Dropped("ended already"));
        }
        let store = self.vectors.for_model(&read.task.model);
        let found = match &store {
            _ if open.is_empty() => Found::default(),
            None => {
                let model = &read.task.model;
                let detail = format!("No vector store is configured for embedding model `{model}`");
                return ends(self.fail(read, deadline, detail, log).await?);
            }
            Some(store) => match look(store.as_ref(), &read.chunk.ids, &open, budget).await {
                Ok(found) => found,
                Err(error) => return ends(self.cannot_look(read, deadline, error, log).await?),
            },
        };
        if !budget.allows_a_call() && found.failed.is_empty() {
            return ends(Verdict::HandedBack);
        }
        let claim = new_claim(&read, found.present.iter().copied(), deadline);
        let now = self.clock.now();
        match self.store.claim_if_unmoved(&read, &claim, now).await {
            Ok(()) => {}
            Err(WorkError::Lost) => return ends(Verdict::Dropped("moved before it was claimed")),
            Err(WorkError::Store(error)) => return Err(error),
        }

        // From here on the claim is ours and what was seen is on record: what is gone now, we deleted.
        let mut results = found.results(&open, |at| absent(&read, at));
        let used_up = claim.tries > MAX_TRIES;
        let claimed = read.under(claim);
        let mut ended = match &store {
            Some(store) if !used_up => {
                let deletion = Deletion {
                    store: store.as_ref(),
                    tasks: &self.store,
                    claimed: &claimed,
                    budget,
                };
                deletion.run(&found.present).await
            }
            _ => Ended::gave_up(&found.present),
        };
        if let Some(failure) = ended.failure.take() {
            log.cause(failure);
        }
        if ended.may_still_delete {
            // As if this worker had died: what was seen is on record, and the next claim waits for the lease.
            return ends(Verdict::Dropped(
                "left to its lease: a delete may still arrive",
            ));
        }
        ended.leave_too(found.unknown);
        let has_moved = !results.is_empty() || ended.made_progress();
        results.append(&mut ended.results);
        let last_try = claimed.chunk.state.tries >= MAX_TRIES && !has_moved;
        results.extend(ended.given_up(last_try));
        let verdict = self
            .settle(claimed, &results, ended.deferral(), log)
            .await?;
        Ok((verdict, ended.goes_on && has_moved))
    }

    /// The objects could not even be looked for: fails the chunk, or puts it off.
    async fn cannot_look(
        &self,
        read: Work,
        deadline: DateTime<Utc>,
        error: VectorError,
        log: &mut MessageLog,
    ) -> Result<Verdict, StoreError> {
        log.cause(in_short(&error));
        let claim = new_claim(&read, [], deadline);
        let last_try = claim.tries >= MAX_TRIES;
        let (deferral, why) = match error.kind {
            VectorErrorKind::IndexMissing | VectorErrorKind::Denied => {
                return self.fail(read, deadline, error.detail, log).await;
            }
            VectorErrorKind::Temporary
            | VectorErrorKind::Unanswered
            | VectorErrorKind::TooSlow
            | VectorErrorKind::KeptObject
            | VectorErrorKind::InvalidId => {
                if last_try {
                    let detail = after_all_tries(&error.detail);
                    return self.fail(read, deadline, detail, log).await;
                }
                (Deferral::Failed, "the vector store failed")
            }
            VectorErrorKind::Throttled => (Deferral::Throttled, "the vector store throttled"),
            VectorErrorKind::OutOfTime => (Deferral::NoTime, "there was no time"),
        };
        let now = self.clock.now();
        let deferred = self
            .store
            .defer_if_unmoved(&read, &claim, deferral, now)
            .await;
        match deferred {
            Ok(()) => Ok(Verdict::Deferred(why)),
            Err(WorkError::Lost) => Ok(Verdict::Dropped("moved before it was claimed")),
            Err(WorkError::Store(error)) => Err(error),
        }
    }

    /// Ends a chunk whose objects cannot be looked for.
    async fn fail(
        &self,
        read: Work,
        deadline: DateTime<Utc>,
        detail: String,
        log: &mut MessageLog,
    ) -> Result<Verdict, StoreError> {
        let failed = Outcome::Failed(Reason::GaveUp(detail));
        let results: Vec<_> = read
            .open()
            .into_iter()
            .map(|at| (at, failed.clone()))
            .collect();
        let claim = new_claim(&read, [], deadline);
        let now = self.clock.now();
        let failed = self
            .store
            .fail_if_unmoved(read, &claim, &results, now)
            .await;
        match failed {
            Ok(settled) => {
                log.settled(&settled);
                Ok(Verdict::Recorded(settled.work.task.status))
            }
            Err(WorkError::Lost) => Ok(Verdict::Dropped("moved before it was claimed")),
            Err(WorkError::Store(error)) => Err(error),
        }
    }

    /// Records how a claim ended.
    async fn settle(
        &self,
        claimed: Work,
        results: &[(usize, Outcome)],
        why: Deferral,
        log: &mut MessageLog,
    ) -> Result<Verdict, StoreError> {
        let claimed_attempt = claimed.task.attempt;
        let now = self.clock.now();
        let settled = match self
            .store
            .settle_if_newest(claimed, results, why, now)
            .await
        {
            Ok(settled) => settled,
            Err(WorkError::Lost) => return Ok(Verdict::Dropped("superseded")),
            Err(WorkError::Store(error)) => return Err(error),
        };
        log.settled(&settled);
        let work = &settled.work;
        if work.task.attempt != claimed_attempt && !work.task.status.is_terminal() {
            // Restarted while this claim was in force: the new attempt's message met the claim and was dropped. Should
            // this one be lost too, the sweeper sends the next.
            let message = match work.task.status {
                TaskStatus::Processing => Message::of_chunk(&work.task, work.number),
                _ => Message::whole(&work.task),
            };
            if let Err(error) = self.queue.send(&message).await {
                log.cause(error);
            }
        }
        Ok(Verdict::Recorded(settled.work.task.status))
    }
}

/// What an object that is not in the index counts as: if a claim saw it there, it was this service that deleted it.
fn absent(read: &Work, position: usize) -> Outcome {
    match read.chunk.state.seen.contains(position) {
        true => Outcome::Deleted,
        false => Outcome::Failed(Reason::NotFound),
    }
}

fn new_claim(
    read: &Work,
    present: impl IntoIterator<Item = usize>,
    deadline: DateTime<Utc>,
) -> Claim {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let (attempt, lease_until) = (read.task.attempt, deadline + LEASE_MARGIN);
    read.chunk.claim(token, attempt, present, lease_until)
}
