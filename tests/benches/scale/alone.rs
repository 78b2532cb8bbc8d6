//! The memory of the handlers alone, in separate processes as in Lambda.
//!
//! One process runs the create and one the worker, over embedded services in another. The two
//! halves of the bare client are measured in the same way.

use crate::bare::{Bare, CHUNK};
use lambda_http::http::Request;
use lambda_http::{Body, RequestExt};
use serde_json::{Value, json};
use shared::aws;
use tests::bench::{self, attribute, process};
use tests::handlers::{Addresses, Wiring, stores_at};
use tests::http::ROOT;
use tests::queue::{Queue, Receive};
use tests::seed;

const SEED: u64 = 1;

/// A half of the work, in a separate process.
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

/// Hosts the services and runs each half over them in a separate process. Returns their peaks.
pub(crate) async fn measure(objects: usize) -> Value {
    let running = bench::start(bench::services_only()).await;
    let mut row = json!({"what": "handlers", "objects": objects});
    for (half, name) in [
        (Half::Create, "create"),
        (Half::Work, "work"),
        (Half::BareCreate, "bare-create"),
        (Half::BareWork, "bare-work"),
    ] {
        let index = index_of(half);
        if matches!(half, Half::Create | Half::BareCreate) {
            seed::half_index(&running.clients.s3vectors, index, SEED, objects).await;
        }
        let objects = objects.to_string();
        let addresses = Addresses::of(&running).to_string();
        let arguments = [
            "half",
            name,
            "--objects",
            &objects,
            "--services",
            &addresses,
        ];
        row[name] = process::child(&arguments).await;
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

/// Does this half over the services at `services`. Returns how much memory it took.
pub(crate) async fn run(half: Half, objects: usize, services: &Addresses) -> Value {
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
    process::forget_peak();
    process::resident_megabytes()
}

fn memory(before: f64) -> Value {
    json!({"before_mb": before, "peak_mb": process::peak_megabytes()})
}

/// Runs the create handler on a request as the runtime passes it, with its body as text.
async fn create(objects: usize, services: &Addresses) -> Value {
    let dynamodb = aws::dynamodb_client(&aws::local_config(&services.dynamodb, None));
    let sqs = aws::local_config(&services.sqs, None);
    let api = Wiring::over(dynamodb, move || aws::sqs_client(&sqs), &services.queue).api();
    let path = format!("{ROOT}/run");
    let request = || Request::post(&path).header("content-type", "application/json");
    let body = seed::run_text(index_of(Half::Create), "task", SEED, objects);
    let request = request().body(Body::Text(body)).expect("a request");
    let before = before();
    let request = request.with_raw_http_path(&path);
    let response = api.handle(request).await;
    assert_eq!(response.status(), 200, "{:?}", response.body());
    memory(before)
}

/// Runs the worker, one invocation at a time, until nothing is on the queue.
async fn work(services: &Addresses) -> Value {
    let dynamodb = aws::dynamodb_client(&aws::local_config(&services.dynamodb, None));
    let sqs = aws::sqs_client(&aws::local_config(&services.sqs, None));
    let queue = Queue::new(&sqs, &services.queue);
    let wiring = Wiring::over(dynamodb, move || sqs, &services.queue);
    let worker = wiring.worker(stores_at(services, None));
    let receive = Receive {
        wait_seconds: 1,
        ..Receive::default()
    };
    let before = before();
    while bench::invoke(&worker, &queue, receive).await > 0 {}
    memory(before)
}
