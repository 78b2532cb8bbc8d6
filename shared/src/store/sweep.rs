//! What the sweeper asks for: work that is due, taken over for one more send.

use super::expression::{GuardedUpdate, Written, n, s};
use super::item::{self, Item};
use super::reader::Reader;
use super::{INDEX_HASH_KEY, INDEX_NAME, StoreError, TaskStore, resend_delay};
use crate::task::{TaskId, TaskStatus};
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::try_join_all;

/// The rows of a partition among which the oldest pending task is looked for.
const OLDEST_ROWS: i32 = 100;

/// A task whose message may be lost or whose worker may have died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTask {
    /// The task's name.
    pub id: TaskId,
    /// Its attempt, as the index has it.
    pub attempt: u32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    status: TaskStatus,
    due_at: i64,
    sends: u32,
}

/// One page of an index partition's due tasks.
#[derive(Debug)]
pub struct DuePage {
    /// The due tasks, oldest first.
    pub tasks: Vec<DueTask>,
    /// Where the next page begins; `None` at the end of the partition.
    pub next: Option<PageStart>,
}

/// Where a page of due tasks begins.
#[derive(Debug)]
pub struct PageStart(Item);

impl TaskStore {
    /// The partitions the sweeper walks: every shard of what is processing, then of what is pending. Each minute begins
    /// with another shard, so that a backlog too long for one sweep starves none.
    pub fn open_partitions(&self, now: DateTime<Utc>) -> Vec<(TaskStatus, u32)> {
        let shards = self.shards.max(1);
        let minute = now.timestamp().div_euclid(60).rem_euclid(shards.into());
        let first = u32::try_from(minute).unwrap_or_default();
        [TaskStatus::Processing, TaskStatus::Pending]
            .into_iter()
            .flat_map(|status| (0..shards).map(move |n| (status, (first + n) % shards)))
            .collect()
    }

    /// One page of the tasks in a partition that are due at `now`, oldest first. The index may lag.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn due_tasks(
        &self,
        (status, shard): (TaskStatus, u32),
        from: Option<PageStart>,
        now: DateTime<Utc>,
    ) -> Result<DuePage, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(INDEX_NAME)
            .key_condition_expression("#list_pk = :list_pk")
            .filter_expression("#due_at <= :now AND #expires_at > :now")
            .expression_attribute_names("#list_pk", INDEX_HASH_KEY)
            .expression_attribute_names("#due_at", "due_at")
            .expression_attribute_names("#expires_at", "expires_at")
            .expression_attribute_values(":list_pk", s(item::list_partition(status, shard)))
            .expression_attribute_values(":now", n(now.timestamp()))
            .set_exclusive_start_key(from.map(|start| start.0))
            .send()
            .boxed()
            .await?;
        let tasks = answer.items.unwrap_or_default().into_iter();
        Ok(DuePage {
            tasks: tasks
                .filter_map(|row| item::or_skip(due_task(row)))
                .collect(),
            next: answer
                .last_evaluated_key
                .filter(|key| !key.is_empty())
                .map(PageStart),
        })
    }

    /// Since when the oldest pending task is pending; `None` where none is. The index may lag.
    ///
    /// A task is pending since its creation. One that was restarted is since its last change, as the index does not say when
    /// that was; it stands in the index where it was created, so among the first rows, before the oldest of the others.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn oldest_pending(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let shards = (0..self.shards.max(1)).map(|shard| self.oldest_pending_in(shard, now));
        let oldest = try_join_all(shards).await?;
        Ok(oldest.into_iter().flatten().min())
    }

    async fn oldest_pending_in(
        &self,
        shard: u32,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let partition = item::list_partition(TaskStatus::Pending, shard);
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(INDEX_NAME)
            .key_condition_expression("#list_pk = :list_pk")
            .expression_attribute_names("#list_pk", INDEX_HASH_KEY)
            .expression_attribute_values(":list_pk", s(partition))
            .limit(OLDEST_ROWS)
            .send()
            .boxed()
            .await?;
        let rows = answer.items.unwrap_or_default().into_iter();
        let tasks = rows.filter_map(|row| item::or_skip(Reader::new(row).task()));
        let pending_since =
            tasks
                .filter(|task| !task.is_expired(now))
                .map(|task| match task.attempt {
                    1 => task.created_at,
                    _ => task.updated_at,
                });
        Ok(pending_since.min())
    }

    /// Takes a due task over for one more send: puts its next one off, if nothing has moved. `false`: somebody else
    /// has it.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn redispatch_if_due(
        &self,
        due: &DueTask,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let dispatch = s(uuid::Uuid::new_v4().simple().to_string());
        let next_due = now + resend_delay(due.sends + 1);
        let update = GuardedUpdate::default()
            .set("due_at", n(next_due.timestamp()))
            .set("sends", n(due.sends + 1))
            .set("dispatch", dispatch.clone())
            .when("#status = :read_status AND #attempt = :read_attempt")
            .value("read_status", s(due.status.as_str()))
            .value("read_attempt", n(due.attempt))
            .when("#due_at = :read_due_at AND #sends = :read_sends")
            .value("read_due_at", n(due.due_at))
            .value("read_sends", n(due.sends));
        let key = item::key_of(&due.id);
        match update.send(&self.client, &self.table, key, false).await? {
            Written::Applied(_) => Ok(true),
            // Sent again by the SDK after its answer was lost: it succeeded the first time.
            Written::Refused(item) => {
                Ok(item.is_some_and(|item| item.get("dispatch") == Some(&dispatch)))
            }
        }
    }
}

fn due_task(item: Item) -> Result<DueTask, StoreError> {
    let mut reader = Reader::new(item);
    let task = reader.task()?;
    Ok(DueTask {
        id: task.id,
        attempt: task.attempt,
        created_at: task.created_at,
        status: task.status,
        due_at: reader.number("due_at")?,
        sends: reader.number("sends")?,
    })
}
