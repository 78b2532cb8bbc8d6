//! The published shapes of a task.

use crate::store::{ListPage, ListRow, StoredTask};
use crate::task::{FailedItem, Outcome, Progress, Task};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

/// The most failures that `/info` and its like show in `failed_item_ids`.
const MAX_FAILED_ITEMS: usize = 1000;
/// The most objects in one page of `items`.
const MAX_ITEMS: usize = 1000;

/// RFC 3339, UTC, whole seconds.
pub(super) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A task as every call returns it.
#[derive(Serialize)]
pub(super) struct TaskBody {
    id: String,
    embedding_model_id: String,
    status: &'static str,
    created_at: String,
    updated_at: String,
    failed_item_ids: Vec<FailedBody>,
    detail: Option<String>,
    attempt: u32,
    progress: ProgressBody,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    items: Option<ItemsBody>,
}

#[derive(Serialize)]
struct FailedBody {
    object_id: String,
    detail: String,
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

/// Which objects `outcome=` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutcomeFilter {
    Deleted,
    Failed,
    Remaining,
    All,
}

impl OutcomeFilter {
    pub(super) const WORDS: [(&'static str, Self); 4] = [
        ("deleted", Self::Deleted),
        ("failed", Self::Failed),
        ("remaining", Self::Remaining),
        ("all", Self::All),
    ];

    fn lets_through(self, outcome: &Outcome) -> bool {
        match self {
            Self::Deleted => *outcome == Outcome::Deleted,
            Self::Failed => matches!(outcome, Outcome::Failed(_)),
            Self::Remaining => *outcome == Outcome::Remaining,
            Self::All => true,
        }
    }
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
    fn new(task: Task, failed: impl IntoIterator<Item = FailedItem>) -> Self {
        Self {
            id: task.id.to_string(),
            embedding_model_id: task.model.to_string(),
            status: task.status.as_str(),
            created_at: timestamp(task.created_at),
            updated_at: timestamp(task.updated_at),
            failed_item_ids: failed
                .into_iter()
                .map(|item| FailedBody {
                    object_id: item.object_id.to_string(),
                    detail: item.detail,
                })
                .collect(),
            detail: task.detail,
            attempt: task.attempt,
            progress: ProgressBody::of(task.progress),
            items: None,
        }
    }

    /// A task with its first 1,000 failures.
    pub(super) fn of(stored: &StoredTask) -> Self {
        let failed = outcomes(stored).filter_map(|(position, outcome)| match outcome {
            Outcome::Failed(reason) => Some(FailedItem {
                object_id: stored.chunk.ids.get(position)?.clone(),
                detail: reason.detail().to_owned(),
            }),
            Outcome::Remaining | Outcome::Deleted => None,
        });
        Self::new(stored.task.clone(), failed.take(MAX_FAILED_ITEMS))
    }

    /// Adds a page of `items`.
    pub(super) fn with_items(mut self, items: ItemsBody) -> Self {
        self.items = Some(items);
        self
    }
}

fn outcomes(stored: &StoredTask) -> impl Iterator<Item = (usize, Outcome)> {
    let (chunk, attempt, baseline) = (&stored.chunk, stored.task.attempt, stored.baseline);
    (0..chunk.ids.len()).map(move |i| (i, chunk.outcomes.at(i, attempt, baseline)))
}

impl ItemsBody {
    /// The page of objects from position `from` on; `cursor` makes a position into the next page's cursor.
    pub(super) fn page(
        stored: &StoredTask,
        filter: OutcomeFilter,
        from: usize,
        cursor: impl Fn(usize) -> String,
    ) -> Self {
        let mut wanted = outcomes(stored)
            .skip(from)
            .filter(|(_, outcome)| filter.lets_through(outcome));
        let items = wanted
            .by_ref()
            .take(MAX_ITEMS)
            .filter_map(|(position, outcome)| {
                Some(ItemBody {
                    object_id: stored.chunk.ids.get(position)?.to_string(),
                    outcome: outcome.as_str(),
                    detail: match outcome {
                        Outcome::Failed(reason) => Some(reason.detail().to_owned()),
                        Outcome::Remaining | Outcome::Deleted => None,
                    },
                })
            })
            .collect();
        let next = wanted.next().map(|(position, _)| position);
        Self {
            items,
            items_cursor: next.map(cursor),
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
