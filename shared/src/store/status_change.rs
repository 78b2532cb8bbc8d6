//! A change of a task's status, as the table's stream shows it.

use super::StoreError;
use super::attribute::{self as attr, Attributes, Item};
use super::item::{self, NO_STATUS};
use crate::task::{Attribution, Task, TaskStatus};

/// Steps of an attempt, for [`StatusChange::sequence`].
const STEPS: u64 = 3;
/// Sequence numbers that are reserved for the steps of one task.
const PLACES: u64 = 1_000_000;

/// A task as it is after a write that changed its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusChange {
    /// The task, in the new status.
    pub task: Task,
    /// Why it exists, and who asked for it.
    pub attribution: Attribution,
    /// The status before the write. `None` if the write created the task.
    pub previous: Option<TaskStatus>,
}

impl StatusChange {
    /// Reads the image of an item after a write.
    ///
    /// Returns `None` if the write changed no task's status.
    ///
    /// # Errors
    /// If the image is a task, but not in the form in which this service writes it.
    pub fn read(image: Item) -> Result<Option<Self>, StoreError> {
        let mut item = Attributes::of(image);
        let Some(previous) = item.optional::<String>(attr::PREVIOUS_STATUS)? else {
            return Ok(None);
        };
        let previous = match previous.as_str() {
            NO_STATUS => None,
            other => Some(
                other
                    .parse()
                    .map_err(|()| item.damaged(attr::PREVIOUS_STATUS))?,
            ),
        };
        Ok(Some(Self {
            attribution: item::read_attribution(&mut item)?,
            task: item::read_task(&mut item)?,
            previous,
        }))
    }

    /// Returns a number that grows with each change of the status of the tasks with this id.
    ///
    /// It grows with the time of creation, then with the attempt, then with the step, up to attempt
    /// 333,332. It is below 2^53, so that every JSON parser reads it.
    pub fn sequence(&self) -> u64 {
        let created_at = self.task.created_at.timestamp().unsigned_abs();
        let step = u64::from(self.task.attempt) * STEPS + self.task.status.step();
        created_at * PLACES + step.min(PLACES - 1)
    }
}
