//! The service's responses about tasks.

use crate::when::Moment;
use serde::Deserialize;
use shared::task::TaskStatus;
use std::time::Duration;

/// The most failures of a task that are kept and shown.
pub(crate) const MAX_FAILURES: usize = 10;

/// The parts of a task that are shown.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) embedding_model_id: String,
    #[serde(deserialize_with = "status")]
    pub(crate) status: TaskStatus,
    pub(crate) created_at: Moment,
    pub(crate) updated_at: Moment,
    /// The first [`MAX_FAILURES`] failures.
    #[serde(deserialize_with = "first_failures")]
    pub(crate) failed_item_ids: Vec<FailedItem>,
    pub(crate) detail: Option<String>,
    pub(crate) attempt: u32,
    pub(crate) progress: Progress,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) created_by: Option<String>,
    #[serde(default)]
    pub(crate) changed_by: Option<String>,
    #[serde(default)]
    pub(super) items: Vec<Item>,
    #[serde(default)]
    pub(super) items_cursor: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FailedItem {
    pub(crate) object_id: String,
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) total: u64,
    pub(crate) deleted: u64,
    pub(crate) failed: u64,
    pub(crate) remaining: u64,
}

impl std::ops::AddAssign for Progress {
    fn add_assign(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        self.deleted = self.deleted.saturating_add(other.deleted);
        self.failed = self.failed.saturating_add(other.failed);
        self.remaining = self.remaining.saturating_add(other.remaining);
    }
}

/// What happened to one object.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) object_id: String,
    pub(crate) outcome: String,
    pub(crate) detail: Option<String>,
}

/// A response that holds a task.
#[derive(Clone, Debug)]
pub(crate) struct TaskResponse {
    pub(crate) task: Task,
    /// The service's own JSON on one line, if output is for programs.
    pub(crate) json: String,
    /// How long to wait before the next read, if the service says so.
    pub(crate) retry_after: Option<Duration>,
    /// Whether the task existed before.
    pub(crate) is_replayed: bool,
    /// Whether it existed before with other objects or for another model.
    pub(crate) is_mismatch: bool,
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct ListPage {
    pub(crate) tasks: Vec<(Task, String)>,
    pub(crate) next_cursor: Option<String>,
}

/// A page of a task's objects.
#[derive(Debug)]
pub(crate) struct ItemsPage {
    pub(crate) items: Vec<Item>,
    pub(crate) next_cursor: Option<String>,
    pub(crate) status: TaskStatus,
    pub(crate) attempt: u32,
}

/// Which tasks to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) status: Option<TaskStatus>,
    pub(crate) model: Option<String>,
    pub(crate) since: Option<Moment>,
    pub(crate) until: Option<Moment>,
}

fn status<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<TaskStatus, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| serde::de::Error::custom("it is not a status"))
}

/// Keeps only the first failures. A task may list a thousand of a kilobyte each.
fn first_failures<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<FailedItem>, D::Error> {
    let mut failures = Vec::deserialize(deserializer)?;
    failures.truncate(MAX_FAILURES);
    failures.shrink_to_fit();
    Ok(failures)
}
