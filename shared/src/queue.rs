//! Messages in SQS.
//!
//! The message group of a message is that of its embedding model. So SQS keeps a model with many
//! messages from delaying the messages of others ("Amazon SQS fair queues", Amazon SQS Developer
//! Guide).

use crate::aws::error_code;
use crate::task::{Message, ModelId};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, QueueAttributeName, SendMessageBatchRequestEntry,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use std::error::Error;
use std::fmt::{self, Write};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The most messages of one batch call ("Amazon SQS message quotas").
pub const MAX_BATCH: usize = 10;
/// The longest visibility timeout that is set. SQS allows 12 hours from the receive ("Amazon SQS
/// visibility timeout").
const MAX_VISIBILITY: Duration = Duration::from_secs(11 * 60 * 60);

/// A failed call of the queue. A message may or may not have been sent.
#[derive(Debug, thiserror::Error)]
#[error("the call of SQS failed: {code}")]
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

/// A client that is made when it is first needed. Making one takes as long as half of a function's
/// start, since each client of the SDK parses the list of AWS's partitions again. The worker needs
/// one only for tasks of several chunks.
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
    /// The queue at `url`. `client` makes its client when it is first needed.
    pub fn new(client: impl FnOnce() -> Client + Send + 'static, url: String) -> Self {
        let client = Arc::new(LazyLock::new(Box::new(client) as Box<_>));
        Self { client, url }
    }

    /// Makes the client if there is none yet. Callers use it while they wait for something else
    /// before they send.
    pub async fn prepare(&self) {
        LazyLock::force(&self.client);
    }

    /// Sends the message of a task for `model`.
    ///
    /// # Errors
    /// When SQS rejects the message or does not respond. Without a response, the message may be on
    /// the queue nevertheless.
    pub async fn send(&self, model: &ModelId, message: &Message) -> Result<(), QueueError> {
        let body = body_of(message)?;
        let sent = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .message_group_id(group_of(model))
            .send()
            .boxed()
            .await;
        Ok(sent.map(drop)?)
    }

    /// Sends up to [`MAX_BATCH`] messages in one call, each with its task's model, and returns how
    /// many SQS accepted.
    ///
    /// # Errors
    /// When SQS does not respond. Some of the messages may be on the queue nevertheless.
    pub async fn send_batch(
        &self,
        messages: impl IntoIterator<Item = (&ModelId, &Message)>,
    ) -> Result<usize, QueueError> {
        let mut entries = Vec::with_capacity(MAX_BATCH);
        for (number, (model, message)) in messages.into_iter().enumerate() {
            let body = body_of(message)?;
            let entry = SendMessageBatchRequestEntry::builder()
                .id(number.to_string())
                .message_body(body)
                .message_group_id(group_of(model))
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

    /// Makes received messages come back after the given times, in whole seconds, instead of the
    /// queue's visibility timeout. Takes up to [`MAX_BATCH`] receipt handles.
    ///
    /// # Errors
    /// When SQS does not respond. A message whose visibility was not changed is redelivered after
    /// the queue's visibility timeout.
    pub async fn return_after(&self, messages: &[(String, Duration)]) -> Result<(), QueueError> {
        let mut entries = Vec::with_capacity(messages.len());
        for (number, (receipt_handle, after)) in messages.iter().enumerate() {
            let seconds = after.min(&MAX_VISIBILITY).as_millis().div_ceil(1_000);
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(number.to_string())
                .receipt_handle(receipt_handle)
                .visibility_timeout(i32::try_from(seconds).unwrap_or(i32::MAX))
                .build()
                .map_err(QueueError::not_built)?;
            entries.push(entry);
        }
        let changed = self
            .client
            .change_message_visibility_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send()
            .boxed()
            .await?;
        match changed.failed.into_iter().next() {
            None => Ok(()),
            Some(failed) => Err(QueueError {
                source: "the visibility of a message was not changed".into(),
                code: failed.code,
            }),
        }
    }

    /// Sends a body that is not a [`Message`] to the queue's dead-letter queue. The queue's own
    /// redrive comes only after hundreds of receives, since it must not move a message that only
    /// waits.
    ///
    /// # Errors
    /// When SQS does not respond, or the queue has no dead-letter queue.
    pub async fn send_to_dead_letters(&self, body: &str) -> Result<(), QueueError> {
        let asked = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(QueueAttributeName::RedrivePolicy)
            .send()
            .boxed()
            .await?;
        let attributes = asked.attributes.unwrap_or_default();
        let policy = attributes.get(&QueueAttributeName::RedrivePolicy);
        let url = policy.and_then(|policy| dead_letter_url(&self.url, policy));
        let sent = self
            .client
            .send_message()
            .queue_url(url.ok_or_else(|| QueueError {
                code: "no dead-letter queue".to_owned(),
                source: "the queue's redrive policy names no queue".into(),
            })?)
            .message_body(body)
            .send()
            .boxed()
            .await;
        Ok(sent.map(drop)?)
    }
}

/// The message group of a model. It is a hash, so that it contains no caller's text, and because a
/// group may have fewer characters than a model id.
fn group_of(model: &ModelId) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(model.as_str()))
}

/// The URL of the queue that a redrive policy names. That queue is in the same account and Region
/// as the queue at `url` ("Using dead-letter queues in Amazon SQS", Amazon SQS Developer Guide), so
/// only the name differs.
fn dead_letter_url(url: &str, redrive_policy: &str) -> Option<String> {
    let policy: serde_json::Value = serde_json::from_str(redrive_policy).ok()?;
    let (_, name) = policy
        .get("deadLetterTargetArn")?
        .as_str()?
        .rsplit_once(':')?;
    let (account, _) = url.rsplit_once('/')?;
    Some([account, "/", name].concat())
}

/// A message as JSON of ASCII characters. SQS rejects some of the other characters that a task id
/// may have, such as U+FFFE ("SendMessage", Amazon SQS API Reference).
fn body_of(message: &Message) -> Result<String, QueueError> {
    let json = serde_json::to_string(message).map_err(QueueError::not_built)?;
    if json.is_ascii() {
        return Ok(json);
    }
    // Outside of strings, JSON is ASCII, so escaping the other characters keeps the meaning.
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

    #[test]
    fn a_model_has_one_group_whatever_it_is_called() {
        let longest = "m".repeat(128);
        for model in ["embed-456", "模型", longest.as_str()] {
            let group = group_of(&ModelId::new(model).unwrap());
            assert_eq!(group, group_of(&ModelId::new(model).unwrap()));
            // "Using the message group ID": up to 128 characters, alphanumeric or punctuation.
            assert!(group.len() <= 128 && group.chars().all(|c| c.is_ascii_graphic()));
            assert!(!group.contains(model), "{group}");
        }
        let others = ["a", "b"].map(|model| group_of(&ModelId::new(model).unwrap()));
        assert_ne!(others[0], others[1]);
    }

    #[test]
    fn the_dead_letter_queue_is_beside_the_queue() {
        let policy = r#"{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:123456789012:stack-dlq", "maxReceiveCount": 1000}"#;
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/stack-queue";
        let expected = "https://sqs.eu-west-1.amazonaws.com/123456789012/stack-dlq";
        assert_eq!(dead_letter_url(url, policy).as_deref(), Some(expected));
        for bad in ["", "{}", r#"{"deadLetterTargetArn": 1}"#] {
            assert_eq!(dead_letter_url(url, bad), None, "{bad}");
        }
    }
}
