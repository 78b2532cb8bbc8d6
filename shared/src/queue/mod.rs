//! Messages in SQS.

use crate::aws::error_code;
use crate::task::Message;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use std::error::Error;

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

/// One SQS queue of [`Message`]s.
#[derive(Clone, Debug)]
pub struct TaskQueue {
    client: Client,
    url: String,
}

impl TaskQueue {
    /// The queue at `url`.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When SQS does not answer. The message may be on the queue all the same.
    pub async fn send(&self, message: &Message) -> Result<(), QueueError> {
        let body = serde_json::to_string(message).map_err(QueueError::not_built)?;
        let sent = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .send()
            .await;
        Ok(sent.map(drop)?)
    }

    /// Sends up to [`MAX_BATCH`] messages in one call and answers how many were taken.
    ///
    /// # Errors
    /// When SQS does not answer. Some may be on the queue all the same.
    pub async fn send_batch(&self, messages: &[Message]) -> Result<usize, QueueError> {
        let mut entries = Vec::with_capacity(messages.len());
        for (number, message) in messages.iter().enumerate() {
            let body = serde_json::to_string(message).map_err(QueueError::not_built)?;
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
            .await;
        Ok(sent.map(|answer| answer.successful.len())?)
    }

    /// Makes a received message visible again at once. For what is not a message of ours: it reaches the dead-letter
    /// queue within moments, not after as many visibility timeouts as it may be received.
    ///
    /// # Errors
    /// When SQS does not answer; the message then comes back after its visibility timeout.
    pub async fn make_visible(&self, receipt_handle: &str) -> Result<(), QueueError> {
        let changed = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(0)
            .send()
            .await;
        Ok(changed.map(drop)?)
    }
}
