//! The message on the queue.

use super::Task;
use serde::{Deserialize, Serialize};

/// A queue message: an order to carry out a task, or one chunk of it.
///
/// It is stale if the task is no longer in this attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The task's id.
    pub task_id: String,
    /// The attempt that the message belongs to.
    pub attempt: u32,
    /// The chunk's number, if the task has several chunks. Absent for the whole task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<u32>,
}

impl Message {
    /// Creates the message for a whole task in its current attempt.
    pub fn whole(task: &Task) -> Self {
        Self {
            task_id: task.id.to_string(),
            attempt: task.attempt,
            chunk: None,
        }
    }

    /// Creates the message for a chunk of a task in its current attempt.
    pub fn of_chunk(task: &Task, chunk: Option<u32>) -> Self {
        Self {
            chunk,
            ..Self::whole(task)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_and_a_null_chunk_are_the_whole_task() {
        let whole = Message {
            task_id: "t".into(),
            attempt: 2,
            chunk: None,
        };
        for text in [
            r#"{"task_id":"t","attempt":2}"#,
            r#"{"task_id":"t","attempt":2,"chunk":null}"#,
        ] {
            assert_eq!(serde_json::from_str::<Message>(text).unwrap(), whole);
        }
        assert_eq!(
            serde_json::to_string(&whole).unwrap(),
            r#"{"task_id":"t","attempt":2}"#
        );
    }
}
