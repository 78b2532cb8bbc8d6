//! The worker, which carries out queue messages, and the sweeper, which sends lost work again.
//!
//! This file handles a batch of messages and decides which of them SQS delivers again.
//!
//! | file | holds |
//! |---|---|
//! | `redelivery.rs` | when a message is delivered again |
//! | `carry_out.rs` | one message, from read to settlement |
//! | `existence.rs`, `deletion.rs` | its existence check and its deletes |
//! | `batches.rs` | which objects go together in a call |
//! | `calls.rs` | how a failed call is followed up |
//! | `budget.rs` | whether there is time for a call |
//! | `turn.rs` | when the index takes a delete |
//! | `fan_out.rs` | the message of a whole task of several chunks |
//! | `sweeper.rs` | the scheduled sweep |
//! | `log.rs` | a message's log line |

mod batches;
mod budget;
mod calls;
mod carry_out;
mod deletion;
mod existence;
mod fan_out;
mod log;
mod redelivery;
mod sweeper;
mod turn;

pub use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
pub use sweeper::{SweepBounds, SweepReport, Sweeper, Tick};

use crate::clock::Clock;
use crate::queue::{MAX_BATCH, TaskQueue};
use crate::store::{StoreError, TaskStore};
use crate::task::{Message, TaskId, TaskStatus};
use crate::telemetry;
use crate::vector::VectorStores;
use aws_lambda_events::sqs::{BatchItemFailure, SqsMessage};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use log::{LateLine, MessageLog, RefusedLine};
use redelivery::{Redelivery, delay, receives};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::Level;

/// The most calls to vector stores that a process makes at once. A waiting message holds none.
const CONCURRENT_CALLS: usize = 5;
/// The number of claims without progress after which a chunk's open objects fail.
const MAX_TRIES: u32 = 5;
/// The time before an invocation's deadline at which its work is broken off, so that it never runs
/// into its own timeout.
const MARGIN: TimeDelta = TimeDelta::milliseconds(500);
/// The time before an invocation's deadline after which nothing more is sent to the queue.
const LAST_MARGIN: TimeDelta = TimeDelta::milliseconds(100);
/// How much longer than the invocation a lease lasts.
///
/// It leaves time for a request that left just before the deadline to arrive, and allows for a
/// small difference between clocks.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(10);

/// Carries out queue messages.
#[derive(Clone, Debug)]
pub struct Worker {
    tasks: TaskStore,
    queue: TaskQueue,
    vectors: VectorStores,
    clock: Clock,
    slots: Arc<Semaphore>,
}

/// The end of a message's work.
#[derive(Debug)]
enum Verdict {
    /// There was nothing to do, for this reason.
    Dropped(&'static str),
    /// The end of the work, or its progress, is recorded for a task of this status.
    Recorded {
        status: TaskStatus,
        /// Objects remain only because one claim may make no more calls.
        ///
        /// Another claim may continue at once.
        has_more_to_do: bool,
    },
    /// A task's chunks were sent, or as many of them as the queue took. The sweeper sends the rest.
    FannedOut { sent: usize, unsent: usize },
    /// The work is recorded as due later, for this reason. The sweeper sends it again.
    Deferred(&'static str),
    /// There was no time left to begin.
    HandedBack,
    /// The index takes a delete only later. The message is worth another receive after this time.
    TurnIsFar(Duration),
    /// The store has asked not to be called for this time.
    StorePauses(Duration),
    /// The task could not be read or written.
    StoreFailed(StoreError),
    /// The invocation was about to end before the work was done.
    OutOfTime,
}

impl Verdict {
    /// Returns when SQS is to deliver the message again.
    ///
    /// `None` means that the message is acknowledged: its result, or the time when it is due again,
    /// is recorded in the task. `has_claimed` says whether a claim of this message may be in force.
    fn redelivery(&self, has_claimed: bool) -> Option<Redelivery> {
        match self {
            Self::HandedBack => Some(Redelivery::Soon),
            Self::TurnIsFar(after) => Some(Redelivery::Turn(*after)),
            Self::StorePauses(pause) => Some(Redelivery::AfterStorePause(*pause)),
            Self::StoreFailed(_) | Self::OutOfTime if has_claimed => Some(Redelivery::AfterLease),
            Self::StoreFailed(_) | Self::OutOfTime => Some(Redelivery::AfterPause),
            Self::Dropped(_)
            | Self::Recorded { .. }
            | Self::FannedOut { .. }
            | Self::Deferred(_) => None,
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

/// Returns why objects fail after the last try.
fn give_up(detail: &str) -> String {
    format!("Gave up after {MAX_TRIES} tries: {detail}")
}

impl Worker {
    /// Creates a worker over a store, a queue and the vector stores.
    pub fn new(tasks: TaskStore, queue: TaskQueue, vectors: VectorStores, clock: Clock) -> Self {
        Self {
            tasks,
            queue,
            vectors,
            clock,
            slots: Arc::new(Semaphore::new(CONCURRENT_CALLS)),
        }
    }

    /// Carries out all messages of a batch at once, and returns those that SQS is to deliver again.
    ///
    /// These are the messages whose task could not be read or written, for which there was no time,
    /// whose index is busy, or whose store has asked to wait. Each of them comes back when it can
    /// be of use, and not after the queue's visibility timeout.
    ///
    /// All others are acknowledged: their result, or the time when they are due again, is recorded
    /// in the task. A message that is not one of this service is acknowledged once it is in the
    /// dead-letter queue.
    pub async fn handle(&self, event: SqsEvent, deadline: DateTime<Utc>) -> SqsBatchResponse {
        let records = event.records.into_iter();
        let failures = records
            // Boxed: the future takes several kilobytes, and would be copied several times on its
            // way into the stream.
            .map(|record| Box::pin(self.handle_record(record, deadline)))
            .collect::<FuturesUnordered<_>>()
            .filter_map(|unfinished| async { unfinished })
            // Messages that end together are returned together, while the others go on.
            .ready_chunks(MAX_BATCH)
            .map(|unfinished| self.return_to_queue(unfinished, deadline))
            .buffer_unordered(MAX_BATCH)
            .concat()
            .await;
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = failures;
        response
    }

    /// Carries out one record. Returns `Some` if it is to be delivered again.
    async fn handle_record(
        &self,
        record: SqsMessage,
        deadline: DateTime<Utc>,
    ) -> Option<Unfinished> {
        let began = self.clock.now();
        let receives = receives(&record);
        let mut unfinished = Unfinished {
            message_id: record.message_id.unwrap_or_default(),
            receipt_handle: record.receipt_handle,
            after: Duration::ZERO,
        };
        let time = (deadline - MARGIN - began)
            .to_std()
            .unwrap_or(Duration::ZERO);
        let body = record.body.unwrap_or_default();
        let Some((id, message)) = parse(&body) else {
            let sent = tokio::time::timeout(time, self.queue.send_to_dead_letters(&body));
            let cause = match sent.await {
                Ok(sent) => sent.err().map(|error| error.to_string()),
                Err(_) => Some("no time was left for the call".to_owned()),
            };
            let line = RefusedLine::new(&unfinished.message_id, cause.as_ref());
            telemetry::log(Level::WARN, line);
            unfinished.after = delay(Redelivery::AfterPause, Duration::ZERO, receives);
            return cause.map(|_| unfinished);
        };
        let mut log = MessageLog::default();
        let work = self.carry_out(&id, &message, deadline, &mut log);
        let verdict = match tokio::time::timeout(time, work).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => Verdict::StoreFailed(error),
            Err(_) => Verdict::OutOfTime,
        };
        let redelivery = verdict.redelivery(log.has_claimed());
        let now = self.clock.now();
        log.write(&message, &verdict, now - began);
        let lease = (deadline + LEASE_MARGIN - now).to_std().unwrap_or_default();
        unfinished.after = delay(redelivery?, lease, receives);
        Some(unfinished)
    }

    /// Makes messages come back when each can be of use.
    ///
    /// If that fails, they come back after the queue's visibility timeout.
    async fn return_to_queue(
        &self,
        unfinished: Vec<Unfinished>,
        deadline: DateTime<Utc>,
    ) -> Vec<BatchItemFailure> {
        let mut failures = Vec::with_capacity(unfinished.len());
        let mut visible = Vec::with_capacity(unfinished.len());
        for message in unfinished {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message.message_id;
            failures.push(failure);
            visible.extend(message.receipt_handle.map(|handle| (handle, message.after)));
        }
        if visible.is_empty() {
            return failures;
        }
        let time = deadline - LAST_MARGIN - self.clock.now();
        let time = time.to_std().unwrap_or(Duration::ZERO);
        let late = match tokio::time::timeout(time, self.queue.return_after(&visible)).await {
            Ok(Ok(())) => return failures,
            Ok(Err(error)) => LateLine::new(visible.len(), error),
            Err(_) => LateLine::new(visible.len(), "no time was left for the call"),
        };
        telemetry::log(Level::WARN, late);
        failures
    }
}

/// A message that is not acknowledged.
struct Unfinished {
    message_id: String,
    receipt_handle: Option<String>,
    /// The time until it is to come back.
    after: Duration,
}

/// Parses a message of this service.
fn parse(body: &str) -> Option<(TaskId, Message)> {
    let message: Message = serde_json::from_str(body).ok()?;
    let id = TaskId::new(message.task_id.as_str()).ok()?;
    Some((id, message))
}
