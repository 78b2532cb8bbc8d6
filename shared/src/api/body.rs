//! The published shapes of a task.

use super::shown::Shown;
use crate::store::{ListPage, ListRow, OutcomePage, Place};
use crate::task::{FailedItem, ModelId, Outcome, Progress, Task, TaskId, TaskStatus};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

/// RFC 3339, UTC, whole seconds.
pub(super) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A task as every call returns it.
#[derive(Serialize)]
pub(super) struct TaskBody {
    id: TaskId,
    embedding_model_id: ModelId,
    status: &'static str,
    created_at: String,
    updated_at: String,
    failed_item_ids: Vec<FailedItem>,
    detail: Option<String>,
    attempt: u32,
    progress: ProgressBody,
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

/// One page of what happened to each object.
#[derive(Serialize)]
pub(super) struct ItemsBody {
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

impl ProgressBody {
    fn of(progress: Progress) -> Self {
        Self {
            total: progress.total,
            deleted: progress.deleted,
            failed: progress.failed,
            remaining: progress.remaining(),
        }
    }
}

impl TaskBody {
    fn new(task: Task, failed: Vec<FailedItem>) -> Self {
        Self {
            id: task.id,
            embedding_model_id: task.model,
            status: task.status.as_str(),
            created_at: timestamp(task.created_at),
            updated_at: timestamp(task.updated_at),
            failed_item_ids: failed,
            // What was given up on is on record before the task has failed.
            detail: task.detail.filter(|_| task.status == TaskStatus::Failed),
            attempt: task.attempt,
            progress: ProgressBody::of(task.progress),
            items: None,
        }
    }

    /// A task with its first failures.
    pub(super) fn of(shown: Shown) -> Self {
        Self::new(shown.stored.task, shown.failures)
    }

    /// Adds a page of `items`.
    pub(super) fn with_items(mut self, items: ItemsBody) -> Self {
        self.items = Some(items);
        self
    }
}

impl ItemsBody {
    /// A page of objects; `cursor` makes a place into the next page's cursor.
    pub(super) fn of(page: OutcomePage, cursor: impl Fn(Place) -> String) -> Self {
        let items = page.items.into_iter().map(|item| ItemBody {
            outcome: item.outcome.as_str(),
            detail: match item.outcome {
                Outcome::Failed(reason) => Some(reason.detail().to_owned()),
                Outcome::Remaining | Outcome::Deleted => None,
            },
            object_id: item.object_id,
        });
        Self {
            items: items.collect(),
            items_cursor: page.next.map(cursor),
        }
    }
}

impl ListBody {
    pub(super) fn of(page: ListPage, cursor: impl Fn(&str) -> String) -> Self {
        let body = |row: ListRow| TaskBody::new(row.task, row.failed_head);
        Self {
            tasks: page.rows.into_iter().map(body).collect(),
            next_cursor: page.next.map(|position| cursor(&position.0)),
        }
    }
}
