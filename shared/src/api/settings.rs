//! The settings of the API.

use chrono::TimeDelta;
use std::str::FromStr;

/// How the API creates tasks.
#[derive(Clone, Copy, Debug)]
pub struct ApiConfig {
    /// How long a task is kept.
    pub retention: TimeDelta,
    /// What to do if a task id is used again for a different request.
    pub task_id_reuse: TaskIdReuse,
}

/// The response of `/run` if its task id names a task with another model or other objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskIdReuse {
    /// 200 and the stored task, with the header `Idempotent-Mismatch: true`.
    #[default]
    Return,
    /// 409.
    Reject,
}

impl FromStr for TaskIdReuse {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "return" => Ok(Self::Return),
            "reject" => Ok(Self::Reject),
            _ => Err(()),
        }
    }
}
