//! The published form of a task.

use crate::clock::rfc3339;
use crate::store::{ListRow, ObjectOutcome, StoreError, StoredTask, TaskStore};
use crate::task::{Attribution, FailedItem, ModelId, Outcome, Progress, Task, TaskId, TaskStatus};
use serde::Serialize;

/// The most objects in `failed_item_ids`, except in a list.
pub const MAX_FAILURES: usize = 1000;
/// The most objects in one page of `items`.
pub const MAX_ITEMS: usize = 1000;

/// A task as every call shows it.
#[derive(Serialize)]
pub(crate) struct TaskBody {
    id: TaskId,
    embedding_model_id: ModelId,
    status: &'static str,
    created_at: String,
    updated_at: String,
    /// In every response, but in no event.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_item_ids: Option<Vec<FailedItem>>,
    detail: Option<String>,
    attempt: u32,
    progress: ProgressBody,
    /// In every response but a list's.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    attribution: Option<Attribution>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    items: Option<ItemsBody>,
}

#[derive(Serialize)]
struct ProgressBody {
    total: u32,
    deleted: u32,
    failed: u32,
    remaining: u32,
}

/// One page of the outcomes of objects.
#[derive(Serialize)]
struct ItemsBody {
    items: Vec<ItemBody>,
    items_cursor: Option<String>,
}

#[derive(Serialize)]
struct ItemBody {
    object_id: String,
    outcome: &'static str,
    detail: Option<String>,
}

/// One page of a list.
#[derive(Serialize)]
pub(super) struct ListBody {
    tasks: Vec<TaskBody>,
    next_cursor: Option<String>,
}

impl TaskBody {
    /// Creates the body of a task that was just read or written, and loads its first failures.
    ///
    /// A restart in between may leave counters and failures of two attempts in one response. Only
    /// `/info` reads again.
    pub(super) async fn load(store: &TaskStore, stored: StoredTask) -> Result<Self, StoreError> {
        let failures = store.failures(&stored, MAX_FAILURES).await?;
        Ok(Self::new(stored, failures.items))
    }

    /// Creates the body of a task with its first failures.
    pub(super) fn new(stored: StoredTask, failures: Vec<FailedItem>) -> Self {
        Self {
            failed_item_ids: Some(failures),
            ..Self::without_objects(stored.task, stored.attribution)
        }
    }

    /// Creates the body of a task without the id of any object.
    pub(crate) fn without_objects(task: Task, attribution: Attribution) -> Self {
        Self {
            failed_item_ids: None,
            attribution: Some(attribution),
            ..Self::row(task, Vec::new())
        }
    }

    /// Creates the body of a task in a list.
    fn row(task: Task, failures: Vec<FailedItem>) -> Self {
        Self {
            id: task.id,
            embedding_model_id: task.model,
            status: task.status.as_str(),
            created_at: rfc3339(task.created_at),
            updated_at: rfc3339(task.updated_at),
            failed_item_ids: Some(failures),
            // The reason is stored when the first object is given up, before the task itself has
            // failed.
            detail: task.detail.filter(|_| task.status == TaskStatus::Failed),
            attempt: task.attempt,
            progress: ProgressBody::new(task.progress),
            attribution: None,
            items: None,
        }
    }

    /// Adds a page of objects, and the cursor of the next page.
    pub(super) fn with_items(mut self, items: Vec<ObjectOutcome>, cursor: Option<String>) -> Self {
        self.items = Some(ItemsBody {
            items: items.into_iter().map(ItemBody::new).collect(),
            items_cursor: cursor,
        });
        self
    }
}

impl ProgressBody {
    fn new(progress: Progress) -> Self {
        Self {
            total: progress.total,
            deleted: progress.deleted,
            failed: progress.failed,
            remaining: progress.remaining(),
        }
    }
}

impl ItemBody {
    fn new(item: ObjectOutcome) -> Self {
        Self {
            outcome: item.outcome.as_str(),
            detail: match item.outcome {
                Outcome::Failed(reason) => Some(reason.detail().to_owned()),
                Outcome::Remaining | Outcome::Deleted => None,
            },
            object_id: item.object_id,
        }
    }
}

impl ListBody {
    /// Creates a page of a list, with the cursor of the next page.
    pub(super) fn new(rows: Vec<ListRow>, next_cursor: Option<String>) -> Self {
        let tasks = rows.into_iter();
        Self {
            tasks: tasks
                .map(|row| TaskBody::row(row.task, row.failed_head))
                .collect(),
            next_cursor,
        }
    }
}
