//! Creating a task: one conditional put.
//!
//! If the task has several chunks, their ids are written first.

use super::attribute::{self as attr, seconds};
use super::guarded::{Condition, Contention, absent, at_most};
use super::item::{FanOut, InlineChunk, Objects, StoredTask};
use super::{DISPATCH_GRACE, StoreError, TaskStore, Written, new_token};
use crate::task::{
    Attribution, Fingerprint, ModelId, ObjectIds, Progress, RequestReason, Task, TaskId, TaskStatus,
};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure as OnFailure;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use futures_util::FutureExt;

/// The data of a new task.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// The task's name.
    pub id: TaskId,
    /// The embedding model.
    pub model: ModelId,
    /// The objects, each once.
    pub object_ids: ObjectIds,
    /// The fingerprint of the model and the objects.
    pub fingerprint: Fingerprint,
    /// Why the objects are to be deleted, in the caller's words.
    pub reason: Option<RequestReason>,
    /// The IAM ARN of whoever asks.
    pub created_by: Option<String>,
    /// How long the task is kept.
    pub retention: TimeDelta,
}

impl TaskStore {
    /// Creates a task, or returns the task that already has its id.
    ///
    /// A task whose objects fit in one chunk takes one call in both cases. For a larger one the ids
    /// are written first, under a name that nobody else can have. The task is put last, and its put
    /// is the commit point. If a create dies or loses the race before that, nobody reads what it
    /// leaves, and it expires. We first check for an existing task, as an optimization; the
    /// conditional put is authoritative.
    ///
    /// # Errors
    /// If a call to DynamoDB fails. The task may have been created nevertheless: repeat the call to
    /// find out.
    pub async fn create_if_absent(
        &self,
        new: NewTask,
        now: DateTime<Utc>,
    ) -> Result<Written<StoredTask, StoredTask>, StoreError> {
        let created_at = now.trunc_subsecs(0);
        let expires_at = created_at + new.retention;
        let nonce = new_token();
        let total = u32::try_from(new.object_ids.len()).unwrap_or(u32::MAX);
        let chunks = new.object_ids.chunks(self.chunk_limits);
        let objects = match chunks.len() {
            0 | 1 => Objects::Inline(Box::new(InlineChunk::new(&new.object_ids))),
            count => {
                let existing = self.load(&new.id).await?;
                if let Some(existing) = existing.filter(|task| !task.task.is_expired(now)) {
                    return Ok(Written::NotApplied(existing));
                }
                self.write_ids(&nonce, &new.object_ids, &chunks, expires_at)
                    .await?;
                Objects::Chunks(u32::try_from(count).unwrap_or(u32::MAX))
            }
        };
        let stored = StoredTask {
            attribution: Attribution {
                reason: new.reason,
                created_by: new.created_by,
                changed_by: None,
            },
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
        let task = &stored.task;
        let partition = self.list_partition(task.status, &task.id);
        let due_at = task.created_at + DISPATCH_GRACE;
        let mut contention = Contention::default();
        let error = loop {
            let guard = id_is_free(now).into_expressions();
            let result = self
                .client
                .put_item()
                .table_name(&self.table)
                .set_item(Some(stored.to_new_item(partition.clone(), due_at)))
                .condition_expression(guard.condition)
                .set_expression_attribute_names(Some(guard.names))
                .set_expression_attribute_values(Some(guard.values))
                .return_values_on_condition_check_failure(OnFailure::AllOld)
                .send()
                .boxed()
                .await;
            match result {
                Ok(_) => return Ok(Written::Applied(stored)),
                // A settlement of the winner's chunks is in flight.
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(PutItemError::is_transaction_conflict_exception)
                        && contention.allows_another().await => {}
                Err(error) => break error,
            }
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
        // The SDK sent the put again after its response was lost: this call is the winner.
        Ok(if winner.nonce == stored.nonce {
            Written::Applied(winner)
        } else {
            Written::NotApplied(winner)
        })
    }
}

/// No task has the id, or its task has expired and waits for Time to Live to remove it.
fn id_is_free(now: DateTime<Utc>) -> Condition {
    absent(attr::KEY).or(at_most(attr::EXPIRES_AT, seconds(now)))
}
