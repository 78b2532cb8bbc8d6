//! List pages over a small and a large table.

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures_util::{StreamExt, stream};
use local::{NAME, Options, Running};
use serde_json::{Value, json};
use shared::clock::Clock;
use std::collections::HashMap;
use tests::measure::meter::Meter;
use tests::measure::{self, ROOT, median};
use tests::{http, run_body};
use tokio::time::Instant;

/// Rows a measured page asks for.
const LIMIT: usize = 100;
/// One task in so many is of the model that the filter asks for.
const RARE: usize = 100;
/// Of a hundred tasks so many are in each status.
const MIX: [(&str, usize); 5] = [
    ("done", 90),
    ("failed", 4),
    ("canceled", 3),
    ("pending", 2),
    ("processing", 1),
];
/// Index partitions a status.
const SHARDS: usize = 4;

type Item = HashMap<String, AttributeValue>;

/// Stores so many tasks, and times and counts pages of each kind, each so many times.
pub(crate) async fn measure(tasks: usize, times: usize) -> Vec<Value> {
    let meter = Meter::default();
    let options = Options {
        sweep_interval: None,
        ..measure::whole(meter.http_client())
    };
    let running = measure::start(options).await;
    fill(&running, tasks).await;
    let mut rows = Vec::new();
    for filter in ["", "status=done", "embedding_model_id=rare"] {
        for (place, cursor) in places(&running, filter).await {
            let query = format!("limit={LIMIT}&{filter}{cursor}");
            list(&running, &query).await;
            let (mut taken, mut processor) = (Vec::new(), Vec::new());
            for _ in 0..times {
                let (before, began) = (measure::processor_seconds(), Instant::now());
                list(&running, &query).await;
                taken.push(began.elapsed().as_secs_f64() * 1e3);
                processor.push((measure::processor_seconds() - before) * 1e3);
            }
            meter.turn_on();
            let page = list(&running, &query).await;
            let tally = meter.turn_off();
            rows.push(json!({
                "what": "page",
                "tasks": tasks,
                "filter": filter,
                "place": place,
                "rows": rows_of(&page),
                "times": times,
                "median_ms": median(taken),
                "processor_ms": median(processor),
                "tally": tally.to_json(),
            }));
        }
    }
    running.shutdown().await;
    rows
}

async fn list(running: &Running, query: &str) -> Value {
    let path = format!("{ROOT}/list?{query}");
    http::send(running.api, "GET", &path, None, "").await.ok()
}

fn rows_of(page: &Value) -> usize {
    page["tasks"].as_array().map_or(0, Vec::len)
}

/// Where the first page, one in the middle and the last page that has rows begin, found as a caller does: page by page.
async fn places(running: &Running, filter: &str) -> Vec<(&'static str, String)> {
    let mut begins = vec![String::new()];
    let mut last = String::new();
    loop {
        let page = list(running, &format!("limit={LIMIT}&{filter}{last}")).await;
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        last = format!("&cursor={next}");
        begins.push(last.clone());
    }
    let middle = begins.swap_remove(begins.len() / 2);
    vec![("first", String::new()), ("middle", middle), ("last", last)]
}

/// Writes so many tasks: copies, in all but names and times, of tasks that the service itself made and brought into each
/// status.
async fn fill(running: &Running, tasks: usize) {
    let originals = originals(running).await;
    let now = Clock::System.now().timestamp();
    let mix: Vec<&str> = MIX
        .iter()
        .flat_map(|(status, share)| std::iter::repeat_n(*status, *share))
        .collect();
    let mut random = fastrand::Rng::with_seed(1);
    let mut ids = measure::object_ids(2, tasks);
    let mut items = (0..tasks).map(|number| {
        let status = random.choice(&mix).expect("a status");
        let mut item = originals.get(*status).expect("an original").clone();
        // A task a minute.
        let created_at = now - 60 * i64::try_from(number).expect("it fits");
        let time = chrono::DateTime::from_timestamp_secs(created_at).expect("a time");
        let time = time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let id = ids.next().expect("an id");
        let model = match number % RARE {
            0 => "rare",
            _ => "common",
        };
        let mut set = |name: &str, value| item.insert(name.to_owned(), value);
        set("pk", AttributeValue::S(format!("T#{id}")));
        set("model", AttributeValue::S(model.to_owned()));
        set("created_at", AttributeValue::N(created_at.to_string()));
        let partition = format!("{status}#{}", random.usize(..SHARDS));
        set("list_pk", AttributeValue::S(partition));
        set("list_sk", AttributeValue::S(format!("{time}#{id}")));
        let put = PutRequest::builder().set_item(Some(item)).build();
        let put = put.expect("a put");
        WriteRequest::builder().put_request(put).build()
    });
    let batches = std::iter::from_fn(|| {
        let batch: Vec<_> = items.by_ref().take(25).collect();
        (!batch.is_empty()).then_some(batch)
    });
    let write = |batch| {
        let write = running.clients.dynamodb.batch_write_item();
        write.request_items(NAME, batch).send()
    };
    stream::iter(batches.map(write))
        .buffer_unordered(4)
        .for_each(|written| async move {
            written.expect("tasks are written");
        })
        .await;
}

/// A task in each status, as the service itself stores it; its items are taken out again.
async fn originals(running: &Running) -> HashMap<&'static str, Item> {
    measure::seed_index(&running.clients.s3vectors, "common", 1, 20).await;
    let objects: Vec<_> = measure::object_ids(1, 20).collect();
    let post = async |model: &str, id: &str| {
        let body = run_body(model, id, &objects).to_string();
        let (path, json) = (format!("{ROOT}/run"), Some("application/json"));
        http::send(running.api, "POST", &path, json, body)
            .await
            .ok();
    };
    let mut found = HashMap::new();
    for (status, _) in MIX {
        let model = match status {
            "failed" => "missing",
            _ => "common",
        };
        post(model, status).await;
        let ended = async || {
            let status = measure::attribute(&running.clients.dynamodb, status, "status").await;
            status == "done" || status == "failed"
        };
        measure::until(Instant::now(), ended).await;
        let key = HashMap::from([("pk".to_owned(), AttributeValue::S(format!("T#{status}")))]);
        let client = &running.clients.dynamodb;
        let get = client.get_item().table_name(NAME).consistent_read(true);
        let got = get.set_key(Some(key.clone())).send().await;
        let mut item = got.expect("DynamoDB answers").item.expect("the task");
        let delete = client.delete_item().table_name(NAME).set_key(Some(key));
        delete.send().await.expect("DynamoDB answers");
        // The other three differ from an ended one by their status, and by what an ended one has to show.
        item.insert("status".to_owned(), AttributeValue::S(status.to_owned()));
        if !["done", "failed"].contains(&status) {
            item.remove("failed_head");
            item.remove("outcomes");
        }
        found.insert(status, item);
    }
    found
}
