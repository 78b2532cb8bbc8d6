//! One message, from read to settlement: read the task, look in the store, claim and record what was seen, delete,
//! settle. See `docs/architecture.md`.

use super::deletion::{Budget, Deletion, Ended, Found, after_all_tries, look};
use super::{Verdict, Worker};
use crate::store::{ClaimError, Deferral, SettleError, StoreError, StoredTask};
use crate::task::{Chunk, Claim, Message, Outcome, Reason, TaskId, TaskStatus};
use crate::vector::{VectorError, VectorErrorKind};
use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

/// Claims without progress after which a task's open objects fail.
pub(super) const MAX_TRIES: u32 = 5;
/// How much longer than the invocation a lease lasts: a request that left just before the deadline has arrived, and
/// clocks that differ a little do no harm.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(10);

impl Worker {
    /// Carries out one message.
    ///
    /// # Errors
    /// When the task could not be read or written: the message is to come back.
    pub(super) async fn carry_out(
        &self,
        id: &TaskId,
        message: &Message,
        deadline: DateTime<Utc>,
    ) -> Result<Verdict, StoreError> {
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
        let open = read.chunk.open(read.task.attempt, read.baseline);
        let store = self.vectors.for_model(&read.task.model);
        let found = match &store {
            _ if open.is_empty() => Found::default(),
            None => {
                let model = &read.task.model;
                let detail = format!("No vector store is configured for embedding model `{model}`");
                return self.fail(&read, deadline, detail).await;
            }
            Some(store) => match look(store.as_ref(), &read.chunk.ids, &open, &budget).await {
                Ok(found) => found,
                Err(error) => return self.cannot_look(&read, deadline, error).await,
            },
        };
        if !budget.allows_a_call() && found.refused.is_empty() {
            return Ok(Verdict::HandedBack);
        }
        let claim = new_claim(&read.chunk, found.present.iter().copied(), deadline);
        let now = self.clock.now();
        match self.store.claim_if_unmoved(&read, &claim, now).await {
            Ok(()) => {}
            Err(ClaimError::Lost) => return Ok(Verdict::Dropped("moved before it was claimed")),
            Err(ClaimError::Store(error)) => return Err(error),
        }

        // From here on the claim is ours and what was seen is on record: what is gone now, we deleted.
        let mut results = found.results(&open, |at| absent(&read.chunk, at));
        let used_up = read.chunk.tries >= MAX_TRIES;
        let claimed = read.under(claim);
        let mut ended = match &store {
            Some(store) if !used_up => {
                let deletion = Deletion {
                    store: store.as_ref(),
                    tasks: &self.store,
                    claimed: &claimed,
                    budget: &budget,
                };
                deletion.run(&found.present).await
            }
            _ => Ended::gave_up(&found.present),
        };
        ended.open.extend(found.unknown);
        results.append(&mut ended.results);
        let last_try = claimed.chunk.tries >= MAX_TRIES && results.is_empty();
        results.extend(ended.given_up(last_try));
        self.settle(claimed, &results, ended.deferral()).await
    }

    /// Why there is nothing to do for a message.
    fn reason_to_drop(&self, read: &StoredTask, message: &Message) -> Option<&'static str> {
        let now = self.clock.now();
        if read.task.is_expired(now) {
            return Some("no such task");
        }
        if message.attempt != read.task.attempt {
            return Some("another attempt");
        }
        if message.chunk.is_some() {
            return Some("no such chunk");
        }
        if read.task.status.is_terminal() {
            return Some("ended already");
        }
        // Its holder settles it; if that one died, the sweeper sends the work again once the lease is over.
        read.chunk.is_leased(now).then_some("claimed by another")
    }

    /// The objects could not even be looked for: fails the task, or puts it off.
    async fn cannot_look(
        &self,
        read: &StoredTask,
        deadline: DateTime<Utc>,
        error: VectorError,
    ) -> Result<Verdict, StoreError> {
        let (task_id, kind, code) = (read.task.id.as_str(), error.kind, error.code.as_str());
        warn!(task_id, ?kind, code, "could not look");
        let last_try = read.chunk.tries + 1 >= MAX_TRIES;
        let (deferral, why) = match error.kind {
            VectorErrorKind::IndexMissing | VectorErrorKind::Denied => {
                return self.fail(read, deadline, error.detail).await;
            }
            VectorErrorKind::Temporary | VectorErrorKind::InvalidId if last_try => {
                return self
                    .fail(read, deadline, after_all_tries(&error.detail))
                    .await;
            }
            VectorErrorKind::Temporary | VectorErrorKind::InvalidId => {
                (Deferral::Failed, "the vector store failed")
            }
            VectorErrorKind::Throttled => (Deferral::Throttled, "the vector store throttled"),
            VectorErrorKind::OutOfTime => (Deferral::NoTime, "there was no time"),
        };
        let claim = new_claim(&read.chunk, [], deadline);
        let now = self.clock.now();
        let deferred = self
            .store
            .defer_if_unmoved(read, &claim, deferral, now)
            .await;
        unless_lost(deferred, Verdict::Deferred(why))
    }

    /// Ends a task whose objects cannot be looked for.
    async fn fail(
        &self,
        read: &StoredTask,
        deadline: DateTime<Utc>,
        detail: String,
    ) -> Result<Verdict, StoreError> {
        let (attempt, baseline) = (read.task.attempt, read.baseline);
        let open = read.chunk.open(attempt, baseline).into_iter();
        let results: Vec<_> = open
            .map(|at| (at, Outcome::Failed(Reason::GaveUp(detail.clone()))))
            .collect();
        let status = TaskStatus::Processing;
        let end = read
            .chunk
            .settle(&results, status, attempt, attempt, baseline);
        let claim = new_claim(&read.chunk, [], deadline);
        let now = self.clock.now();
        let failed = self.store.fail_if_unmoved(read, &claim, &end, now).await;
        let recorded = Verdict::Recorded {
            status: end.status.as_str(),
            deleted: end.deleted,
            failed: end.failed,
        };
        unless_lost(failed, recorded)
    }

    /// Records how a claim ended.
    async fn settle(
        &self,
        claimed: StoredTask,
        results: &[(usize, Outcome)],
        why: Deferral,
    ) -> Result<Verdict, StoreError> {
        let now = self.clock.now();
        let (end, stored) = match self
            .store
            .settle_if_newest(claimed, results, why, now)
            .await
        {
            Ok(settled) => settled,
            Err(SettleError::Superseded) => return Ok(Verdict::Dropped("superseded")),
            Err(SettleError::Store(error)) => return Err(error),
        };
        if stored.task.status == TaskStatus::Pending {
            // Restarted while this claim was in force: the new attempt's message met the claim and was dropped. Should
            // this one be lost too, the sweeper sends the next.
            let _ = self.queue.send(&Message::whole(&stored.task)).await;
        }
        Ok(Verdict::Recorded {
            status: stored.task.status.as_str(),
            deleted: end.deleted,
            failed: end.failed,
        })
    }
}

/// What an object that is not in the index counts as: if a claim saw it there, it was this service that deleted it.
fn absent(chunk: &Chunk, position: usize) -> Outcome {
    match chunk.seen.contains(position) {
        true => Outcome::Deleted,
        false => Outcome::Failed(Reason::NotFound),
    }
}

fn new_claim(
    chunk: &Chunk,
    present: impl IntoIterator<Item = usize>,
    deadline: DateTime<Utc>,
) -> Claim {
    let token = uuid::Uuid::new_v4().simple().to_string();
    chunk.claim(token, present, deadline + LEASE_MARGIN)
}

fn unless_lost(written: Result<(), ClaimError>, verdict: Verdict) -> Result<Verdict, StoreError> {
    match written {
        Ok(()) => Ok(verdict),
        Err(ClaimError::Lost) => Ok(Verdict::Dropped("moved before it was claimed")),
        Err(ClaimError::Store(error)) => Err(error),
    }
}
