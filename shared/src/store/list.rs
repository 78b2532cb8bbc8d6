//! Lists: a lazy merge over the index's partitions, newest first.

use super::attribute::{self as attr, Attributes, Item, s};
use super::item;
use super::{INDEX_NAME, StoreError, TaskStore};
use crate::task::{FailedItem, ModelId, Task, TaskId, TaskStatus};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use std::collections::VecDeque;

/// The most index rows that one page reads. A page that has read this many ends, full or not.
pub const MAX_ROWS_READ: usize = 1000;

/// Queries of a page in flight at once.
///
/// A list of all statuses reads five partitions for each shard.
const CONCURRENT_QUERIES: usize = 20;
/// The rows that one read unit usually holds. Reading fewer at a time costs the same.
const ROWS_A_READ_UNIT: usize = 8;

/// A place in the total order of lists: the sort key of the last row that a page took.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskPosition(pub String);

impl TaskPosition {
    /// Returns a place before every task created in this second, and after every task created
    /// earlier.
    fn of_second(second: DateTime<Utc>) -> Self {
        Self(item::list_position(second, ""))
    }

    /// Returns whether a task could have this place: a creation time and an id.
    ///
    /// A cursor can be forged.
    pub fn is_well_formed(&self) -> bool {
        let parts = self.0.split_once('#');
        parts.is_some_and(|(time, id)| {
            time.len() == "2024-05-21T12:00:00Z".len()
                && DateTime::parse_from_rfc3339(time).is_ok()
                && TaskId::new(id).is_ok()
        })
    }
}

/// The tasks to list.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Only this status. If absent, all.
    pub status: Option<TaskStatus>,
    /// Only this model. If absent, all.
    pub model: Option<ModelId>,
    /// Only tasks created at this time or later.
    pub created_after: Option<DateTime<Utc>>,
    /// Only tasks created before this time.
    pub created_before: Option<DateTime<Utc>>,
}

impl ListFilter {
    /// Returns the place at which a list starts if it continues after `from`.
    ///
    /// Every row sorts before it.
    fn before(&self, from: Option<TaskPosition>) -> Option<TaskPosition> {
        let bound = self.created_before.map(TaskPosition::of_second);
        bound.into_iter().chain(from).min()
    }

    /// Returns whether the list shows a task of one of the partitions that it reads.
    fn wants(&self, task: &Task, now: DateTime<Utc>) -> bool {
        let model = self.model.as_ref();
        model.is_none_or(|model| *model == task.model) && !task.is_expired(now)
    }
}

/// One row of a list.
#[derive(Clone, Debug)]
pub struct ListRow {
    /// The task.
    pub task: Task,
    /// Its first failures.
    pub failed_head: Vec<FailedItem>,
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct ListPage {
    /// The rows, newest first.
    pub rows: Vec<ListRow>,
    /// Where the next page begins. `None` if nothing follows.
    pub next: Option<TaskPosition>,
}

impl TaskStore {
    /// Lists the tasks after `from`, newest first, at most `limit` of them. The index may lag.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn list(
        &self,
        filter: &ListFilter,
        limit: usize,
        from: Option<TaskPosition>,
        now: DateTime<Utc>,
    ) -> Result<ListPage, StoreError> {
        let statuses = match filter.status {
            Some(status) => vec![status],
            None => TaskStatus::ALL.to_vec(),
        };
        let before = filter.before(from);
        let end = filter.created_after.map(TaskPosition::of_second);
        let mut runs: Vec<Run> = statuses
            .into_iter()
            .flat_map(|status| {
                (0..self.shards).map(move |shard| item::list_partition(status, shard))
            })
            .map(|partition| Run::new(partition, before.clone(), end.clone()))
            .collect();
        // Fetches are small: a page's rows are spread over the runs, and rows that are fetched
        // beyond the page are wasted.
        let mut step = limit / runs.len() + 2;
        let mut taken = 0;
        let mut budget = MAX_ROWS_READ;
        let mut page = ListPage::default();
        let mut last: Option<TaskPosition> = None;
        loop {
            // Every run must have its next row before the newest row is known.
            let dry: Vec<_> = runs.iter_mut().filter(|run| run.is_dry()).collect();
            if !dry.is_empty() {
                let affordable = budget / dry.len();
                if affordable == 0 {
                    page.next = last;
                    return Ok(page);
                }
                let left = limit + 1 - page.rows.len();
                let fetches = dry.into_iter().map(|run| {
                    let wanted = match (&filter.model, taken) {
                        (None, 1..) => run.likely_share(left, taken),
                        _ => step,
                    };
                    run.fetch(self, wanted.min(affordable))
                });
                let fetches: Vec<_> = fetches.collect();
                let fetches = stream::iter(fetches).buffer_unordered(CONCURRENT_QUERIES);
                let read: Vec<usize> = fetches.try_collect().await?;
                if filter.model.is_some() {
                    step = step.saturating_mul(2); // the filter may reject most of what was read
                }
                budget = budget.saturating_sub(read.into_iter().sum());
                continue;
            }
            let newest = runs
                .iter_mut()
                .max_by(|a, b| a.head().cmp(&b.head()))
                .and_then(Run::take);
            let Some((position, item)) = newest else {
                return Ok(page); // every run is at its end
            };
            taken += 1;
            if page.rows.len() == limit {
                page.next = last;
                return Ok(page);
            }
            // A task that changed its status between two fetches may show up in both partitions.
            if last.as_ref() != Some(&position) {
                // A damaged row keeps its place, but is not shown.
                let row = item::or_skip(list_row(item));
                page.rows
                    .extend(row.filter(|row| filter.wants(&row.task, now)));
            }
            last = Some(position);
        }
    }
}

/// One partition of the index, read piece by piece.
struct Run {
    partition: String,
    /// Decoded only when the page takes them.
    ///
    /// Many of the rows that are read at the end of a page are not shown.
    rows: VecDeque<(TaskPosition, Item)>,
    /// Rows before this one are still to be read.
    before: Option<TaskPosition>,
    /// Rows that sort before this place are not wanted.
    end: Option<TaskPosition>,
    ended: bool,
    /// The number of rows that were taken out.
    taken: usize,
}

impl Run {
    fn new(partition: String, before: Option<TaskPosition>, end: Option<TaskPosition>) -> Self {
        Self {
            partition,
            rows: VecDeque::new(),
            before,
            end,
            ended: false,
            taken: 0,
        }
    }

    /// Estimates how many of the page's `left` free rows this run will supply, from its share of
    /// the `taken` rows so far.
    fn likely_share(&self, left: usize, taken: usize) -> usize {
        (left * self.taken).div_ceil(taken).max(ROWS_A_READ_UNIT)
    }

    /// Takes out the next row.
    fn take(&mut self) -> Option<(TaskPosition, Item)> {
        self.taken += 1;
        self.rows.pop_front()
    }

    fn is_dry(&self) -> bool {
        self.rows.is_empty() && !self.ended
    }

    fn head(&self) -> Option<&TaskPosition> {
        self.rows.front().map(|(position, _)| position)
    }

    /// Reads up to `step` further rows and returns how many there were.
    async fn fetch(&mut self, store: &TaskStore, step: usize) -> Result<usize, StoreError> {
        let mut query = store
            .client
            .query()
            .table_name(&store.table)
            .index_name(INDEX_NAME)
            .scan_index_forward(false)
            .limit(i32::try_from(step).unwrap_or(i32::MAX))
            .expression_attribute_names("#list_pk", attr::INDEX_HASH_KEY)
            .expression_attribute_values(":list_pk", s(&self.partition));
        query = match &self.before {
            None => query.key_condition_expression("#list_pk = :list_pk"),
            Some(before) => query
                .key_condition_expression("#list_pk = :list_pk AND #list_sk < :before")
                .expression_attribute_names("#list_sk", attr::INDEX_RANGE_KEY)
                .expression_attribute_values(":before", s(&before.0)),
        };
        let response = query.send().boxed().await?;
        let items = response.items.unwrap_or_default();
        let more = response
            .last_evaluated_key
            .is_some_and(|key| !key.is_empty());
        self.ended = items.is_empty() || !more;
        let read = items.len();
        for item in items {
            let Some(position) = position_of(&item) else {
                continue;
            };
            if self.end.as_ref().is_some_and(|end| position < *end) {
                self.ended = true;
                break;
            }
            self.rows.push_back((position, item));
        }
        if let Some((last, _)) = self.rows.back() {
            self.before = Some(last.clone());
        }
        Ok(read)
    }
}

/// Returns the place of an index row, or the place where a page of rows ended.
pub(super) fn position_of(item: &Item) -> Option<TaskPosition> {
    match item.get(attr::INDEX_RANGE_KEY) {
        Some(AttributeValue::S(key)) => Some(TaskPosition(key.clone())),
        _ => None,
    }
}

fn list_row(item: Item) -> Result<ListRow, StoreError> {
    let mut item = Attributes::of(item);
    Ok(ListRow {
        task: item::read_task(&mut item)?,
        failed_head: item::read_failed_head(&mut item)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_time_in_whole_seconds_of_utc_and_a_task_id() {
        let is_place = |text: &str| TaskPosition(text.to_owned()).is_well_formed();
        assert!(is_place("2024-05-21T12:00:00Z#t"));
        for other in [
            "2024-05-21T12:00:00+00:00#t",
            "2024-05-21T12:00:00Z#",
            "2024-05-21T12:00:60 #t",
            "2024-05-21T12:00:00Z",
        ] {
            assert!(!is_place(other), "{other}");
        }
    }
}
