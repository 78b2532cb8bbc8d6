//! What stands on the queue.

use super::Task;
use serde::{Deserialize, Serialize};

/// A queue message: carry out this task (or this chunk of it), if its attempt is still this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The task's id.
    pub task_id: String,
    /// The attempt the message belongs to. A message of an earlier attempt is stale.
    pub attempt: u32,
    /// The chunk's number, for a task of several; absent for the whole task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<u32>,
}

impl Message {
    /// The message for a whole task, in the attempt it is in.
    pub fn whole(task: &Task) -> Self {
        Self {
            task_id: task.id.to_string(),
            attempt: task.attempt,
            chunk: None,
        }
    }

    /// The message for a chunk of a task, in the attempt the task is in.
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
