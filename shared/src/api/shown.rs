//! What an answer shows of a task: the task, its first failures, and a page of its objects where that is asked for.

use super::answer::{Answer, RequestLog};
use super::body::TaskBody;
use super::problem::Problem;
use crate::store::{OutcomePage, Place, StoreError, StoredTask, TaskStore};
use crate::task::{FailedItem, OutcomeFilter, TaskId};
use chrono::{DateTime, Utc};

/// The most failures that an answer shows in `failed_item_ids`.
pub const MAX_FAILURES: usize = 1000;
/// The most objects in one page of `items`.
pub const MAX_ITEMS: usize = 1000;
/// How often a task is read that is restarted again and again while it is read.
const MAX_READS: u32 = 3;

/// What an answer shows of a task.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) stored: StoredTask,
    pub(super) failures: Vec<FailedItem>,
    pub(super) page: Option<OutcomePage>,
    /// Whether the task was restarted while it was read: its objects may be of a later attempt.
    restarted: bool,
}

impl Shown {
    /// A task as a call has just found or left it.
    pub(super) async fn of(store: &TaskStore, stored: StoredTask) -> Result<Self, StoreError> {
        let (failures, restarted) = store.failures(&stored, MAX_FAILURES).await?;
        Ok(Self {
            stored,
            failures,
            page: None,
            restarted,
        })
    }

    /// A task as it is stored, with the objects that `asked` asks for.
    pub(super) async fn load(
        store: &TaskStore,
        id: &TaskId,
        asked: Option<(OutcomeFilter, Place)>,
        now: DateTime<Utc>,
    ) -> Result<Self, Problem> {
        let mut reads = 0;
        loop {
            reads += 1;
            let stored = store.load(id).await?;
            let stored = stored
                .filter(|stored| !stored.task.is_expired(now))
                .ok_or_else(|| Problem::task_not_found(id))?;
            let mut shown = Self::of(store, stored).await?;
            if let Some((filter, place)) = asked {
                let page = store.outcomes(&shown.stored, filter, place, MAX_ITEMS);
                let page = page.await?;
                shown.restarted |= page.restarted;
                shown.page = Some(page);
            }
            if !shown.restarted || reads == MAX_READS {
                return Ok(shown);
            }
        }
    }
}

/// The answer of a call that has just found or left a task like this.
pub(super) async fn answer_with(
    store: &TaskStore,
    stored: StoredTask,
    log: &mut RequestLog,
) -> Result<Answer, Problem> {
    log.task(&stored.task);
    let shown = Shown::of(store, stored).await?;
    Answer::json(&TaskBody::of(shown))
}
