//! The queue as Lambda's event source mapping uses it: receive a batch, let the worker carry it
//! out, delete the messages that it does not report as failed.
//!
//! Nothing here runs in the background: a test or a benchmark decides when a batch is received, and
//! may stop between two steps. The local runner's loop (`local/src/event_source.rs`), which runs in
//! the background, is product code. The simulation has its own queue on its own clock
//! (`sim/queue.rs`), and shares only [`event`] and [`failed`].

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName, QueueAttributeName,
};
use local::Running;
use std::collections::BTreeSet;

/// How a batch is received.
#[derive(Clone, Copy, Debug)]
pub struct Receive {
    /// The maximum number of messages, 1 to 10.
    pub most: i32,
    /// How long to wait for the first one, in seconds. The SDK client's own timeout must be longer.
    pub wait_seconds: i32,
    /// How long the messages stay invisible, in seconds. If absent, the queue's visibility timeout
    /// applies.
    pub visibility_seconds: Option<i32>,
}

impl Default for Receive {
    fn default() -> Self {
        Self {
            most: 10,
            wait_seconds: 0,
            visibility_seconds: None,
        }
    }
}

/// A queue, and the client that it is used through. Clones use the same queue.
#[derive(Clone, Debug)]
pub struct Queue {
    sqs: Client,
    url: String,
}

impl Queue {
    /// The queue at `url`.
    pub fn new(sqs: &Client, url: &str) -> Self {
        Self {
            sqs: sqs.clone(),
            url: url.to_owned(),
        }
    }

    /// The work queue of `running`, through a client whose calls are not counted.
    pub fn of(running: &Running) -> Self {
        Self::new(&running.clients.sqs, &running.queue_url)
    }

    /// Receives a batch, which may be empty.
    pub async fn receive(&self, how: Receive) -> Vec<Message> {
        let receive = self.sqs.receive_message().queue_url(&self.url);
        let received = receive
            .max_number_of_messages(how.most)
            .wait_time_seconds(how.wait_seconds)
            .set_visibility_timeout(how.visibility_seconds)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await;
        received.expect("SQS responds").messages.unwrap_or_default()
    }

    /// Deletes messages in one call. Makes no call if there are no messages.
    pub async fn delete<'a>(&self, messages: impl IntoIterator<Item = &'a Message>) {
        let entries = messages.into_iter().enumerate().map(|(number, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(number.to_string());
            let entry = entry.set_receipt_handle(message.receipt_handle.clone());
            entry.build().expect("an entry")
        });
        let entries: Vec<_> = entries.collect();
        if entries.is_empty() {
            return;
        }
        let delete = self.sqs.delete_message_batch().queue_url(&self.url);
        let deleted = delete.set_entries(Some(entries)).send().await;
        let failed = deleted.expect("SQS responds").failed;
        assert!(failed.is_empty(), "messages are deleted: {failed:?}");
    }

    /// Deletes the messages that the worker did not report as failed. The others come back after
    /// their visibility timeout.
    pub async fn settle(&self, messages: &[Message], response: &SqsBatchResponse) {
        let failed = failed(response);
        let is_done =
            |message: &&Message| !failed.contains(message.message_id().unwrap_or_default());
        self.delete(messages.iter().filter(is_done)).await;
    }

    /// Receives a batch and lets `work` carry it out. `work` is not called for an empty batch.
    /// Returns how many messages there were.
    pub async fn work_once(
        &self,
        how: Receive,
        work: impl AsyncFnOnce(SqsEvent) -> SqsBatchResponse,
    ) -> usize {
        let messages = self.receive(how).await;
        if !messages.is_empty() {
            let response = work(event_of(&messages)).await;
            self.settle(&messages, &response).await;
        }
        messages.len()
    }

    /// Deletes every visible message, so that it is lost. Returns how many there were.
    pub async fn lose_all(&self) -> usize {
        let mut lost = 0;
        loop {
            let messages = self.receive(Receive::default()).await;
            if messages.is_empty() {
                return lost;
            }
            lost += messages.len();
            self.delete(&messages).await;
        }
    }

    /// How many messages are visible.
    pub async fn waiting(&self) -> usize {
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let ask = self.sqs.get_queue_attributes().queue_url(&self.url);
        let found = ask.attribute_names(name.clone()).send().await;
        let attributes = found.expect("SQS responds").attributes.unwrap_or_default();
        let count = attributes.get(&name).and_then(|count| count.parse().ok());
        count.unwrap_or_default()
    }
}

/// The event that Lambda makes of a batch.
pub fn event_of(messages: &[Message]) -> SqsEvent {
    let bodies = messages.iter().map(|message| {
        let id = message.message_id().unwrap_or_default().to_owned();
        (id, message.body().unwrap_or_default().to_owned())
    });
    let mut event = event(bodies);
    for (record, message) in event.records.iter_mut().zip(messages) {
        record.receipt_handle = message.receipt_handle.clone();
        record.md5_of_body = message.md5_of_body.clone();
        let attributes = message.attributes.iter().flatten();
        record.attributes = attributes
            .map(|(name, value)| (name.as_str().to_owned(), value.clone()))
            .collect();
    }
    event
}

/// An event of messages with these ids and bodies.
pub fn event(messages: impl IntoIterator<Item = (String, String)>) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = messages
        .into_iter()
        .map(|(id, body)| {
            let mut record = SqsMessage::default();
            record.message_id = Some(id);
            record.body = Some(body);
            record.event_source = Some("aws:sqs".to_owned());
            record
        })
        .collect();
    event
}

/// The ids of the messages that the worker reports as failed.
pub fn failed(response: &SqsBatchResponse) -> BTreeSet<&str> {
    let failures = response.batch_item_failures.iter();
    failures
        .map(|failure| failure.item_identifier.as_str())
        .collect()
}
