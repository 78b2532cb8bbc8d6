//! The handlers, wired by the harness: the counterpart of the functions' `main`s.
//!
//! The suite uses the handlers that the local runner wires (`local::Handlers`). This wiring is for
//! code that needs handlers over other clients: the simulation, and benchmarks in a process that
//! hosts no services. The untuned baseline of `tests/baselines` is a package of its own and has its
//! own wiring.

use aws_sdk_dynamodb::config::SharedHttpClient;
use local::{Clients, NAME, Running};
use serde::{Deserialize, Serialize};
use shared::api::{Api, ApiConfig};
use shared::aws;
use shared::clock::Clock;
use shared::config::Environment;
use shared::queue::TaskQueue;
use shared::store::{StoreConfig, TaskStore};
use shared::vector::{Services, VectorStoreRules, VectorStores};
use shared::worker::{Sweeper, Worker};
use std::fmt;
use std::str::FromStr;

/// A setting that gives every model an index in the embedded S3 Vectors, without a pace. A pace
/// would hide the time that everything else takes.
pub const UNPACED_STORES: &str = r#"{"*": "s3vectors://demo/{embedding_model_id}?objects_per_second=1000000&requests_per_second=1000000"}"#;

/// The addresses of the services. A process passes them to another one as JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Addresses {
    /// The URL of DynamoDB.
    pub dynamodb: String,
    /// The URL of SQS.
    pub sqs: String,
    /// The URL of S3 Vectors.
    pub s3vectors: String,
    /// The URL of the work queue.
    pub queue: String,
    /// The setting `VECTOR_STORES`.
    pub stores: String,
}

impl Addresses {
    /// The addresses of `running`, with stores that have no pace.
    pub fn of(running: &Running) -> Self {
        Self {
            dynamodb: format!("http://{}", running.dynamodb),
            sqs: format!("http://{}", running.sqs),
            s3vectors: format!("http://{}", running.s3vectors),
            queue: running.queue_url.clone(),
            stores: UNPACED_STORES.to_owned(),
        }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Addresses {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// Creates SDK clients as the functions do, for the services at `addresses`. They use
/// `http_client`, or else each uses one of its own.
pub fn clients(addresses: &Addresses, http_client: Option<SharedHttpClient>) -> Clients {
    let config = |url: &str| aws::local_config(url, http_client.clone());
    Clients {
        dynamodb: aws::dynamodb_client(&config(&addresses.dynamodb)),
        sqs: aws::sqs_client(&config(&addresses.sqs)),
        s3vectors: aws::s3vectors_client(&config(&addresses.s3vectors)),
    }
}

/// The parts that every handler is made of. Clones share them.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// The tasks.
    pub store: TaskStore,
    /// The queue.
    pub queue: TaskQueue,
    /// The settings of `/run`.
    pub api: ApiConfig,
    /// The handlers' time.
    pub clock: Clock,
}

impl Wiring {
    /// Creates the parts over these clients. The SQS client is created when it is first needed.
    pub fn new(
        dynamodb: aws_sdk_dynamodb::Client,
        sqs: impl FnOnce() -> aws_sdk_sqs::Client + Send + 'static,
        queue_url: &str,
        store: StoreConfig,
        api: ApiConfig,
        clock: Clock,
    ) -> Self {
        Self {
            store: TaskStore::new(dynamodb, store),
            queue: TaskQueue::new(sqs, queue_url.to_owned()),
            api,
            clock,
        }
    }

    /// Creates the parts over these clients, on the table and the queue of a runner, with default
    /// settings.
    pub fn over(
        dynamodb: aws_sdk_dynamodb::Client,
        sqs: impl FnOnce() -> aws_sdk_sqs::Client + Send + 'static,
        queue_url: &str,
    ) -> Self {
        let name = ("TABLE_NAME".to_owned(), NAME.to_owned());
        let mut environment = Environment::from_pairs([name]);
        let (store, api) = (environment.store(), environment.api());
        Self::new(dynamodb, sqs, queue_url, store, api, Clock::System)
    }

    /// All endpoints.
    pub fn api(&self) -> Api {
        let (store, queue) = (self.store.clone(), self.queue.clone());
        Api::new(store, queue, self.api, self.clock.clone())
    }

    /// The worker, over `stores`.
    pub fn worker(&self, stores: VectorStores) -> Worker {
        let (store, queue) = (self.store.clone(), self.queue.clone());
        Worker::new(store, queue, stores, self.clock.clone())
    }

    /// The sweeper.
    pub fn sweeper(&self) -> Sweeper {
        let (store, queue) = (self.store.clone(), self.queue.clone());
        Sweeper::new(store, queue, self.clock.clone())
    }
}

/// The vector stores that a setting `VECTOR_STORES` names.
///
/// # Panics
/// When the setting is not valid.
pub fn stores(setting: &str, services: Services) -> VectorStores {
    let rules = VectorStoreRules::parse(setting).expect("a valid setting");
    VectorStores::new(rules, services)
}

/// The vector stores at `addresses`, over this HTTP client or else one of their own.
pub fn stores_at(addresses: &Addresses, http_client: Option<SharedHttpClient>) -> VectorStores {
    let services = Services {
        aws: aws::local_config(&addresses.s3vectors, http_client),
        password: None,
        token: None,
        clock: Clock::System,
    };
    stores(&addresses.stores, services)
}
