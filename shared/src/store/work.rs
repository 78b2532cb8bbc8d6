//! The worker's guarded writes: claim, settle, and the two ends of work that could not be claimed.

use super::expression::{GuardedUpdate, Written, n, s};
use super::item::{self, StoredTask};
use super::{INDEX_HASH_KEY, StoreError, TaskStore, resend_delay};
use crate::task::{Claim, Event, Outcome, Settlement, TaskStatus};
use chrono::{DateTime, Utc};

/// Why a claim, or another write that needs the work to be free, was not made.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The task has moved since it was read: another worker, a restart or a cancel was first.
    #[error("the task has moved")]
    Lost,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a settlement was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// A newer claim has taken over; nothing was changed.
    #[error("a newer claim has taken over")]
    Superseded,
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
}

impl TaskStore {
    /// Takes the work of `read`, if nothing has moved since it was read and no other claim is in force.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when somebody was first.
    pub async fn claim_if_unmoved(
        &self,
        read: &StoredTask,
        claim: &Claim,
        now: DateTime<Utc>,
    ) -> Result<(), ClaimError> {
        let status = TaskStatus::Processing;
        let update = self
            .guarded_by_read(read, claim, Event::Claim, now)
            .set("status", s(status.as_str()))
            .set(INDEX_HASH_KEY, s(self.list_key(status, &read.task.id)))
            .set("lease_until", n(claim.lease_until.timestamp_millis()))
            .set_or_remove("seen", item::seen_to_attribute(&claim.seen))
            .set("tries", n(claim.tries))
            .set("due_at", n(claim.lease_until.timestamp() + 1));
        self.send_guarded(read, claim, update).await
    }

    /// Puts work off that could not even be looked at: it becomes due again later, ever more slowly.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when somebody was first.
    pub async fn defer_if_unmoved(
        &self,
        read: &StoredTask,
        claim: &Claim,
        why: Deferral,
        now: DateTime<Utc>,
    ) -> Result<(), ClaimError> {
        let tries = match why {
            Deferral::Throttled | Deferral::NoTime => read.chunk.tries,
            Deferral::Failed => claim.tries,
        };
        let update = self
            .guarded_by_read(read, claim, Event::Claim, now)
            .set("tries", n(tries))
            .set("due_at", n((now + resend_delay(read.sends)).timestamp()))
            .remove("lease_until");
        self.send_guarded(read, claim, update).await
    }

    /// Ends a task whose objects cannot even be looked for: every open object fails with one reason, and what earlier
    /// claims saw stays on record.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when somebody was first.
    pub async fn fail_if_unmoved(
        &self,
        read: &StoredTask,
        claim: &Claim,
        end: &Settlement,
        now: DateTime<Utc>,
    ) -> Result<(), ClaimError> {
        let update = self.guarded_by_read(read, claim, Event::Fail, now);
        let update = self.record(update, read, end, end.status);
        self.send_guarded(read, claim, update).await
    }

    /// An update that takes the fence, on condition that the task is just as it was read: the same task, attempt and
    /// claim, and that claim's lease (which was over when it was read) neither released nor renewed.
    fn guarded_by_read(
        &self,
        read: &StoredTask,
        claim: &Claim,
        event: Event,
        now: DateTime<Utc>,
    ) -> GuardedUpdate {
        let update = GuardedUpdate::default()
            .set("fence", n(claim.fence))
            .set("claim", s(&claim.token))
            .set("updated_at", n(now.timestamp()))
            .when("#nonce = :read_nonce AND #attempt = :read_attempt AND #fence = :read_fence")
            .value("read_nonce", s(&read.nonce))
            .value("read_attempt", n(read.task.attempt))
            .value("read_fence", n(read.chunk.fence))
            // No lease outlives its task: another of the same id may come right after.
            .when("#expires_at > :lease_end")
            .value("lease_end", n(claim.lease_until.timestamp() + 1))
            .when_moved_by(event);
        match read.chunk.lease_until {
            None => update.when("attribute_not_exists(#lease_until)"),
            Some(over) => update
                .when("#lease_until = :read_lease")
                .value("read_lease", n(over.timestamp_millis())),
        }
    }

    async fn send_guarded(
        &self,
        read: &StoredTask,
        claim: &Claim,
        update: GuardedUpdate,
    ) -> Result<(), ClaimError> {
        let key = item::key_of(&read.task.id);
        match update.send(&self.client, &self.table, key, false).await? {
            Written::Applied(_) => Ok(()),
            Written::Refused(None) => Err(ClaimError::Lost),
            Written::Refused(Some(item)) => {
                // Sent again by the SDK after its answer was lost: it succeeded the first time.
                let stored = StoredTask::from_item(item)?;
                match stored.chunk.claim.as_ref() == Some(&claim.token) {
                    true => Ok(()),
                    false => Err(ClaimError::Lost),
                }
            }
        }
    }

    /// Records the end of a claim, whatever became of the task meanwhile, unless a newer claim has taken over. Answers
    /// the status and attempt it was recorded under.
    ///
    /// `claimed` is the task as it is under the claim: as it was read, with the claim's fence and record in place.
    ///
    /// # Errors
    /// [`SettleError::Superseded`] when a newer claim has taken over: nothing was changed.
    pub async fn settle_if_newest(
        &self,
        mut claimed: StoredTask,
        results: &[(usize, Outcome)],
        why: Deferral,
        now: DateTime<Utc>,
    ) -> Result<(Settlement, StoredTask), SettleError> {
        let claimed_attempt = claimed.task.attempt;
        let token = claimed.chunk.claim.clone().unwrap_or_default();
        loop {
            let task = &claimed.task;
            let end = claimed.chunk.settle(
                results,
                task.status,
                claimed_attempt,
                task.attempt,
                claimed.baseline,
            );
            let status = match task.status {
                TaskStatus::Processing => end.status,
                // Canceled, or restarted and pending: the result is recorded, the status stays.
                other => other,
            };
            let update = GuardedUpdate::default()
                .set("updated_at", n(now.timestamp()))
                .when("#claim = :token AND attribute_exists(#lease_until)")
                .value("token", s(&token))
                .when("#attempt = :read_attempt AND #status = :read_status")
                .value("read_attempt", n(task.attempt))
                .value("read_status", s(task.status.as_str()));
            let update = self.record(update, &claimed, &end, status);
            let update = match status {
                TaskStatus::Processing => self.put_off(update, &claimed, &end, why, now),
                TaskStatus::Pending
                | TaskStatus::Done
                | TaskStatus::Failed
                | TaskStatus::Canceled => update,
            };
            let key = item::key_of(&task.id);
            let found = match update.send(&self.client, &self.table, key, false).await? {
                Written::Applied(_) => {
                    claimed.task.status = status;
                    return Ok((end, claimed));
                }
                Written::Refused(Some(item)) => StoredTask::from_item(item)?,
                Written::Refused(None) => return Err(SettleError::Superseded),
            };
            if found.chunk.claim.as_ref() != Some(&token) {
                return Err(SettleError::Superseded);
            }
            if found.chunk.lease_until.is_none() {
                // Sent again by the SDK after its answer was lost: it succeeded the first time.
                return Ok((end, found));
            }
            // Canceled or restarted meanwhile: the same results, seen from there. Each round of this loop needs another
            // caller's call in between.
            claimed = found;
        }
    }

    /// Adds a settlement's parts to `update`.
    fn record(
        &self,
        update: GuardedUpdate,
        stored: &StoredTask,
        end: &Settlement,
        status: TaskStatus,
    ) -> GuardedUpdate {
        let mut update = update
            .set("status", s(status.as_str()))
            .set(INDEX_HASH_KEY, s(self.list_key(status, &stored.task.id)))
            .set("deleted", n(end.deleted))
            .set("failed", n(end.failed))
            .set_or_remove("failed_head", item::head_to_json(&end.failed_head))
            .set_or_remove("seen", item::seen_to_attribute(&end.seen))
            .remove("lease_until");
        for (name, value) in item::outcomes_to_attributes(&end.outcomes) {
            update = update.set_or_remove(name, value);
        }
        if status.is_terminal() {
            update = update.remove("due_at");
        }
        if status == TaskStatus::Failed {
            update = update.set_or_remove("detail", end.detail.as_ref().map(s));
        }
        update
    }

    /// Work remains: it is due again at once where there was progress, and ever later where there was none.
    fn put_off(
        &self,
        update: GuardedUpdate,
        claimed: &StoredTask,
        end: &Settlement,
        why: Deferral,
        now: DateTime<Utc>,
    ) -> GuardedUpdate {
        let progress = claimed.task.progress;
        let moved = end.deleted + end.failed > progress.deleted + progress.failed;
        let tries = match why {
            _ if moved => 0,
            Deferral::Throttled | Deferral::NoTime => claimed.chunk.tries.saturating_sub(1),
            Deferral::Failed => claimed.chunk.tries,
        };
        let (sends, due_at) = match moved {
            true => (0, now),
            false => (claimed.sends, now + resend_delay(claimed.sends)),
        };
        update
            .set("tries", n(tries))
            .set("due_at", n(due_at.timestamp()))
            .set("sends", n(sends))
    }
}

impl StoredTask {
    /// The task as it is once `claim` is made on it.
    #[must_use]
    pub fn under(mut self, claim: Claim) -> Self {
        self.task.status = TaskStatus::Processing;
        self.chunk.fence = claim.fence;
        self.chunk.claim = Some(claim.token);
        self.chunk.lease_until = Some(claim.lease_until);
        self.chunk.tries = claim.tries;
        self.chunk.seen = claim.seen;
        self
    }

    /// Whether the task, as it is now, is still at work under the claim that `claimed` holds.
    pub fn is_still_claimed_as(&self, claimed: &Self) -> bool {
        self.chunk.claim == claimed.chunk.claim
            && self.chunk.lease_until.is_some()
            && self.task.status == TaskStatus::Processing
            && self.task.attempt == claimed.task.attempt
    }
}
