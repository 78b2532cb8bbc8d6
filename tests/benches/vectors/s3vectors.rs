//! Worker processes on one index of S3 Vectors, which takes 2,500 vectors a second and refuses what is beyond.
//!
//! Each process carries out one invocation at a time, as a function does, and knows of the others only by the refusals.

use crate::Row;
use crate::meter::{Meter, Tally};
use futures_util::future::join_all;
use local::{Options, Throttle};
use serde_json::Value;
use shared::clock::Clock;
use tests::measure::{self, ROOT, UNPACED_STORES};
use tests::{http, measure::worker};
use tokio::time::Instant;

const INDEX: &str = "quota";
/// What the index takes in a second ("Limitations and restrictions" of S3 Vectors, Amazon S3 User Guide).
const QUOTA: f64 = 2_500.0;
/// Ids in one delete.
const BATCH: usize = 500;
/// Every model's index in the embedded bucket, at the pace of the service's own quota.
const PACED_STORES: &str = local::DEFAULT_VECTOR_STORES;

/// Measures one and several workers, with their pace and without.
pub(crate) async fn measure(quick: bool) -> Vec<Row> {
    let (objects, workers): (_, &[usize]) = match quick {
        true => (20_000, &[1, 5]),
        false => (100_000, &[1, 2, 5, 10]),
    };
    let mut rows = Vec::new();
    for workers in workers {
        for (pace, stores) in [("paced", PACED_STORES), ("not paced", UNPACED_STORES)] {
            eprintln!("S3 Vectors, {workers} workers, {pace}");
            rows.push(run(*workers, objects, pace, stores).await);
        }
    }
    rows
}

async fn run(workers: usize, objects: usize, pace: &str, stores: &str) -> Row {
    let throttle = Throttle::default();
    let options = Options {
        throttle: throttle.clone(),
        worker_concurrency: 0,
        ..Options::default()
    };
    let running = measure::start(options).await;
    measure::seed_all(&running.clients.s3vectors, INDEX, 1, objects).await;
    throttle.turn(true);
    let mut services = measure::addresses(&running);
    services["stores"] = stores.into();

    let began = Instant::now();
    let body = measure::run_body(INDEX, "task", 1, objects);
    let path = format!("{ROOT}/run");
    let reply = http::send(running.api, "POST", &path, Some("application/json"), body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let services = services.to_string();
    let arguments = ["worker", "--bench", "--services", &services];
    let tallies = join_all((0..workers).map(|_| measure::child(&arguments))).await;
    let total = began.elapsed().as_secs_f64();
    let ended = measure::attribute(&running.clients.dynamodb, "task", "status").await;
    let deleted = measure::attribute(&running.clients.dynamodb, "task", "deleted").await;
    running.shutdown().await;

    let tally = tallies.iter().map(Tally::from_json);
    let tally = tally.reduce(Tally::and).expect("a worker");
    let (first, last) = (tally.first.unwrap_or(0), tally.last.unwrap_or(0));
    let seconds = (last - first) as f64 / 1e3;
    // What the last call deleted had its time after the last moment that is counted.
    let used = (objects - BATCH) as f64 / seconds / QUOTA;
    let refused = tally.refused as f64 / tally.calls as f64;
    vec![
        ("S3 Vectors", pace.into()),
        ("worker processes", workers.into()),
        ("objects", objects.into()),
        ("ended", format!("{ended}, {deleted} deleted").into()),
        ("seconds", format!("{total:.1}").into()),
        ("quota used", format!("{:.1} %", used * 100.0).into()),
        ("calls", tally.calls.into()),
        ("answered 429", tally.refused.into()),
        ("of all", format!("{:.2} %", refused * 100.0).into()),
    ]
}

/// A worker process: until the task has ended.
pub(crate) async fn work(services: &Value) -> Value {
    let meter = Meter::default();
    let parts = worker::Parts::of(services, Some(meter.http_client()));
    while !parts.has_ended("task").await {
        parts.invoke(Clock::System.now() + worker::INVOCATION).await;
    }
    meter.tally().to_json()
}
