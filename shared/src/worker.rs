//! Carrying out messages, and sweeping up what was lost.
//!
//! Here: a batch of messages, and which of them SQS delivers again. `carry_out.rs` is one message from read to settlement, with
//! the existence check (`existence.rs`) and the deletes (`deletion.rs`) in it; `batches.rs` decides which objects go together,
//! `calls.rs` how a failed call is followed up, `budget.rs` whether there is time. `fan_out.rs` is the first message of a task
//! of several chunks, `sweeper.rs` the schedule's job, `log.rs` a message's line of log.

mod batches;
mod budget;
mod calls;
mod carry_out;
mod deletion;
mod existence;
mod fan_out;
mod log;
mod sweeper;

pub use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
pub use sweeper::{SweepBounds, SweepReport, Sweeper, Tick};

use crate::clock::Clock;
use crate::queue::{QueueError, TaskQueue};
use crate::store::{StoreError, TaskStore};
use crate::task::{Message, TaskId, TaskStatus};
use crate::telemetry;
use crate::vector::VectorStores;
use aws_lambda_events::sqs::{BatchItemFailure, SqsMessage};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use log::{MessageLog, RefusedLine};
use std::time::Duration;
use tracing::Level;

/// Messages of a batch that are carried out at once.
const CONCURRENT_MESSAGES: usize = 5;
/// Claims without progress after which a chunk's open objects fail.
const MAX_TRIES: u32 = 5;
/// What is left of an invocation when its work is broken off, so that it never runs into its own timeout.
const MARGIN: TimeDelta = TimeDelta::milliseconds(500);

/// Carries out queue messages.
#[derive(Clone, Debug)]
pub struct Worker {
    tasks: TaskStore,
    queue: TaskQueue,
    vectors: VectorStores,
    clock: Clock,
}

/// How a message ended.
#[derive(Debug)]
enum Verdict {
    /// There was nothing to do, for this reason.
    Dropped(&'static str),
    /// The work's end, or how far it came, is on record for a task of this status.
    Recorded {
        status: TaskStatus,
        /// Objects remain only because one claim may make no more calls: another may go on at once.
        has_more_to_do: bool,
    },
    /// A task's chunks were sent, or those of them that the queue took. The sweeper sends the rest.
    FannedOut { sent: usize, unsent: usize },
    /// The work is on record as due later, for this reason. The sweeper sends it again.
    Deferred(&'static str),
    /// There was no time left to begin.
    HandedBack,
    /// The task could not be read or written.
    StoreFailed(StoreError),
    /// The invocation was about to end before the work had.
    OutOfTime,
}

impl Verdict {
    /// Whether SQS is to deliver the message again. Otherwise it is acknowledged: its result, or when it is due again, is on
    /// record in the task.
    fn needs_redelivery(&self) -> bool {
        match self {
            Self::HandedBack | Self::StoreFailed(_) | Self::OutOfTime => true,
            Self::Dropped(_)
            | Self::Recorded { .. }
            | Self::FannedOut { .. }
            | Self::Deferred(_) => false,
        }
    }

    fn has_more_to_do(&self) -> bool {
        matches!(
            self,
            Self::Recorded {
                has_more_to_do: true,
                ..
            }
        )
    }
}

/// Why objects fail after the last try.
fn give_up(detail: &str) -> String {
    format!("Gave up after {MAX_TRIES} tries: {detail}")
}

impl Worker {
    /// A worker over a store, a queue and the vector stores.
    pub fn new(tasks: TaskStore, queue: TaskQueue, vectors: VectorStores, clock: Clock) -> Self {
        Self {
            tasks,
            queue,
            vectors,
            clock,
        }
    }

    /// Carries out a batch and returns which messages SQS is to deliver again: one whose task could not be read or written, one
    /// that there was no time for, and one that is no message of this service, which so ends in the dead-letter queue. All
    /// others are acknowledged: their result, or when they are due again, is on record in the task.
    pub async fn handle(&self, event: SqsEvent, deadline: DateTime<Utc>) -> SqsBatchResponse {
        let failures = stream::iter(event.records)
            // Boxed: the future takes several kilobytes, and would be copied several times on its way into the stream.
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
        let verdict = match tokio::time::timeout(time, work).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => Verdict::StoreFailed(error),
            Err(_) => Verdict::OutOfTime,
        };
        log.write(&message, &verdict, self.clock.now() - began);
        verdict.needs_redelivery().then_some(again)
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
