//! Carrying out messages, and sweeping up what was lost.
//!
//! `carry_out.rs` is one message from read to settlement, `deletion.rs` the calls to the vector store within it,
//! `fan_out.rs` the first message of a large task, `sweeper.rs` the schedule's job. Here: a batch of messages, and which of them come back.

mod carry_out;
mod deletion;
mod fan_out;
mod sweeper;

pub use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
pub use sweeper::{SweepReport, Sweeper, Tick};

use crate::clock::Clock;
use crate::queue::TaskQueue;
use crate::store::TaskStore;
use crate::task::{Message, TaskId};
use crate::vector::VectorStores;
use aws_lambda_events::sqs::{BatchItemFailure, SqsMessage};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use std::time::Duration;
use tracing::{info, warn};

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
    /// The work's end, or how far it came, is on record: acknowledged.
    Recorded {
        status: &'static str,
        deleted: u32,
        failed: u32,
    },
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
            .map(|record| self.handle_record(record, deadline))
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
            warn!(
                message_id = again.item_identifier,
                "not a message of this service"
            );
            self.reject(record.receipt_handle).await;
            return Some(again);
        };
        let work = self.carry_out(&id, &message, deadline);
        let time = (deadline - MARGIN - began)
            .to_std()
            .unwrap_or(Duration::ZERO);
        let verdict = tokio::time::timeout(time, work).await;
        let duration_ms = (self.clock.now() - began).num_milliseconds();
        let (task_id, attempt, chunk) = (id.as_str(), message.attempt, message.chunk);
        match verdict {
            Ok(Ok(Verdict::Recorded {
                status,
                deleted,
                failed,
            })) => {
                info!(
                    task_id,
                    attempt,
                    chunk,
                    outcome = status,
                    deleted,
                    failed,
                    duration_ms
                );
                None
            }
            Ok(Ok(Verdict::Dropped(why))) => {
                info!(
                    task_id,
                    attempt,
                    chunk,
                    outcome = "dropped",
                    why,
                    duration_ms
                );
                None
            }
            Ok(Ok(Verdict::FannedOut { sent, unsent })) => {
                info!(
                    task_id,
                    attempt,
                    outcome = "fanned out",
                    sent,
                    unsent,
                    duration_ms
                );
                None
            }
            Ok(Ok(Verdict::Deferred(why))) => {
                warn!(
                    task_id,
                    attempt,
                    chunk,
                    outcome = "deferred",
                    why,
                    duration_ms
                );
                None
            }
            Ok(Ok(Verdict::HandedBack)) => {
                info!(
                    task_id,
                    attempt,
                    chunk,
                    outcome = "handed back",
                    duration_ms
                );
                Some(again)
            }
            Ok(Err(error)) => {
                let cause = error.to_string();
                warn!(
                    task_id,
                    attempt,
                    chunk,
                    outcome = "error",
                    cause,
                    duration_ms
                );
                Some(again)
            }
            Err(_) => {
                warn!(
                    task_id,
                    attempt,
                    chunk,
                    outcome = "out of time",
                    duration_ms
                );
                Some(again)
            }
        }
    }

    async fn reject(&self, receipt_handle: Option<String>) {
        let Some(receipt_handle) = receipt_handle else {
            return;
        };
        if let Err(error) = self.queue.make_visible(&receipt_handle).await {
            warn!(cause = %error, "it comes back after its visibility timeout");
        }
    }
}

/// A message of ours, or nothing.
fn parse(body: &str) -> Option<(TaskId, Message)> {
    let message: Message = serde_json::from_str(body).ok()?;
    let id = TaskId::new(message.task_id.as_str()).ok()?;
    Some((id, message))
}
