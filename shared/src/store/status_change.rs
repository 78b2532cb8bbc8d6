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

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn the_sequence_grows_with_each_change_of_the_tasks_of_one_id_and_is_exact_in_json() {
        let sequence = |seconds, attempt, status| {
            let mut task = Task::example();
            task.created_at += TimeDelta::seconds(seconds);
            (task.attempt, task.status) = (attempt, status);
            let change = StatusChange {
                task,
                attribution: Attribution::default(),
                previous: None,
            };
            change.sequence()
        };
        let mut in_order = Vec::new();
        // After a task has expired, another one with the same id may be created.
        for seconds in [0, 1, 10_000_000] {
            for attempt in [1, 2, 3, 333_332] {
                for status in [
                    TaskStatus::Pending,
                    TaskStatus::Processing,
                    TaskStatus::Done,
                ] {
                    in_order.push(sequence(seconds, attempt, status));
                }
            }
            let last = sequence(seconds, u32::MAX, TaskStatus::Done);
            let next_second = (last / PLACES + 1) * PLACES;
            assert_eq!(last, next_second - 1, "the last place of its second");
        }
        assert!(in_order.is_sorted_by(|a, b| a < b), "{in_order:?}");
        assert!(in_order.iter().all(|number| *number < 1 << 53));
        for end in [TaskStatus::Failed, TaskStatus::Canceled] {
            let done = sequence(0, 1, TaskStatus::Done);
            assert_eq!(sequence(0, 1, end), done, "an attempt has one end");
        }
    }
}
