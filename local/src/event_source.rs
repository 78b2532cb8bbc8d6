//! Passes messages from SQS to the worker, as Lambda's event source mapping does.
//!
//! It receives a batch, invokes the worker with it, and deletes the messages that the worker does
//! not report as failed. Failed messages come back after their visibility timeout, and go to the
//! dead-letter queue after too many receives. An invocation that runs past its deadline is killed,
//! and all of its messages come back.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};
use chrono::{DateTime, Utc};
use shared::clock::Clock;
use std::collections::HashSet;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use web::stop::Stop;

/// How long one call waits for messages, in seconds: the longest SQS allows.
const LONG_POLL_SECONDS: i32 = 20;
/// How long to wait after a failed receive: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How many times a delete is tried. A message that is not deleted comes back, and the worker then
/// has nothing to do for it.
const DELETE_TRIES: u32 = 3;
/// How long invocations may take after the runner is told to stop.
const GRACE: Duration = web::GRACE;

/// One queue, and how its messages reach the worker.
#[derive(Clone, Debug)]
pub(crate) struct EventSource {
    /// A client without timeouts, since a receive takes up to 20 seconds.
    pub(crate) client: Client,
    pub(crate) queue_url: String,
    pub(crate) queue_arn: String,
    pub(crate) batch_size: u8,
    /// The most invocations at a time.
    pub(crate) concurrency: usize,
    /// How long one invocation may take.
    pub(crate) worker_timeout: Duration,
    pub(crate) clock: Clock,
}

impl EventSource {
    /// Invokes `worker` with each batch until `stop`. After that, invocations that do not finish
    /// within [`GRACE`] are killed.
    pub(crate) async fn run<W, F>(self, worker: W, stop: Stop)
    where
        W: Fn(SqsEvent, DateTime<Utc>) -> F + Clone + Send + 'static,
        F: Future<Output = SqsBatchResponse> + Send + 'static,
    {
        let mut invocations = JoinSet::new();
        let mut pause = None;
        loop {
            while invocations.try_join_next().is_some() {}
            // Receive only when an invocation can start at once, since the visibility timeout
            // begins with the receive.
            let received = tokio::select! {
                biased;
                () = stop.requested() => break,
                Some(_) = invocations.join_next(), if invocations.len() >= self.concurrency => continue,
                received = self.receive(), if invocations.len() < self.concurrency => received,
            };
            match received {
                Ok(messages) => {
                    if pause.take().is_some() {
                        tracing::info!("SQS responds again");
                    }
                    if !messages.is_empty() {
                        invocations.spawn(self.clone().invoke(worker.clone(), messages));
                    }
                }
                Err(error) => {
                    if pause.is_none() {
                        tracing::warn!(error, "receiving from SQS failed; retrying");
                    }
                    let wait = pause.map_or(PAUSES.0, |last: Duration| (last * 2).min(PAUSES.1));
                    pause = Some(wait);
                    let _ = timeout(wait, stop.requested()).await;
                }
            }
        }
        let finished = async { while invocations.join_next().await.is_some() {} };
        let _ = timeout(GRACE, finished).await;
    }

    async fn receive(&self) -> Result<Vec<Message>, String> {
        let received = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(self.batch_size.into())
            .wait_time_seconds(LONG_POLL_SECONDS)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await;
        match received {
            Ok(response) => Ok(response.messages.unwrap_or_default()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn invoke<W, F>(self, worker: W, messages: Vec<Message>)
    where
        W: Fn(SqsEvent, DateTime<Utc>) -> F,
        F: Future<Output = SqsBatchResponse> + Send + 'static,
    {
        let deadline = self.clock.now() + self.worker_timeout;
        // The task contains a panic of the worker. If this future is dropped, the set aborts the
        // task.
        let mut invocation = JoinSet::new();
        invocation.spawn(worker(self.event(&messages), deadline));
        let response = match timeout(self.worker_timeout, invocation.join_next()).await {
            Ok(Some(Ok(response))) => response,
            Ok(_) => {
                tracing::error!(messages = messages.len(), "the worker panicked");
                return;
            }
            Err(_) => {
                invocation.shutdown().await;
                tracing::error!(
                    messages = messages.len(),
                    "the worker was killed at its timeout"
                );
                return;
            }
        };
        self.delete(handled(&messages, &response)).await;
    }

    /// The event that Lambda would make from `messages`.
    fn event(&self, messages: &[Message]) -> SqsEvent {
        let mut event = SqsEvent::default();
        event.records = messages
            .iter()
            .map(|message| self.record(message))
            .collect();
        event
    }

    fn record(&self, message: &Message) -> SqsMessage {
        let mut record = SqsMessage::default();
        record.message_id = message.message_id.clone();
        record.receipt_handle = message.receipt_handle.clone();
        record.body = message.body.clone();
        record.md5_of_body = message.md5_of_body.clone();
        let attributes = message.attributes.iter().flatten();
        record.attributes = attributes
            .map(|(name, value)| (name.as_str().to_owned(), value.clone()))
            .collect();
        record.event_source = Some("aws:sqs".to_owned());
        record.event_source_arn = Some(self.queue_arn.clone());
        record.aws_region = self.queue_arn.split(':').nth(3).map(str::to_owned);
        record
    }

    async fn delete(&self, messages: Vec<&Message>) {
        let mut handles: Vec<String> = messages
            .into_iter()
            .filter_map(|message| message.receipt_handle.clone())
            .collect();
        for attempt in 1..=DELETE_TRIES {
            if handles.is_empty() {
                return;
            }
            if attempt > 1 {
                sleep(PAUSES.0 * attempt).await;
            }
            handles = self.delete_once(handles).await;
        }
        if !handles.is_empty() {
            tracing::warn!(
                messages = handles.len(),
                "handled messages were not deleted and will come back"
            );
        }
    }

    /// Tries once to delete these messages, and returns the handles of those that were not deleted.
    async fn delete_once(&self, handles: Vec<String>) -> Vec<String> {
        let entries: Result<Vec<_>, _> = handles
            .iter()
            .enumerate()
            .map(|(number, handle)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(number.to_string());
                entry.receipt_handle(handle).build()
            })
            .collect();
        let Ok(entries) = entries else {
            return handles;
        };
        let call = self
            .client
            .delete_message_batch()
            .queue_url(&self.queue_url);
        let Ok(response) = call.set_entries(Some(entries)).send().await else {
            return handles;
        };
        let left: HashSet<&str> = response
            .failed
            .iter()
            .map(|failure| failure.id.as_str())
            .collect();
        let numbered = handles.into_iter().enumerate();
        numbered
            .filter(|(number, _)| left.contains(number.to_string().as_str()))
            .map(|(_, handle)| handle)
            .collect()
    }
}

/// The messages to delete. As in Lambda, there are none if the response names a message that is not
/// in the batch.
fn handled<'a>(messages: &'a [Message], response: &SqsBatchResponse) -> Vec<&'a Message> {
    let failures = response.batch_item_failures.iter();
    let failed: HashSet<&str> = failures
        .map(|failure| failure.item_identifier.as_str())
        .collect();
    let (left, handled): (Vec<_>, Vec<_>) = messages
        .iter()
        .partition(|message| message.message_id().is_none_or(|id| failed.contains(id)));
    if left.len() == failed.len() {
        return handled;
    }
    tracing::error!(
        "the worker reported a message that is not in its batch: the whole batch comes back"
    );
    Vec::new()
}

#[cfg(test)]
mod tests;
