//! What the benchmarks start from: object ids, a seeded index, processes of their own, memory and time.
//! `worker.rs` is the worker in such a process, `meter.rs` counts calls and request units on the wire, by the rules in `units.rs`,
//! `tasks.rs` is a table full of tasks, `table.rs` and `rows.rs` are what is printed, `flags.rs` is
//! what they are called with.

pub mod callgrind;
pub mod flags;
pub mod meter;
pub mod rows;
pub mod table;
pub mod tasks;
pub mod units;
pub mod worker;

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_sdk_s3vectors::types::{DataType, DistanceMetric, PutInputVector, VectorData};
use futures_util::{StreamExt, stream};
use local::{NAME, Options, Running};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// A seed for [`object_ids`] where any will do.
pub const OBJECTS_SEED: u64 = 1;
/// The bucket that the runner makes.
pub const BUCKET: &str = "demo";
/// Where the endpoints are.
pub const ROOT: &str = "/internal/deletion-tasks";
/// The most vectors one PutVectors takes.
const MAX_PUT: usize = 500;

/// The ids of a task's objects: random UUIDs, the same ones for the same seed.
pub fn object_ids(seed: u64, count: usize) -> impl Iterator<Item = String> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(move |_| {
        let bytes = random.u128(..).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string()
    })
}

/// The body of `/run`, written without a second copy of the ids.
pub fn run_body(index: &str, task_id: &str, seed: u64, count: usize) -> String {
    let mut body = String::with_capacity(count * 39 + 200);
    body.push_str(&format!(
        r#"{{"embedding_model_id":"{index}","task_id":"{task_id}","object_ids":["#
    ));
    for (number, id) in object_ids(seed, count).enumerate() {
        body.push_str(if number == 0 { "\"" } else { ",\"" });
        body.push_str(&id);
        body.push('"');
    }
    body.push_str("]}");
    body
}

/// Every model's index in the embedded S3 Vectors, without a pace that would hide what all else takes.
pub const UNPACED_STORES: &str = r#"{"*": "s3vectors://demo/{embedding_model_id}?vectors_per_second=1000000&requests_per_second=1000000"}"#;

/// The runner with its defaults but for the pace, and this HTTP client under the handlers' SDK clients.
pub fn whole(http_client: SharedHttpClient) -> Options {
    Options {
        settings: vec![("VECTOR_STORES".to_owned(), UNPACED_STORES.to_owned())],
        http_client: Some(http_client),
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

/// Makes an index that holds every second one of the objects.
pub async fn seed_index(client: &aws_sdk_s3vectors::Client, index: &str, seed: u64, count: usize) {
    let present = object_ids(seed, count).step_by(2).collect();
    make_index(client, index, present).await;
}

/// Makes an index that holds all of the objects.
pub async fn seed_all(client: &aws_sdk_s3vectors::Client, index: &str, seed: u64, count: usize) {
    let present = object_ids(seed, count).collect();
    make_index(client, index, present).await;
}

/// Makes an index that holds these objects.
pub async fn make_index(client: &aws_sdk_s3vectors::Client, index: &str, present: Vec<String>) {
    let create = client.create_index().vector_bucket_name(BUCKET);
    let create = create.index_name(index).data_type(DataType::Float32);
    let create = create
        .dimension(4)
        .distance_metric(DistanceMetric::Cosine)
        .send();
    create.await.expect("an index is made");
    put_vectors(client, index, present).await;
}

/// Puts objects into an index.
pub async fn put_vectors(client: &aws_sdk_s3vectors::Client, index: &str, present: Vec<String>) {
    let puts = present.chunks(MAX_PUT).map(|keys| {
        let vectors = keys.iter().map(|key| {
            let data = VectorData::Float32(vec![1.0, 0.0, 0.0, 0.0]);
            let vector = PutInputVector::builder().key(key).data(data).build();
            vector.expect("a vector")
        });
        let put = client
            .put_vectors()
            .vector_bucket_name(BUCKET)
            .index_name(index);
        put.set_vectors(Some(vectors.collect())).send()
    });
    stream::iter(puts)
        .buffer_unordered(4)
        .for_each(|put| async move {
            put.expect("vectors are put");
        })
        .await;
}

/// The most memory this process has had resident since [`forget_peak`], in megabytes (`VmHWM` in proc(5)).
pub fn peak_megabytes() -> f64 {
    status_megabytes("VmHWM:")
}

/// The memory this process has resident now, in megabytes (`VmRSS` in proc(5)).
pub fn resident_megabytes() -> f64 {
    status_megabytes("VmRSS:")
}

fn status_megabytes(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes =
        kilobytes.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}

/// Lets the peak begin anew at what is resident now (`clear_refs` in proc(5)).
pub fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process reset its own peak");
}

/// The processor time that this process's threads have had, in seconds (`schedstat`, the first field, in nanoseconds).
pub fn processor_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux lists a process's threads");
    let nanoseconds = threads.filter_map(|thread| {
        let path = thread.ok()?.path().join("schedstat");
        let text = std::fs::read_to_string(path).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Waits until a condition holds, asking rarely enough that the asking is no great part of the time.
///
/// # Panics
/// When it does not hold within ten minutes.
pub async fn until(began: tokio::time::Instant, condition: impl AsyncFn() -> bool) {
    while !condition().await {
        let passed = began.elapsed();
        assert!(
            passed < Duration::from_secs(600),
            "not done after {passed:?}"
        );
        let pause = passed / 50;
        let (least, most) = (Duration::from_millis(1), Duration::from_millis(100));
        tokio::time::sleep(pause.clamp(least, most)).await;
    }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of the quotients of each value and its counterpart, with the least and the most.
pub fn ratio(values: &[f64], counterparts: &[f64]) -> String {
    let quotients = values.iter().zip(counterparts).map(|(a, b)| a / b);
    let quotients: Vec<_> = quotients.collect();
    let least = quotients.iter().copied().fold(f64::INFINITY, f64::min);
    let most = quotients.iter().copied().fold(0.0, f64::max);
    format!("{:.3} ({least:.3} to {most:.3})", median(quotients))
}

/// Runs this program with these arguments in a process of its own; answers the JSON in the last line that it prints.
///
/// # Panics
/// When it fails.
pub async fn child(arguments: &[&str]) -> Value {
    let mut command = Command::new(this_program());
    command.args(arguments);
    child_of(command, Stdio::inherit()).await
}

/// Where this program is.
///
/// # Panics
/// When the system does not say.
pub fn this_program() -> PathBuf {
    std::env::current_exe().expect("this program has a path")
}

/// The same as [`child`] of any command, with this as its standard error.
///
/// # Panics
/// When it fails.
pub async fn child_of(mut command: Command, stderr: Stdio) -> Value {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let ended = child.wait_with_output().await.expect("it ends");
    assert!(ended.status.success(), "{command:?}: {}", ended.status);
    let printed = ended.stdout.trim_ascii_end();
    let last = printed.rsplit(|byte| *byte == b'\n').next();
    serde_json::from_slice(last.unwrap_or_default()).expect("it prints JSON")
}

/// An attribute of a task's item: text, or digits.
pub async fn attribute(client: &aws_sdk_dynamodb::Client, id: &str, name: &str) -> String {
    let get = client.get_item().table_name(NAME);
    let key = aws_sdk_dynamodb::types::AttributeValue::S(format!("T#{id}"));
    let get = get
        .key("pk", key)
        .projection_expression("#name")
        .expression_attribute_names("#name", name);
    let answer = get
        .consistent_read(true)
        .send()
        .await
        .expect("DynamoDB answers");
    let item = answer.item.unwrap_or_default();
    let value = item.get(name).expect("the task has it");
    let text = value.as_s().or_else(|_| value.as_n());
    text.expect("text or a number").clone()
}

/// What a process that only hosts the embedded services tells the others.
pub fn addresses(running: &Running) -> Value {
    json!({
        "dynamodb": format!("http://{}", running.dynamodb),
        "sqs": format!("http://{}", running.sqs),
        "s3vectors": format!("http://{}", running.s3vectors),
        "queue": running.queue_url,
        "stores": UNPACED_STORES,
    })
}

/// One of these addresses.
///
/// # Panics
/// When there is none of this name.
pub fn address(addresses: &Value, name: &str) -> String {
    let address = addresses[name].as_str();
    address.expect("an address of this name").to_owned()
}
