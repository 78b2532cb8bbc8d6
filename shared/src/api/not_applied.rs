//! The responses of restart and cancel if the task did not allow them.

use super::problem::Problem;
use crate::clock::rfc3339;
use crate::store::{Scope, StoredTask};
use crate::task::{Effect, Event, TaskId, TaskStatus};

/// A restart or cancel that was not applied.
pub(super) struct NotApplied {
    /// The task that the request named.
    pub(super) id: TaskId,
    /// The attempt that the caller named.
    pub(super) attempt: Option<u32>,
    /// The task that was found, if there is one.
    pub(super) found: Option<StoredTask>,
}

impl NotApplied {
    /// Returns the task, if a restart has nothing to change in it.
    ///
    /// # Errors
    /// The reason why it cannot be restarted.
    pub(super) fn restart(self, scope: Scope) -> Result<StoredTask, Problem> {
        let stored = self.task_in_attempt()?;
        let (id, status) = (&stored.task.id, stored.task.status);
        match status.on(Event::Restart) {
            Effect::Nothing if scope == Scope::All => Err(Problem::conflict(format!(
                "Task with ID `{id}` is {status}: `scope=all` is possible once it is done, failed or canceled"
            ))),
            Effect::Nothing => Ok(stored),
            // Its status and attempt allow a restart, so it was refused because the task expires
            // soon.
            Effect::Move(_) => Err(Problem::conflict(format!(
                "Task with ID `{id}` expires at {} and cannot be restarted in its last day: create a new task",
                rfc3339(stored.task.expires_at)
            ))),
            Effect::Refuse => Err(already(id, status, "restarted")),
        }
    }

    /// Returns the task, if it is canceled already.
    ///
    /// # Errors
    /// The reason why it cannot be canceled.
    pub(super) fn cancel(self) -> Result<StoredTask, Problem> {
        let stored = self.task_in_attempt()?;
        let status = stored.task.status;
        match status.on(Event::Cancel) {
            Effect::Nothing => Ok(stored),
            Effect::Refuse | Effect::Move(_) => Err(already(&stored.task.id, status, "canceled")),
        }
    }

    fn task_in_attempt(self) -> Result<StoredTask, Problem> {
        let id = self.id;
        let stored = self.found.ok_or_else(|| Problem::task_not_found(&id))?;
        match self.attempt {
            Some(named) if named != stored.task.attempt => Err(Problem::conflict(format!(
                "Task with ID `{id}` is now at attempt {}; the request named attempt {named}",
                stored.task.attempt
            ))),
            Some(_) | None => Ok(stored),
        }
    }
}

fn already(id: &TaskId, status: TaskStatus, verb: &str) -> Problem {
    Problem::conflict(format!(
        "Task with ID `{id}` is already {status}, so it cannot be {verb}"
    ))
}
