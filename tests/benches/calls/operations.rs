//! Measures every operation, once.

use crate::least::{self, Least};
use crate::service::{Cost, Metered};
use aws_sdk_dynamodb::types::AttributeValue;
use base64::prelude::{BASE64_STANDARD, Engine};
use local::NAME;
use serde_json::{Map, Value, json};
use shared::store::{INDEX_ATTRIBUTES, INDEX_HASH_KEY, INDEX_RANGE_KEY, KEY};
use shared::task::MAX_REQUEST_REASON_BYTES;
use std::collections::BTreeMap;
use tests::bench::attribute;
use tests::bench::units::size_of;
use tests::seed::{self, run_text};

/// Objects of a small task, of which one is absent.
pub(crate) const OBJECTS: usize = 10;
/// The small task's row.
pub(crate) const SMALL: &str = "a task of 10, from its create to its end";
/// Rows of a list page, and tasks in the table when it is read.
const PAGE: usize = 100;
const TASKS: usize = 400;
/// Index partitions of a status, by default.
const SHARDS: usize = 4;
/// The index of all tasks but the largest, and its first ids' seed.
const INDEX: &str = "embeddings-of-products";

/// An operation, with its minimum.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) cost: Cost,
    pub(crate) least: Least,
}

/// Measures every operation.
pub(crate) async fn measure(service: &Metered, quick: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |name, cost, least| rows.push(Row { name, cost, least });
    seed_but_one(service, INDEX, 1).await;
    // Connections are opened before anything is counted.
    let body = |id: &str| run_text(INDEX, id, 1, OBJECTS);
    let run = async |id: &str| service.call("POST", "/run", body(id)).await;
    run(&id(0)).await;
    service.work(1).await;

    let post = || service.cost_of_call("POST", "/run", body(&id(1)));
    row("create", post().await, least::create(OBJECTS));
    row(
        "create, repeated",
        post().await,
        least::repeated_create(OBJECTS),
    );
    let control = async |what: &str| {
        let path = format!("/{what}?task_id={}", id(1));
        service.cost_of_call("PUT", &path, String::new()).await
    };
    row("cancel", control("cancel").await, least::cancel(OBJECTS));
    row("restart", control("restart").await, least::restart(OBJECTS));
    // The task's first message is for another attempt.
    service.work(2).await;
    let path = format!("/info?task_id={}", id(1));
    let cost = service.cost_of_call("GET", &path, String::new()).await;
    row("info", cost, least::info(OBJECTS));

    seed_but_one(service, "small", 2).await;
    let whole = async {
        let body = run_text("small", &id(2), 2, OBJECTS);
        service.call("POST", "/run", body).await;
        (1, 1 + service.work(1).await)
    };
    let cost = service.cost(whole).await;
    ended(service, &id(2), OBJECTS - 1).await;
    row(SMALL, cost, least::whole_task(OBJECTS, OBJECTS - 1));

    seed_but_one(service, "reason", 6).await;
    let whole = async {
        let body = run_text("reason", &id(256), 6, OBJECTS);
        let mut body: Value = serde_json::from_str(&body).expect("a body");
        body["reason"] = "r".repeat(MAX_REQUEST_REASON_BYTES).into();
        service.call("POST", "/run", body.to_string()).await;
        (1, 1 + service.work(1).await)
    };
    let cost = service.cost(whole).await;
    ended(service, &id(256), OBJECTS - 1).await;
    let least = least::whole_task(OBJECTS, OBJECTS - 1);
    row("a task of 10, with the longest reason", cost, least);

    for (name, objects) in [("a task of 20", 20), ("a task of 500", 500)] {
        let id = id(objects);
        seed_half(service, &id, 3, objects).await;
        let whole = async {
            let body = run_text(&id, &id, 3, objects);
            service.call("POST", "/run", body).await;
            (1, 1 + service.work(1).await)
        };
        let cost = service.cost(whole).await;
        ended(service, &id, objects / 2).await;
        row(name, cost, least::whole_task(objects, objects / 2));
    }

    let large = id(1000);
    seed_half(service, &large, 4, 1000).await;
    service
        .call("POST", "/run", run_text(&large, &large, 4, 1000))
        .await;
    service.work(1).await;
    // Only one chunk is measured. The other's message comes later.
    let message = async {
        service.work_one().await;
        (0, 1)
    };
    let present = 250;
    let cost = service.cost(message).await;
    row(
        "a chunk of 500 of a large task, once its ids are written",
        cost,
        least::delivered_chunk(500, present),
    );
    service.work(1).await;

    if !quick {
        const LARGE: usize = 100_000;
        seed_half(service, "large", 5, LARGE).await;
        let whole = async {
            let body = run_text("large", &id(LARGE), 5, LARGE);
            service.call("POST", "/run", body).await;
            (1, 1 + service.work(1 + LARGE / 500).await)
        };
        let cost = service.cost(whole).await;
        ended(service, &id(LARGE), LARGE / 2).await;
        row(
            "a task of 100,000",
            cost,
            least::large_task(LARGE, LARGE / 2),
        );
    }

    for number in 0..TASKS {
        run(&id(10_000 + number)).await;
    }
    service.work(TASKS - 20).await;
    for (name, filter, statuses) in [
        ("list, a page of 100", "", 5),
        ("list, a page of 100 of one status", "status=done", 1),
    ] {
        let mut page = Value::Null;
        let ask = async {
            let path = format!("/list?limit={PAGE}&{filter}");
            page = service.call("GET", &path, String::new()).await;
            (1, 1)
        };
        let cost = service.cost(ask).await;
        let shown = shown(service, &page, statuses * SHARDS).await;
        row(name, cost, least::list(&shown));
    }
    rows
}

/// A task's id: a UUID.
fn id(number: usize) -> String {
    format!("8476a536-e9f4-11e8-9739-{number:012}")
}

/// Makes an index that holds all but the last of a small task's objects.
async fn seed_but_one(service: &Metered, index: &str, seed: u64) {
    let ids = seed::object_ids(seed, OBJECTS);
    let ids: Vec<_> = ids.take(OBJECTS - 1).collect();
    seed::index(&service.running.clients.s3vectors, index, &ids).await;
}

/// Makes an index that holds every second of the objects.
async fn seed_half(service: &Metered, index: &str, seed: u64, objects: usize) {
    seed::half_index(&service.running.clients.s3vectors, index, seed, objects).await;
}

async fn ended(service: &Metered, id: &str, deleted: usize) {
    let client = &service.running.clients.dynamodb;
    let status = attribute(client, id, "status").await;
    let counted = attribute(client, id, "deleted").await;
    assert_eq!((status, counted), ("done".to_owned(), deleted.to_string()));
}

/// How many bytes of each partition a page shows.
async fn shown(service: &Metered, page: &Value, partitions: usize) -> Vec<usize> {
    let mut bytes: BTreeMap<String, usize> = BTreeMap::new();
    let tasks = page["tasks"].as_array().expect("rows");
    assert_eq!(tasks.len(), PAGE);
    for task in tasks {
        let key = AttributeValue::S(format!("T#{}", task["id"].as_str().expect("an id")));
        let get = service.running.clients.dynamodb.get_item();
        let got = get.table_name(NAME).key(KEY, key).send().await;
        let item = got.expect("DynamoDB responds").item.expect("the task");
        let partition = item[INDEX_HASH_KEY].as_s().expect("a partition").clone();
        let names = INDEX_ATTRIBUTES.iter().copied();
        let names = names.chain([KEY, INDEX_HASH_KEY, INDEX_RANGE_KEY]);
        let row: Map<String, Value> = names
            .filter_map(|name| Some((name.to_owned(), to_json(item.get(name)?))))
            .collect();
        *bytes.entry(partition).or_default() += size_of(Some(&row.into()));
    }
    let mut shown: Vec<_> = bytes.into_values().collect();
    shown.resize(partitions, 0);
    shown
}

fn to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(digits) => json!({ "N": digits }),
        AttributeValue::B(bytes) => json!({ "B": BASE64_STANDARD.encode(bytes) }),
        other => panic!("an index row has no {other:?}"),
    }
}
