//! Creating a task: one put, which wins or answers the winner. A task of several chunks has their ids written before it.

use super::expression::{b, n, s};
use super::item::{self, FanOut, InlineChunk, Item, Objects, StoredTask};
use super::{DISPATCH_GRACE, INDEX_HASH_KEY, INDEX_RANGE_KEY, KEY, StoreError, TaskStore};
use crate::task::{Fingerprint, ModelId, ObjectIds, Progress, Task, TaskId, TaskStatus};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure as OnFailure;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use futures_util::FutureExt;
use std::collections::HashMap;

/// What a create asks for.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// The task's name.
    pub id: TaskId,
    /// The embedding model.
    pub model: ModelId,
    /// The objects, each once.
    pub object_ids: ObjectIds,
    /// Of the model and the objects.
    pub fingerprint: Fingerprint,
    /// How long the task is kept.
    pub retention: TimeDelta,
}

/// What a create came to.
#[derive(Debug)]
pub enum Created {
    /// This call created the task.
    New(StoredTask),
    /// There was a task of this id already; this is it.
    Existing(StoredTask),
}

impl TaskStore {
    /// Creates a task unless there is one of its id, in one call either way if its objects fit in one chunk.
    ///
    /// For a larger one the ids are written first, under a name nobody else can have, and the task last: its put is the
    /// commit point. A create that dies or loses the race before leaves nothing that anybody reads, and that expires.
    /// Whether there is such a task already is asked before all that; the put decides all the same.
    ///
    /// # Errors
    /// When DynamoDB does not answer; the task may have been created all the same, and the same call says so.
    pub async fn create_if_absent(
        &self,
        new: NewTask,
        now: DateTime<Utc>,
    ) -> Result<Created, StoreError> {
        let created_at = now.trunc_subsecs(0);
        let expires_at = created_at + new.retention;
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let total = u32::try_from(new.object_ids.len()).unwrap_or(u32::MAX);
        let chunks = new.object_ids.chunks(self.chunk_limits);
        let objects = match chunks.len() {
            0 | 1 => Objects::Inline(Box::new(InlineChunk::new(&new.object_ids))),
            count => {
                let existing = self.load(&new.id).await?;
                if let Some(existing) = existing.filter(|task| !task.task.is_expired(now)) {
                    return Ok(Created::Existing(existing));
                }
                self.write_ids(&nonce, &new.object_ids, &chunks, expires_at)
                    .await?;
                Objects::Chunks(u32::try_from(count).unwrap_or(u32::MAX))
            }
        };
        let stored = StoredTask {
            baseline: 1,
            fingerprint: new.fingerprint,
            task: Task {
                id: new.id,
                model: new.model,
                status: TaskStatus::Pending,
                attempt: 1,
                created_at,
                updated_at: created_at,
                expires_at,
                progress: Progress {
                    total,
                    deleted: 0,
                    failed: 0,
                },
                detail: None,
            },
            objects,
            restart_op: None,
            cancel_op: None,
            fan_out: FanOut::default(),
            nonce,
        };
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.new_item(&stored)))
            // Nobody has the name, or its task has expired and only waits for Time to Live.
            .condition_expression("attribute_not_exists(#pk) OR #expires_at <= :now")
            .expression_attribute_names("#pk", KEY)
            .expression_attribute_names("#expires_at", "expires_at")
            .expression_attribute_values(":now", n(now.timestamp()))
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .send()
            .boxed()
            .await;
        let error = match result {
            Ok(_) => return Ok(Created::New(stored)),
            Err(error) => error,
        };
        let is_refused = error
            .as_service_error()
            .is_some_and(PutItemError::is_conditional_check_failed_exception);
        if !is_refused {
            return Err(error.into());
        }
        let winner = match error.into_service_error() {
            PutItemError::ConditionalCheckFailedException(refused) => refused.item,
            _ => None,
        };
        let winner = winner
            .ok_or_else(|| StoreError::Damaged("a refused put came without its winner".into()))?;
        let winner = StoredTask::from_item(winner)?;
        // The SDK sent the put again after its answer was lost: the winner is this very call.
        match winner.nonce == stored.nonce {
            true => Ok(Created::New(winner)),
            false => Ok(Created::Existing(winner)),
        }
    }

    fn new_item(&self, stored: &StoredTask) -> Item {
        let task = &stored.task;
        let due_at = task.created_at + DISPATCH_GRACE;
        let objects = match &stored.objects {
            Objects::Inline(chunk) => ("ids", chunk.ids_to_attribute()),
            Objects::Chunks(count) => ("chunks", n(count)),
        };
        HashMap::from(
            [
                (KEY, item::key_of(&task.id)),
                ("model", s(task.model.as_str())),
                ("status", s(task.status.as_str())),
                ("attempt", n(task.attempt)),
                ("baseline", n(stored.baseline)),
                ("nonce", s(&stored.nonce)),
                ("fingerprint", b(stored.fingerprint.as_bytes())),
                ("total", n(task.progress.total)),
                ("deleted", n(0)),
                ("failed", n(0)),
                ("remaining", n(task.progress.total)),
                ("created_at", n(task.created_at.timestamp())),
                ("updated_at", n(task.updated_at.timestamp())),
                ("expires_at", n(task.expires_at.timestamp())),
                ("due_at", n(due_at.timestamp())),
                ("sends", n(0)),
                objects,
                (INDEX_HASH_KEY, s(self.list_key(task.status, &task.id))),
                (
                    INDEX_RANGE_KEY,
                    s(item::list_position(task.created_at, task.id.as_str())),
                ),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        )
    }
}
