//! Restart and cancel: one guarded update each.

use super::attribute::{self as attr, n, s, seconds};
use super::guarded::{
    Condition, GuardedUpdate, absent, differs, equals, exists, more_than, status_moved_by,
};
use super::item::{self, StoredTask};
use super::{DISPATCH_GRACE, StoreError, TaskStore, Written, new_token};
use crate::task::{Event, TaskId, TaskStatus};
use chrono::{DateTime, TimeDelta, Utc};

/// A restart in the last day before a task expires is refused: the work might not end in time.
const LAST_DAY: TimeDelta = TimeDelta::days(1);

/// The objects that a restart tries again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The objects that were not deleted.
    #[default]
    NotDeleted,
    /// Every object.
    All,
}

impl TaskStore {
    /// Restarts a terminal task: it becomes `pending` in the next attempt.
    ///
    /// If `attempt` is given, the task must still be in that attempt. `caller` is the IAM ARN of
    /// whoever asks.
    ///
    /// Returns the task after the restart. If the restart was refused, returns the task as it was
    /// found, or `None` if there is none or it has expired. If a refused task is terminal and in
    /// the named attempt, it was refused because it expires within a day.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn restart_if_terminal(
        &self,
        id: &TaskId,
        scope: Scope,
        attempt: Option<u32>,
        caller: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Written<StoredTask, Option<StoredTask>>, StoreError> {
        let op = new_token();
        let guard = sent_for_the_first_time(attr::RESTART_OP, &op)
            .and(status_moved_by(Event::Restart))
            .and(in_attempt(attempt))
            .and(expires_after(now + LAST_DAY));
        let update = GuardedUpdate::when(guard)
            .set(attr::RESTART_OP, s(&op))
            .set_or_remove(attr::CHANGED_BY, caller.map(s))
            .set_sum(attr::ATTEMPT, attr::ATTEMPT, n(1))
            .set(attr::FAILED, n(0))
            .set(attr::SENDS, n(0))
            .set(attr::DUE_AT, seconds(now + DISPATCH_GRACE))
            .remove(attr::FAILED_HEAD)
            .remove(attr::DETAIL)
            // The new attempt begins with a fan-out of its own.
            .remove(attr::FAN_OUTS)
            .remove(attr::FAN_OUT_DUE_AT);
        let update = match scope {
            Scope::NotDeleted => update.copy(attr::REMAINING, &[attr::REMAINING, attr::FAILED]),
            Scope::All => update
                .set_sum(attr::BASELINE, attr::ATTEMPT, n(1))
                .copy(attr::REMAINING, &[attr::TOTAL])
                .set(attr::DELETED, n(0)),
        };
        self.control(id, update, TaskStatus::Pending, &op, now)
            .await
    }

    /// Cancels a task that is pending or processing.
    ///
    /// If `attempt` is given, the task must still be in that attempt. `caller` is the IAM ARN of
    /// whoever asks.
    ///
    /// Returns the task after the cancel. If the cancel was refused, returns the task as it was
    /// found, or `None` if there is none or it has expired.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn cancel_if_open(
        &self,
        id: &TaskId,
        attempt: Option<u32>,
        caller: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Written<StoredTask, Option<StoredTask>>, StoreError> {
        let op = new_token();
        let guard = sent_for_the_first_time(attr::CANCEL_OP, &op)
            .and(status_moved_by(Event::Cancel))
            .and(in_attempt(attempt))
            .and(expires_after(now));
        let update = GuardedUpdate::when(guard)
            .set(attr::CANCEL_OP, s(&op))
            .set_or_remove(attr::CHANGED_BY, caller.map(s))
            .remove(attr::DUE_AT);
        self.control(id, update, TaskStatus::Canceled, &op, now)
            .await
    }

    /// Sends `update`, which moves the task to `status`.
    ///
    /// If the task that is found already has this `op`, the update was applied, and the SDK sent it
    /// twice.
    async fn control(
        &self,
        id: &TaskId,
        update: GuardedUpdate,
        status: TaskStatus,
        op: &str,
        now: DateTime<Utc>,
    ) -> Result<Written<StoredTask, Option<StoredTask>>, StoreError> {
        let update = self
            .in_status(update.and_when(exists(attr::KEY)), id, None, status)
            .set(attr::UPDATED_AT, seconds(now));
        let written = update
            .send_and_return(&self.client, &self.table, item::key_of(id))
            .await?;
        let (item, is_applied) = match written {
            Written::Applied(item) => (item, true),
            Written::NotApplied(item) => (item, false),
        };
        let Some(task) = item.map(StoredTask::from_item).transpose()? else {
            return Ok(Written::NotApplied(None));
        };
        let ops = [&task.restart_op, &task.cancel_op];
        if is_applied || ops.into_iter().flatten().any(|known| known == op) {
            return Ok(Written::Applied(task));
        }
        Ok(Written::NotApplied(
            Some(task).filter(|task| !task.task.is_expired(now)),
        ))
    }
}

/// The SDK sends a write again if its response was lost.
///
/// The second send must not act, even if a worker has ended the task since.
fn sent_for_the_first_time(op_attribute: &'static str, op: &str) -> Condition {
    absent(op_attribute).or(differs(op_attribute, s(op)))
}

/// The task is in the attempt that the caller named, if any.
fn in_attempt(named: Option<u32>) -> Condition {
    named.map_or_else(Condition::default, |named| equals(attr::ATTEMPT, n(named)))
}

fn expires_after(time: DateTime<Utc>) -> Condition {
    more_than(attr::EXPIRES_AT, seconds(time))
}
