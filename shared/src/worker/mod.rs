//! Carrying out messages, and sweeping up what was lost.
//!
//! `carry_out.rs` is one message from read to settlement, `deletion.rs` the calls to the vector store within it,
//! `batches.rs` which objects go together, `budget.rs` the time, `fan_out.rs` the first message of a large task, `log.rs` a message's line of log, `sweeper.rs`
//! the schedule's job. Here: a batch of messages, and which of them come back.

mod batches;
mod budget;
mod carry_out;
mod deletion;
mod fan_out;
mod log;
mod sweeper;

pub use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
pub use sweeper::{SweepReport, Sweeper, Tick};

use crate::clock::Clock;
use crate::queue::{QueueError, TaskQueue};
use crate::store::TaskStore;
use crate::task::{Message, TaskId, TaskStatus};
use crate::telemetry;
use crate::vector::VectorStores;
use aws_lambda_events::sqs::{BatchItemFailure, SqsMessage};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use log::{End, MessageLog, OutOfTime, RefusedLine};
use std::time::Duration;
use tracing::Level;

/// Messages of a batch that are carried out at once.
const CONCURRENT_MESSAGES: usize = 5;
/// What is left of an invocation when its work is broken off, so that it never runs into its own timeout.
const MARGIN: TimeDelta = TimeDelta::milliseconds(500);

/// Carries out queue messages.
#[derive(Clone, Debug)]
pub struct Worker {
    store: TaskStore,
    queue: TaskQueue,
    vectors: VectorStores,
    clock: Clock,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// There was nothing to do, for this reason: acknowledged.
    Dropped(&'static str),
    /// The work's end, or how far it came, is on record for a task of this status: acknowledged.
    Recorded(TaskStatus),
    /// A large task's chunks were sent, or those of them that the queue took: acknowledged, the sweeper sees to the rest.
    FannedOut { sent: usize, unsent: usize },
    /// The work is on record as due later: acknowledged, the sweeper sends it again.
    Deferred(&'static str),
    /// There was no time left to begin: the message comes back.
    HandedBack,
}

impl Worker {
    /// A worker over a store, a queue and the vector stores.
    pub fn new(store: TaskStore, queue: TaskQueue, vectors: VectorStores, clock: Clock) -> Self {
        Self {
            store,
            queue,
            vectors,
            clock,
        }
    }

    /// Carries out a batch and answers which messages SQS is to deliver again.
    ///
    /// Delivered again are: a message whose task could not be read or written, one there was no time to begin, and one
    /// that is not a message of ours (which so ends in the dead-letter queue). All else is acknowledged: its result, or
    /// when it is due again, is on record in the task.
    pub async fn handle(&self, event: SqsEvent, deadline: DateTime<Utc>) -> SqsBatchResponse {
        let failures = stream::iter(event.records)
            // In a box, since it is several kilobytes, and would be copied from hand to hand on its way among those under way.
            .map(|record| Box::pin(self.handle_record(record, deadline)))
            .buffer_unordered(CONCURRENT_MESSAGES)
            .filter_map(|failure| async { failure })
            .collect()
            .await;
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = failures;
        response
    }

    /// Carries out one record; `Some` if it is to be delivered again.
    async fn handle_record(
        &self,
        record: SqsMessage,
        deadline: DateTime<Utc>,
    ) -> Option<BatchItemFailure> {
        let began = self.clock.now();
        let mut again = BatchItemFailure::default();
        again.item_identifier = record.message_id.unwrap_or_default();
        let Some((id, message)) = parse(record.body.as_deref().unwrap_or_default()) else {
            let cause = self.reject(record.receipt_handle).await.err();
            let line = RefusedLine::new(&again.item_identifier, cause);
            telemetry::log(Level::WARN, line);
            return Some(again);
        };
        let mut log = MessageLog::default();
        let work = self.carry_out(&id, &message, deadline, &mut log);
        let time = (deadline - MARGIN - began)
            .to_std()
            .unwrap_or(Duration::ZERO);
        let verdict = tokio::time::timeout(time, work).await;
        let duration = self.clock.now() - began;
        let end = End::of(verdict.map_err(|_| OutOfTime), &mut log);
        log.write(&message, &end, duration);
        end.comes_again.then_some(again)
    }

    /// Makes what is not a message of ours visible again at once; otherwise it is after its visibility timeout.
    async fn reject(&self, receipt_handle: Option<String>) -> Result<(), QueueError> {
        match receipt_handle {
            Some(receipt_handle) => self.queue.make_visible(&receipt_handle).await,
            None => Ok(()),
        }
    }
}

/// A message of ours, or nothing.
fn parse(body: &str) -> Option<(TaskId, Message)> {
    let message: Message = serde_json::from_str(body).ok()?;
    let id = TaskId::new(message.task_id.as_str()).ok()?;
    Some((id, message))
}
