//! Worker processes on one index of S3 Vectors, which accepts 2,500 vectors a second and refuses
//! more.
//!
//! Each process carries out one invocation at a time, as a function does.

use crate::Row;
use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_runtime_api::client::result::ConnectorError;
use clap::ValueEnum;
use futures_util::future::join_all;
use local::{Options, Throttle};
use serde_json::{Value, json};
use shared::clock::Clock;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::bench::table::row;
use tests::bench::{self, process};
use tests::handlers::{Addresses, UNPACED_STORES, Wiring, clients, stores_at};
use tests::queue::{Queue, Receive};
use tests::seed;
use tests::wire::{body_of, intercept, name_of};
use tokio::time::{Instant, sleep};

const INDEX: &str = "quota";
/// The vectors that the index accepts in a second ("Limitations and restrictions" of S3 Vectors,
/// Amazon S3 User Guide).
const QUOTA: f64 = 2_500.0;
/// How long a worker that received nothing waits before it receives again.
const PAUSE: Duration = Duration::from_millis(100);
/// Ids in one delete.
const BATCH: usize = 500;

/// How the workers keep to the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pace {
    /// By grants from the table, as deployed.
    Shared,
    /// Each worker on its own, as without a response to a request for a grant.
    Own,
    /// Not at all: the workers back off when they are refused.
    None,
}

impl Pace {
    fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Own => "own",
            Self::None => "none",
        }
    }

    /// The setting `VECTOR_STORES`, with every model's index in the embedded bucket.
    fn stores(self) -> &'static str {
        match self {
            Self::Shared | Self::Own => local::DEFAULT_VECTOR_STORES,
            Self::None => UNPACED_STORES,
        }
    }
}

/// Measures one and several workers, with each kind of pace.
pub(crate) async fn measure(quick: bool) -> Vec<Row> {
    let (objects, workers): (_, &[usize]) = if quick {
        (20_000, &[1, 5])
    } else {
        (100_000, &[1, 2, 5, 10, 30])
    };
    let mut rows = Vec::new();
    for workers in workers {
        for pace in [Pace::Shared, Pace::Own, Pace::None] {
            eprintln!("S3 Vectors, {workers} workers, pace: {}", pace.name());
            rows.push(run(*workers, objects, pace).await);
        }
    }
    rows
}

/// Measures tasks of one object, alone and during a task of 60,000 objects of another index, in the
/// local runner as `cargo run -- --throttle` starts it.
pub(crate) async fn neighbours() -> Vec<Row> {
    let throttle = Throttle::default();
    throttle.turn(true);
    let options = Options {
        throttle: throttle.clone(),
        ..Options::default()
    };
    let running = bench::start(options).await;
    let count = 60_000;
    let all: Vec<_> = seed::object_ids(1, count).collect();
    throttle.turn(false);
    seed::index(&running.clients.s3vectors, INDEX, &all).await;
    throttle.turn(true);
    let one = async |number: usize| {
        let (id, object) = (format!("one-{number}"), format!("obj-{}", number + 1));
        let body = seed::run_body(seed::DEMO_INDEX, &id, &[object]).to_string();
        let began = Instant::now();
        bench::run(&running, body).await;
        let client = &running.clients.dynamodb;
        bench::until(began, async || bench::has_ended(client, &id).await).await;
        began.elapsed().as_secs_f64()
    };
    let mut alone = Vec::new();
    for number in 0..10 {
        alone.push(one(number).await);
    }
    bench::run(&running, seed::run_text(INDEX, "many", 1, count)).await;
    let mut beside = Vec::new();
    while !bench::has_ended(&running.clients.dynamodb, "many").await {
        beside.push(one(10 + beside.len()).await);
        sleep(Duration::from_millis(300)).await;
    }
    running.shutdown().await;
    let row = |what: &str, mut seconds: Vec<f64>| {
        seconds.sort_unstable_by(f64::total_cmp);
        row([
            ("tasks of one object", what.into()),
            ("tasks", seconds.len().into()),
            (
                "median s",
                format!("{:.2}", seconds[seconds.len() / 2]).into(),
            ),
            (
                "most s",
                format!("{:.2}", seconds[seconds.len() - 1]).into(),
            ),
        ])
    };
    vec![row("alone", alone), row("beside 60,000", beside)]
}

/// Measures tasks of 30,000 objects of which 1,000 exist, in the local runner as
/// `cargo run -- --throttle` starts it. The existing objects are spread over the task, or at its
/// start.
pub(crate) async fn absent() -> Vec<Row> {
    let mut rows = Vec::new();
    for (place, apart) in [("spread", 30), ("at the start", 1)] {
        let throttle = Throttle::default();
        let options = Options {
            throttle: throttle.clone(),
            ..Options::default()
        };
        let running = bench::start(options).await;
        let all: Vec<_> = seed::object_ids(1, 30_000).collect();
        let there: Vec<_> = all.iter().step_by(apart).take(1_000).cloned().collect();
        seed::index(&running.clients.s3vectors, INDEX, &there).await;
        throttle.turn(true);
        let began = Instant::now();
        bench::run(&running, seed::run_body(INDEX, "task", &all).to_string()).await;
        let client = &running.clients.dynamodb;
        bench::until(began, async || bench::has_ended(client, "task").await).await;
        let seconds = began.elapsed().as_secs_f64();
        let deleted = bench::attribute(client, "task", "deleted").await;
        running.shutdown().await;
        rows.push(row([
            ("objects", all.len().into()),
            ("of these there", place.into()),
            ("deleted", deleted.into()),
            ("seconds", format!("{seconds:.1}").into()),
        ]));
    }
    rows
}

async fn run(workers: usize, objects: usize, pace: Pace) -> Row {
    let throttle = Throttle::default();
    let options = Options {
        throttle: throttle.clone(),
        worker_concurrency: 0,
        ..Options::default()
    };
    let running = bench::start(options).await;
    let all: Vec<_> = seed::object_ids(1, objects).collect();
    seed::index(&running.clients.s3vectors, INDEX, &all).await;
    throttle.turn(true);
    let services = Addresses {
        stores: pace.stores().to_owned(),
        ..Addresses::of(&running)
    };

    let began = Instant::now();
    bench::run(&running, seed::run_text(INDEX, "task", 1, objects)).await;
    let services = services.to_string();
    let arguments = [
        "worker",
        "--bench",
        "--services",
        &services,
        "--pace",
        pace.name(),
    ];
    let tallies = join_all((0..workers).map(|_| process::child(&arguments))).await;
    let total = began.elapsed().as_secs_f64();
    let ended = bench::attribute(&running.clients.dynamodb, "task", "status").await;
    let deleted = bench::attribute(&running.clients.dynamodb, "task", "deleted").await;
    running.shutdown().await;

    let tally = tallies.iter().map(Tally::from_json);
    let tally = tally.reduce(Tally::and).expect("a worker");
    let (first, last) = (tally.first.unwrap_or(0), tally.last.unwrap_or(0));
    let seconds = (last - first) as f64 / 1e3;
    // The time for the last delete comes after the measured period, so it is not counted.
    let used = (objects - BATCH) as f64 / seconds / QUOTA;
    let ideal = objects as f64 / QUOTA;
    let end = (seconds + BATCH as f64 / QUOTA) / ideal;
    let refused = tally.refused as f64 / tally.calls as f64;
    row([
        ("S3 Vectors, pace", pace.name().into()),
        ("worker processes", workers.into()),
        ("objects", objects.into()),
        ("ended", format!("{ended}, {deleted} deleted").into()),
        ("seconds", format!("{total:.1}").into()),
        ("end / ideal", format!("{end:.2}").into()),
        ("quota used", format!("{:.1} %", used * 100.0).into()),
        ("calls", tally.calls.into()),
        ("refused (429)", tally.refused.into()),
        ("of all", format!("{:.2} %", refused * 100.0).into()),
        (
            "receives a chunk",
            format!(
                "{:.1}",
                tally.receives as f64 * BATCH as f64 / objects as f64
            )
            .into(),
        ),
        (
            "grants a chunk",
            format!("{:.1}", tally.grants as f64 * BATCH as f64 / objects as f64).into(),
        ),
    ])
}

/// Runs a worker process until the task has ended.
pub(crate) async fn work(services: &Addresses, pace: Pace) -> Value {
    let meter = Meter::default();
    let clients = clients(services, Some(meter.grants(pace == Pace::Shared)));
    let (sqs, queue) = (
        clients.sqs.clone(),
        Queue::new(&clients.sqs, &services.queue),
    );
    let wiring = Wiring::over(clients.dynamodb.clone(), move || sqs, &services.queue);
    let worker = wiring.worker(stores_at(services, Some(meter.http_client())));
    while !bench::has_ended(&clients.dynamodb, "task").await {
        let work = async |event| {
            worker
                .handle(event, Clock::System.now() + bench::INVOCATION)
                .await
        };
        let received = queue.work_once(Receive::default(), work).await;
        if received == 0 {
            // In the embedded queue a waiting receive checks only once a second for visible
            // messages. SQS delivers them at once.
            sleep(PAUSE).await;
        }
        meter.0.lock().expect("not poisoned").receives += received as u64;
    }
    meter.tally().to_json()
}

/// The counts of a worker: calls to S3 Vectors, how many were refused, and when; requests for
/// grants; and messages.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    calls: u64,
    refused: u64,
    deletes: u64,
    grants: u64,
    receives: u64,
    /// When the first and the last successful delete began, in milliseconds.
    first: Option<i64>,
    last: Option<i64>,
}

impl Tally {
    fn to_json(self) -> Value {
        json!({
            "calls": self.calls, "refused": self.refused, "deletes": self.deletes,
            "grants": self.grants, "receives": self.receives,
            "first": self.first, "last": self.last,
        })
    }

    fn from_json(value: &Value) -> Self {
        let count = |name: &str| value[name].as_u64().expect("a count");
        Self {
            calls: count("calls"),
            refused: count("refused"),
            deletes: count("deletes"),
            grants: count("grants"),
            receives: count("receives"),
            first: value["first"].as_i64(),
            last: value["last"].as_i64(),
        }
    }

    fn and(self, other: Self) -> Self {
        let firsts = self.first.into_iter().chain(other.first);
        Self {
            calls: self.calls + other.calls,
            refused: self.refused + other.refused,
            deletes: self.deletes + other.deletes,
            grants: self.grants + other.grants,
            receives: self.receives + other.receives,
            first: firsts.min(),
            last: self.last.max(other.last),
        }
    }
}

/// Counts the calls that go through its HTTP client. Clones share the counts.
#[derive(Clone, Debug, Default)]
struct Meter(Arc<Mutex<Tally>>);

impl Meter {
    /// Returns the HTTP client to put under the SDK's clients of DynamoDB and SQS. It counts
    /// requests for grants, and loses them unless `are_sent`.
    fn grants(&self, are_sent: bool) -> SharedHttpClient {
        let meter = self.clone();
        intercept(move |request, network| {
            let key = body_of(&request)["Key"]["pk"]["S"].clone();
            let is_grant = key.as_str().is_some_and(|key| key.starts_with("P#"));
            if is_grant {
                meter.0.lock().expect("not poisoned").grants += 1;
            }
            async move {
                if is_grant && !are_sent {
                    return Err(ConnectorError::io("lost".into()));
                }
                network.send(request).await
            }
        })
    }

    /// Returns the HTTP client to put under the SDK's clients of S3 Vectors.
    fn http_client(&self) -> SharedHttpClient {
        let meter = self.clone();
        intercept(move |request, network| {
            let meter = meter.clone();
            let is_delete = name_of(&request) == "S3Vectors.DeleteVectors";
            let began = Clock::System.now().timestamp_millis();
            async move {
                let response = network.send(request).await?;
                let mut tally = meter.0.lock().expect("not poisoned");
                tally.calls += 1;
                match response.status().as_u16() {
                    429 => tally.refused += 1,
                    200 if is_delete => {
                        tally.deletes += 1;
                        tally.first = tally.first.into_iter().chain([began]).min();
                        tally.last = tally.last.max(Some(began));
                    }
                    _ => {}
                }
                drop(tally);
                Ok(response)
            }
        })
    }

    fn tally(&self) -> Tally {
        *self.0.lock().expect("not poisoned")
    }
}
