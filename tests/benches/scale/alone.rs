//! The memory of the handlers alone, in processes of their own as Lambda has them: one for the create, one for the worker,
//! over embedded services in another. And the bare client's two halves, in the same way.

use crate::bare::{Bare, CHUNK};
use crate::service::{addresses, attribute};
use crate::setup::{self, ROOT};
use lambda_http::http::Request;
use lambda_http::{Body, RequestExt};
use local::{DEFAULT_VECTOR_STORES, NAME};
use serde_json::{Value, json};
use shared::api::Api;
use shared::aws;
use shared::clock::Clock;
use shared::config::Environment;
use shared::queue::TaskQueue;
use shared::store::TaskStore;
use shared::vector::{Services, VectorStores};
use shared::worker::{SqsEvent, Worker};
use std::time::Duration;

/// How long a worker's invocation may take, as the runner has it.
const INVOCATION: chrono::TimeDelta = chrono::TimeDelta::seconds(30);
const SEED: u64 = 1;

/// A half of the work, in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Half {
    /// The create handler.
    Create,
    /// The worker.
    Work,
    /// The bare client, up to its last message.
    BareCreate,
    /// The bare client, from its first message.
    BareWork,
}

/// Hosts the services and has each half run over them in a process of its own; answers their peaks.
pub(crate) async fn measure(objects: usize) -> Value {
    let running = setup::start(setup::services_only()).await;
    let mut row = json!({"what": "handlers", "objects": objects});
    for (half, name) in [
        (Half::Create, "create"),
        (Half::Work, "work"),
        (Half::BareCreate, "bare-create"),
        (Half::BareWork, "bare-work"),
    ] {
        let index = index_of(half);
        if matches!(half, Half::Create | Half::BareCreate) {
            setup::seed_index(&running.clients.s3vectors, index, SEED, objects).await;
        }
        let objects = objects.to_string();
        let addresses = addresses(&running).to_string();
        let arguments = [
            "half",
            name,
            "--objects",
            &objects,
            "--services",
            &addresses,
        ];
        row[name] = crate::child(&arguments).await;
        if half == Half::Work {
            assert_eq!(attribute(&running, "task", "status").await, "done");
        }
    }
    running.shutdown().await;
    row
}

fn index_of(half: Half) -> &'static str {
    match half {
        Half::Create | Half::Work => "service",
        Half::BareCreate | Half::BareWork => "bare",
    }
}

/// Does this half over the services at `services`; answers what memory it took.
pub(crate) async fn run(half: Half, objects: usize, services: &Value) -> Value {
    match half {
        Half::Create => create(objects, services).await,
        Half::Work => work(services).await,
        Half::BareCreate => {
            let bare = Bare::new(services, None);
            let before = before();
            bare.create(index_of(half), SEED, objects).await;
            memory(before)
        }
        Half::BareWork => {
            let bare = Bare::new(services, None);
            let before = before();
            bare.handle(objects.div_ceil(CHUNK)).await;
            memory(before)
        }
    }
}

fn before() -> f64 {
    setup::forget_peak();
    setup::resident_megabytes()
}

fn memory(before: f64) -> Value {
    json!({"before_mb": before, "peak_mb": setup::peak_megabytes()})
}

/// What the functions' `main` build: a store and a queue.
fn parts(services: &Value) -> (TaskStore, TaskQueue, Environment) {
    let address = |name: &str| services[name].as_str().expect("an address").to_owned();
    let mut environment = Environment::from_pairs([
        ("TABLE_NAME".to_owned(), NAME.to_owned()),
        ("VECTOR_STORES".to_owned(), DEFAULT_VECTOR_STORES.to_owned()),
    ]);
    let dynamodb = aws::dynamodb_client(&aws::local_config(&address("dynamodb"), None));
    let sqs = aws::sqs_client(&aws::local_config(&address("sqs"), None));
    let store = TaskStore::new(dynamodb, environment.store());
    (store, TaskQueue::new(sqs, address("queue")), environment)
}

/// The create handler on a request as the runtime hands it over: with its body as text.
async fn create(objects: usize, services: &Value) -> Value {
    let (store, queue, mut environment) = parts(services);
    let api = Api::new(store, queue, environment.api(), Clock::System);
    let path = format!("{ROOT}/run");
    let request = || Request::post(&path).header("content-type", "application/json");
    let body = setup::run_body(index_of(Half::Create), "task", SEED, objects);
    let request = request().body(Body::Text(body)).expect("a request");
    let before = before();
    let request = request.with_raw_http_path(&path);
    let response = api.handle(request).await;
    assert_eq!(response.status(), 200, "{:?}", response.body());
    memory(before)
}

/// The worker, one invocation at a time, until nothing is on the queue.
async fn work(services: &Value) -> Value {
    let (store, queue, mut environment) = parts(services);
    let address = services["s3vectors"].as_str().expect("an address");
    let vectors = Services {
        aws: aws::local_config(address, None),
        password: None,
    };
    let stores = VectorStores::new(&environment.vector_stores(), &vectors);
    let worker = Worker::new(store, queue, stores, Clock::System);
    let sqs = aws::sqs_client(&aws::local_config(
        services["sqs"].as_str().expect("an address"),
        None,
    ));
    let url = services["queue"].as_str().expect("a queue");
    let before = before();
    loop {
        let receive = sqs.receive_message().queue_url(url);
        let receive = receive.max_number_of_messages(10).wait_time_seconds(1);
        let messages = receive.send().await.expect("SQS answers").messages;
        let Some(messages) = messages.filter(|messages| !messages.is_empty()) else {
            return memory(before);
        };
        let mut event = SqsEvent::default();
        let records = messages.iter().map(|message| {
            let mut record = aws_lambda_events::sqs::SqsMessage::default();
            record.message_id = message.message_id.clone();
            record.body = message.body.clone();
            record
        });
        event.records = records.collect();
        let answer = worker.handle(event, Clock::System.now() + INVOCATION).await;
        assert_eq!(answer.batch_item_failures.len(), 0, "nothing comes back");
        for message in messages {
            let delete = sqs.delete_message().queue_url(url);
            let delete = delete.set_receipt_handle(message.receipt_handle).send();
            let deleted = tokio::time::timeout(Duration::from_secs(5), delete).await;
            deleted.expect("in time").expect("a message is deleted");
        }
    }
}
