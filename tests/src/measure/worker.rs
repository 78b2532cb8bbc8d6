//! The worker in a process that hosts no services, as a function has it.

use super::{address, attribute};
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use aws_sdk_dynamodb::config::SharedHttpClient;
use chrono::{DateTime, TimeDelta, Utc};
use local::NAME;
use serde_json::Value;
use shared::aws;
use shared::clock::Clock;
use shared::config::Environment;
use shared::queue::TaskQueue;
use shared::store::TaskStore;
use shared::vector::{Services, VectorStores};
use shared::worker::Worker;

/// How long an invocation may take, as `template.yaml` has it.
pub const INVOCATION: TimeDelta = TimeDelta::seconds(60);

/// A worker and what feeds it.
#[derive(Debug)]
pub struct Parts {
    worker: Worker,
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    queue: String,
}

impl Parts {
    /// A worker over the services at these addresses ([`super::addresses`]), and over the vector stores that `stores` names.
    /// `http_client`: what its calls to S3 Vectors go through.
    pub fn of(services: &Value, http_client: Option<SharedHttpClient>) -> Self {
        let mut environment = Environment::from_pairs([
            ("TABLE_NAME".to_owned(), NAME.to_owned()),
            ("VECTOR_STORES".to_owned(), address(services, "stores")),
        ]);
        let config = |name| aws::local_config(&address(services, name), None);
        let dynamodb = aws::dynamodb_client(&config("dynamodb"));
        let sqs = aws::sqs_client(&config("sqs"));
        let queue = address(services, "queue");
        let vectors = Services {
            aws: aws::local_config(&address(services, "s3vectors"), http_client),
            password: None,
        };
        let worker = Worker::new(
            TaskStore::new(dynamodb.clone(), environment.store()),
            TaskQueue::new(
                {
                    let sqs = sqs.clone();
                    move || sqs
                },
                queue.clone(),
            ),
            VectorStores::new(environment.vector_stores(), vectors),
            Clock::System,
        );
        Self {
            worker,
            dynamodb,
            sqs,
            queue,
        }
    }

    /// Whether this task came to an end.
    pub async fn has_ended(&self, task_id: &str) -> bool {
        let status = attribute(&self.dynamodb, task_id, "status").await;
        !["pending", "processing"].contains(&status.as_str())
    }

    /// Receives a batch and carries it out. Answers how many messages there were.
    ///
    /// # Panics
    /// When one is to come back.
    pub async fn invoke(&self, deadline: DateTime<Utc>) -> usize {
        let receive = self.sqs.receive_message().queue_url(&self.queue);
        let receive = receive.max_number_of_messages(10).wait_time_seconds(1);
        let messages = receive.send().await.expect("SQS answers").messages;
        let messages = messages.unwrap_or_default();
        let mut event = SqsEvent::default();
        let records = messages.iter().map(|message| {
            let mut record = SqsMessage::default();
            record.message_id = message.message_id.clone();
            record.body = message.body.clone();
            record
        });
        event.records = records.collect();
        let answer = self.worker.handle(event, deadline).await;
        assert_eq!(answer.batch_item_failures.len(), 0, "nothing comes back");
        for message in &messages {
            let delete = self.sqs.delete_message().queue_url(&self.queue);
            let delete = delete.set_receipt_handle(message.receipt_handle.clone());
            delete.send().await.expect("a message is deleted");
        }
        messages.len()
    }
}
