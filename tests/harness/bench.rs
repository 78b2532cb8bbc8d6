//! Code that the benchmarks share.
//!
//! Their test data is in `seed.rs`, and the handlers' wiring is in `handlers.rs`.
//!
//! | file | holds |
//! |---|---|
//! | `arguments.rs` | the flags of every benchmark |
//! | `table.rs` | rows of figures, printed as tables or as JSON |
//! | `process.rs` | separate processes; memory and processor time |
//! | `callgrind.rs` | counting instructions |
//! | `meter.rs`, `units.rs` | counting calls and DynamoDB's request units on the wire |

pub mod arguments;
pub mod callgrind;
pub mod meter;
pub mod process;
pub mod table;
pub mod units;

use crate::handlers::UNPACED_STORES;
use crate::http::{self, ROOT};
use crate::queue::{Queue, Receive};
use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use local::{NAME, Options, Running};
use shared::clock::Clock;
use shared::store::KEY;
use shared::worker::Worker;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long an invocation of the worker may take, as in `template.yaml`.
pub const INVOCATION: TimeDelta = TimeDelta::seconds(60);

/// The runner with its defaults, except that its stores have no pace, and with this HTTP client
/// under the handlers' SDK clients.
pub fn unpaced(http_client: Option<SharedHttpClient>) -> Options {
    Options {
        settings: vec![("VECTOR_STORES".to_owned(), UNPACED_STORES.to_owned())],
        http_client,
        ..Options::default()
    }
}

/// The runner as a host of the embedded services: its own worker and sweeper do nothing.
pub fn services_only() -> Options {
    Options {
        worker_concurrency: 0,
        sweep_interval: None,
        ..Options::default()
    }
}

/// Starts the runner.
pub async fn start(options: Options) -> Running {
    local::start(options).await.expect("the runner starts")
}

/// Sends a `/run` that succeeds.
pub async fn run(running: &Running, body: String) {
    let (path, json) = (format!("{ROOT}/run"), Some("application/json"));
    http::send(running.api, "POST", &path, json, body)
        .await
        .ok();
}

/// Receives a batch and lets a worker carry it out in one invocation. Returns how many messages
/// there were.
///
/// # Panics
/// When the worker reports one as failed.
pub async fn invoke(worker: &Worker, queue: &Queue, receive: Receive) -> usize {
    let work = async |event| {
        let response = worker.handle(event, Clock::System.now() + INVOCATION).await;
        assert_eq!(response.batch_item_failures.len(), 0, "nothing comes back");
        response
    };
    queue.work_once(receive, work).await
}

/// An attribute of a task's item, a string or a number, as text.
pub async fn attribute(client: &aws_sdk_dynamodb::Client, id: &str, name: &str) -> String {
    let get = client.get_item().table_name(NAME).consistent_read(true);
    let get = get.key(KEY, AttributeValue::S(format!("T#{id}")));
    let get = get
        .projection_expression("#name")
        .expression_attribute_names("#name", name);
    let got = get.send().await.expect("DynamoDB responds");
    let item = got.item.unwrap_or_default();
    let value = item.get(name).expect("the task has it");
    let text = value.as_s().or_else(|_| value.as_n());
    text.expect("text or a number").clone()
}

/// Whether a task has ended.
pub async fn has_ended(client: &aws_sdk_dynamodb::Client, id: &str) -> bool {
    let status = attribute(client, id, "status").await;
    !["pending", "processing"].contains(&status.as_str())
}

/// Waits until a condition holds. It checks so rarely that the checks take only a small part of the
/// time.
///
/// # Panics
/// When it does not hold within ten minutes.
pub async fn until(began: Instant, condition: impl AsyncFn() -> bool) {
    while !condition().await {
        let passed = began.elapsed();
        assert!(
            passed < Duration::from_secs(600),
            "not done after {passed:?}"
        );
        let (least, most) = (Duration::from_millis(1), Duration::from_millis(100));
        sleep((passed / 50).clamp(least, most)).await;
    }
}

/// The median.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The minimum and the maximum.
pub fn range(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let both = |(least, most): (f64, f64), value: f64| (least.min(value), most.max(value));
    values.into_iter().fold((f64::INFINITY, 0.0), both)
}
