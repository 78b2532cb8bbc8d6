//! Restart and cancel: one guarded update each.

use super::expression::{GuardedUpdate, Written, n, s};
use super::item::{self, StoredTask};
use super::{DISPATCH_GRACE, INDEX_HASH_KEY, StoreError, TaskStore};
use crate::task::{Effect, Event, TaskId, TaskStatus};
use chrono::{DateTime, TimeDelta, Utc};

/// A restart in the last day before a task expires is refused: the work might not end in time.
const LAST_DAY: TimeDelta = TimeDelta::days(1);

/// Which objects a restart tries again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those that were not deleted.
    #[default]
    NotDeleted,
    /// Every object.
    All,
}

/// What a restart or cancel came to.
#[derive(Debug)]
pub enum Controlled {
    /// This call changed the task; so it is now.
    Changed(StoredTask),
    /// The task is already as the caller wants it.
    Unchanged(StoredTask),
}

/// Why a restart or cancel was not made.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such task, or it has expired.
    #[error("no such task")]
    NotFound,
    /// The attempt is not the one the caller named.
    #[error("the attempt is {0} by now")]
    AttemptMoved(u32),
    /// The task's status does not allow it.
    #[error("the task is {0}")]
    Refused(TaskStatus),
    /// A restart of every object while the task is at work.
    #[error("the task is {0}, and all its objects cannot be restarted")]
    AtWork(TaskStatus),
    /// A restart in the last day before the task expires.
    #[error("the task expires within a day")]
    ExpiresSoon(DateTime<Utc>),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TaskStore {
    /// Starts a terminal task again: `pending`, one attempt on.
    ///
    /// # Errors
    /// When the task does not allow it, is not there, or the store does not answer.
    pub async fn restart_if_terminal(
        &self,
        id: &TaskId,
        scope: Scope,
        attempt: Option<u32>,
        now: DateTime<Utc>,
    ) -> Result<Controlled, ControlError> {
        let op = new_op();
        let status = TaskStatus::Pending;
        let mut update = GuardedUpdate::default()
            // Where the SDK sends this again after its answer was lost, it must not act twice.
            .set("restart_op", s(&op))
            .when("attribute_not_exists(#restart_op) OR #restart_op <> :restart_op")
            .compute("attempt", "#attempt + :one")
            .value("one", n(1))
            .set("status", s(status.as_str()))
            .set(INDEX_HASH_KEY, s(self.list_key(status, id)))
            .set("failed", n(0))
            .set("sends", n(0))
            .set("due_at", n((now + DISPATCH_GRACE).timestamp()));
        update = match scope {
            Scope::NotDeleted => update.compute("remaining", "#remaining + #failed"),
            Scope::All => update
                .compute("baseline", "#attempt + :one")
                .compute("remaining", "#total")
                .set("deleted", n(0)),
        };
        let update = update
            .remove("failed_head")
            .remove("detail")
            // The new attempt fans out anew.
            .remove("fan_outs")
            .remove("fan_out_due_at")
            .when("#expires_at > :soon")
            .value("soon", n((now + LAST_DAY).timestamp()));
        let written = self
            .control(id, update, Event::Restart, attempt, &op, now)
            .await?;
        let stored = match written {
            Decided::Changed(stored) => return Ok(Controlled::Changed(stored)),
            Decided::Refused(stored) => stored,
        };
        match stored.task.status.on(Event::Restart) {
            Effect::Move(_) => Err(ControlError::ExpiresSoon(stored.task.expires_at)),
            Effect::Refuse => Err(ControlError::Refused(stored.task.status)),
            Effect::Nothing if scope == Scope::All => Err(ControlError::AtWork(stored.task.status)),
            Effect::Nothing => Ok(Controlled::Unchanged(stored)),
        }
    }

    /// Cancels a task that is pending or processing.
    ///
    /// # Errors
    /// When the task has ended otherwise, is not there, or the store does not answer.
    pub async fn cancel_if_open(
        &self,
        id: &TaskId,
        attempt: Option<u32>,
        now: DateTime<Utc>,
    ) -> Result<Controlled, ControlError> {
        let op = new_op();
        let status = TaskStatus::Canceled;
        let update = GuardedUpdate::default()
            // As for a restart.
            .set("cancel_op", s(&op))
            .when("attribute_not_exists(#cancel_op) OR #cancel_op <> :cancel_op")
            .set("status", s(status.as_str()))
            .set(INDEX_HASH_KEY, s(self.list_key(status, id)))
            .remove("due_at")
            .when("#expires_at > :now")
            .value("now", n(now.timestamp()));
        let written = self
            .control(id, update, Event::Cancel, attempt, &op, now)
            .await?;
        match written {
            Decided::Changed(stored) => Ok(Controlled::Changed(stored)),
            Decided::Refused(stored) => match stored.task.status.on(Event::Cancel) {
                Effect::Nothing => Ok(Controlled::Unchanged(stored)),
                Effect::Refuse | Effect::Move(_) => Err(ControlError::Refused(stored.task.status)),
            },
        }
    }

    /// Adds to `update` what restart and cancel both assume, sends it, and sorts out a refusal.
    async fn control(
        &self,
        id: &TaskId,
        update: GuardedUpdate,
        event: Event,
        attempt: Option<u32>,
        op: &str,
        now: DateTime<Utc>,
    ) -> Result<Decided, ControlError> {
        let mut update = update
            .set("updated_at", n(now.timestamp()))
            .when("attribute_exists(#pk)")
            .when_moved_by(event);
        if let Some(attempt) = attempt {
            update = update
                .when("#attempt = :if_attempt")
                .value("if_attempt", n(attempt));
        }
        let written = update
            .send(&self.client, &self.table, item::key_of(id), true)
            .await?;
        let (item, applied) = match written {
            Written::Applied(item) => (item, true),
            Written::Refused(item) => (item, false),
        };
        let stored = StoredTask::from_item(item.ok_or(ControlError::NotFound)?)?;
        let done_before = [&stored.restart_op, &stored.cancel_op];
        if applied || done_before.into_iter().flatten().any(|done| done == op) {
            return Ok(Decided::Changed(stored));
        }
        if stored.task.is_expired(now) {
            return Err(ControlError::NotFound);
        }
        match attempt {
            Some(named) if named != stored.task.attempt => {
                Err(ControlError::AttemptMoved(stored.task.attempt))
            }
            _ => Ok(Decided::Refused(stored)),
        }
    }
}

enum Decided {
    Changed(StoredTask),
    Refused(StoredTask),
}

fn new_op() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
