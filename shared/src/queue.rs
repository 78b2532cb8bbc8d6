//! Messages in SQS.

use crate::aws::error_code;
use crate::task::Message;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::FutureExt;
use std::error::Error;
use std::fmt::{self, Write};
use std::sync::{Arc, LazyLock};

/// The most messages one send takes ("Amazon SQS message quotas").
pub const MAX_BATCH: usize = 10;

/// A message was not sent, or not for certain.
#[derive(Debug, thiserror::Error)]
#[error("SQS did not take the message: {code}")]
pub struct QueueError {
    /// SQS's error code, or what became of the call.
    code: String,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl QueueError {
    fn not_built(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: "not built".to_owned(),
            source: error.into(),
        }
    }
}

impl<E, R> From<SdkError<E, R>> for QueueError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        Self {
            code: error_code(&error).to_owned(),
            source: error.into(),
        }
    }
}

/// A client that is made when it is first needed. Making one takes as long as half of a function's start, since each client
/// of the SDK parses the list of AWS's partitions again; the worker needs one for tasks of several chunks only.
type Lazy = LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>;

/// One SQS queue of [`Message`]s.
#[derive(Clone)]
pub struct TaskQueue {
    client: Arc<Lazy>,
    url: String,
}

impl fmt::Debug for TaskQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskQueue")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl TaskQueue {
    /// The queue at `url`, by a client that `client` makes when it is first needed.
    pub fn new(client: impl FnOnce() -> Client + Send + 'static, url: String) -> Self {
        let client = Arc::new(LazyLock::new(Box::new(client) as Box<_>));
        Self { client, url }
    }

    /// Makes the client, if there is none yet, while its caller waits for something else before it sends.
    pub async fn prepare(&self) {
        LazyLock::force(&self.client);
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When SQS does not take the message, or does not respond: then it may be on the queue nevertheless.
    pub async fn send(&self, message: &Message) -> Result<(), QueueError> {
        let body = body_of(message)?;
        let sent = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .send()
            .boxed()
            .await;
        Ok(sent.map(drop)?)
    }

    /// Sends up to [`MAX_BATCH`] messages in one call and returns how many SQS took.
    ///
    /// # Errors
    /// When SQS does not respond. Some of them may be on the queue nevertheless.
    pub async fn send_batch(&self, messages: &[Message]) -> Result<usize, QueueError> {
        let mut entries = Vec::with_capacity(messages.len());
        for (number, message) in messages.iter().enumerate() {
            let body = body_of(message)?;
            let entry = SendMessageBatchRequestEntry::builder()
                .id(number.to_string())
                .message_body(body)
                .build()
                .map_err(QueueError::not_built)?;
            entries.push(entry);
        }
        let sent = self
            .client
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .boxed()
            .await;
        Ok(sent.map(|response| response.successful.len())?)
    }

    /// Makes a received message visible again at once. A foreign message is then received again at once, and reaches the
    /// dead-letter queue in moments. Otherwise each receive would cost a visibility timeout.
    ///
    /// # Errors
    /// When SQS does not respond. The message is then redelivered after its visibility timeout.
    pub async fn make_visible(&self, receipt_handle: &str) -> Result<(), QueueError> {
        let changed = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(0)
            .send()
            .boxed()
            .await;
        Ok(changed.map(drop)?)
    }
}

/// A message as JSON of ASCII characters. SQS refuses some of the others that a task id may have, such as U+FFFE
/// ("SendMessage", Amazon SQS API Reference).
fn body_of(message: &Message) -> Result<String, QueueError> {
    let json = serde_json::to_string(message).map_err(QueueError::not_built)?;
    if json.is_ascii() {
        return Ok(json);
    }
    // Outside its strings JSON is ASCII.
    let mut ascii = String::with_capacity(2 * json.len());
    for c in json.chars() {
        if c.is_ascii() {
            ascii.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    Ok(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_ascii_whatever_its_task_is_called_and_reads_back() {
        for id in ["t", "a\"b\\c", "\u{fffe}\u{ffff}", "🗑️", "日本語/é"] {
            let message = Message {
                task_id: id.to_owned(),
                attempt: 2,
                chunk: Some(7),
            };
            let body = body_of(&message).unwrap();
            assert!(body.is_ascii(), "{body}");
            assert_eq!(serde_json::from_str::<Message>(&body).unwrap(), message);
        }
    }
}
