//! A table full of tasks, for list pages and for sweeps.

use super::{half_index, object_ids, run_body};
use crate::bench::{has_ended, run, until};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures_util::{StreamExt, stream};
use local::{NAME, Running};
use shared::clock::Clock;
use shared::store::KEY;
use std::collections::HashMap;
use tokio::time::Instant;

/// One task in this many is of the model `rare`. The others are of `common`.
const RARE: usize = 100;
/// How many of a hundred tasks are in each status.
const MIX: [(&str, usize); 5] = [
    ("done", 90),
    ("failed", 4),
    ("canceled", 3),
    ("pending", 2),
    ("processing", 1),
];
/// Index partitions per status.
pub const SHARDS: usize = 4;

type Item = HashMap<String, AttributeValue>;

/// Writes this many tasks. They are copies of tasks that the service itself made and brought into
/// each status. Only names and times differ.
pub async fn fill(running: &Running, tasks: usize) {
    let originals = originals(running).await;
    let now = Clock::System.now().timestamp();
    let mix: Vec<&str> = MIX
        .iter()
        .flat_map(|(status, share)| std::iter::repeat_n(*status, *share))
        .collect();
    let mut random = fastrand::Rng::with_seed(1);
    let mut ids = object_ids(2, tasks);
    let mut items = (0..tasks).map(|number| {
        let status = random.choice(&mix).expect("a status");
        let mut item = originals.get(*status).expect("an original").clone();
        // One task a minute.
        let created_at = now - 60 * i64::try_from(number).expect("it fits");
        let id = ids.next().expect("an id");
        let model = match number % RARE {
            0 => "rare",
            _ => "common",
        };
        let partition = format!("{status}#{}", random.usize(..SHARDS));
        item.extend(named(&id, created_at, partition));
        item.insert("model".to_owned(), AttributeValue::S(model.to_owned()));
        put(item)
    });
    write(running, &mut items).await;
}

/// Writes this many pending tasks, a second apart. They are copies of one that the service itself
/// made. Only names and times differ. Only the newest task of each of the [`SHARDS`] is due; the
/// others are due in an hour.
pub async fn leave_pending(running: &Running, tasks: usize) {
    let objects: Vec<_> = object_ids(1, 10).collect();
    run(running, run_body("common", "pending", &objects).to_string()).await;
    let original = take_out(running, "pending").await;
    let now = Clock::System.now().timestamp();
    let mut items = object_ids(2, tasks).enumerate().map(|(number, id)| {
        let created_at = now - 60 - i64::try_from(number).expect("it fits");
        let due_at = if number < SHARDS { now } else { now + 3600 };
        let mut item = original.clone();
        let partition = format!("pending#{}", number % SHARDS);
        item.extend(named(&id, created_at, partition));
        item.insert("due_at".to_owned(), AttributeValue::N(due_at.to_string()));
        put(item)
    });
    write(running, &mut items).await;
}

/// The attributes in which a copy differs from its original.
fn named(id: &str, created_at: i64, partition: String) -> [(String, AttributeValue); 4] {
    let time = chrono::DateTime::from_timestamp_secs(created_at).expect("a time");
    let time = time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    [
        (KEY, AttributeValue::S(format!("T#{id}"))),
        ("created_at", AttributeValue::N(created_at.to_string())),
        ("list_pk", AttributeValue::S(partition)),
        ("list_sk", AttributeValue::S(format!("{time}#{id}"))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

fn put(item: Item) -> WriteRequest {
    let put = PutRequest::builder().set_item(Some(item)).build();
    WriteRequest::builder()
        .put_request(put.expect("a put"))
        .build()
}

async fn write(running: &Running, items: &mut impl Iterator<Item = WriteRequest>) {
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

/// Returns a task in each status, as the service itself stores it. Its items are removed from the
/// table again.
async fn originals(running: &Running) -> HashMap<&'static str, Item> {
    half_index(&running.clients.s3vectors, "common", 1, 20).await;
    let objects: Vec<_> = object_ids(1, 20).collect();
    let post = async |model: &str, id: &str| {
        run(running, run_body(model, id, &objects).to_string()).await;
    };
    let mut found = HashMap::new();
    for (status, _) in MIX {
        let model = match status {
            "failed" => "missing",
            _ => "common",
        };
        post(model, status).await;
        let ended = async || has_ended(&running.clients.dynamodb, status).await;
        until(Instant::now(), ended).await;
        let mut item = take_out(running, status).await;
        // The tasks in the other three statuses differ from an ended task in their status and in
        // the results that an ended task has.
        item.insert("status".to_owned(), AttributeValue::S(status.to_owned()));
        if !["done", "failed"].contains(&status) {
            item.remove("failed_head");
            item.remove("outcomes");
        }
        found.insert(status, item);
    }
    found
}

/// Takes a task's item out of the table.
async fn take_out(running: &Running, id: &str) -> Item {
    let key = HashMap::from([(KEY.to_owned(), AttributeValue::S(format!("T#{id}")))]);
    let client = &running.clients.dynamodb;
    let get = client.get_item().table_name(NAME).consistent_read(true);
    let got = get.set_key(Some(key.clone())).send().await;
    let item = got.expect("DynamoDB responds").item.expect("the task");
    let delete = client.delete_item().table_name(NAME).set_key(Some(key));
    delete.send().await.expect("DynamoDB responds");
    item
}
