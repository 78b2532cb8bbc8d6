//! The memory of the handlers alone, in processes of their own as Lambda has them: one for the create, one for the worker,
//! over embedded services in another. And the bare client's two halves, in the same way.

use crate::bare::{Bare, CHUNK};
use lambda_http::http::Request;
use lambda_http::{Body, RequestExt};
use local::NAME;
use serde_json::{Value, json};
use shared::api::Api;
use shared::aws;
use shared::clock::Clock;
use shared::config::Environment;
use shared::queue::TaskQueue;
use shared::store::TaskStore;
use tests::measure::worker::{INVOCATION, Parts};
use tests::measure::{self, ROOT, address, addresses, attribute};

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
    let running = measure::start(measure::services_only()).await;
    let mut row = json!({"what": "handlers", "objects": objects});
    for (half, name) in [
        (Half::Create, "create"),
        (Half::Work, "work"),
        (Half::BareCreate, "bare-create"),
        (Half::BareWork, "bare-work"),
    ] {
        let index = index_of(half);
        if matches!(half, Half::Create | Half::BareCreate) {
            measure::seed_index(&running.clients.s3vectors, index, SEED, objects).await;
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
        row[name] = measure::child(&arguments).await;
        if half == Half::Work {
            assert_eq!(
                attribute(&running.clients.dynamodb, "task", "status").await,
                "done"
            );
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
    measure::forget_peak();
    measure::resident_megabytes()
}

fn memory(before: f64) -> Value {
    json!({"before_mb": before, "peak_mb": measure::peak_megabytes()})
}

/// The create handler on a request as the runtime hands it over: with its body as text.
async fn create(objects: usize, services: &Value) -> Value {
    let mut environment = Environment::from_pairs([("TABLE_NAME".to_owned(), NAME.to_owned())]);
    let config = |name| aws::local_config(&address(services, name), None);
    let dynamodb = aws::dynamodb_client(&config("dynamodb"));
    let store = TaskStore::new(dynamodb, environment.store());
    let queue = TaskQueue::new(
        {
            let config = config("sqs");
            move || aws::sqs_client(&config)
        },
        address(services, "queue"),
    );
    let api = Api::new(store, queue, environment.api(), Clock::System);
    let path = format!("{ROOT}/run");
    let request = || Request::post(&path).header("content-type", "application/json");
    let body = measure::run_body(index_of(Half::Create), "task", SEED, objects);
    let request = request().body(Body::Text(body)).expect("a request");
    let before = before();
    let request = request.with_raw_http_path(&path);
    let response = api.handle(request).await;
    assert_eq!(response.status(), 200, "{:?}", response.body());
    memory(before)
}

/// The worker, one invocation at a time, until nothing is on the queue.
async fn work(services: &Value) -> Value {
    let worker = Parts::of(services, None);
    let before = before();
    while worker.invoke(Clock::System.now() + INVOCATION).await > 0 {}
    memory(before)
}
