//! The worker in a process that hosts no services, as a function has it.

use super::{address, attribute};
use crate::queue::{Queue, Receive};
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
    queue: Queue,
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
        let queue_url = address(services, "queue");
        let queue = Queue::new(&sqs, &queue_url);
        let vectors = Services {
            aws: aws::local_config(&address(services, "s3vectors"), http_client),
            password: None,
        };
        let worker = Worker::new(
            TaskStore::new(dynamodb.clone(), environment.store()),
            TaskQueue::new(move || sqs, queue_url),
            VectorStores::new(environment.vector_stores(), vectors),
            Clock::System,
        );
        Self {
            worker,
            dynamodb,
            queue,
        }
    }

    /// Whether this task came to an end.
    pub async fn has_ended(&self, task_id: &str) -> bool {
        let status = attribute(&self.dynamodb, task_id, "status").await;
        !["pending", "processing"].contains(&status.as_str())
    }

    /// Receives a batch and carries it out. Returns how many messages there were.
    ///
    /// # Panics
    /// When one is to come back.
    pub async fn invoke(&self, deadline: DateTime<Utc>) -> usize {
        let receive = Receive {
            wait_seconds: 1,
            ..Receive::default()
        };
        let work = async |event| {
            let response = self.worker.handle(event, deadline).await;
            assert_eq!(response.batch_item_failures.len(), 0, "nothing comes back");
            response
        };
        self.queue.work_once(receive, work).await
    }
}
