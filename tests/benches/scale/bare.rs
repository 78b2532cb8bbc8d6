//! The baseline: the same objects through the same embedded services, with as few plain SDK calls
//! as possible.
//!
//! It puts an item per 500 ids and sends a message for each item. It receives the messages, reads
//! the item, gets the vectors with 100 keys a call, deletes those that exist, and deletes the
//! messages. There is no task: no status, no claim, no outcome, and no way to recover from a crash.
//! Concurrency and batch sizes are the service's.

use crate::report::{Sample, timed};
use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_sdk_sqs::types::{Message, SendMessageBatchRequestEntry};
use futures_util::{StreamExt, stream};
use local::{Clients, NAME, Running};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::bench::meter::Meter;
use tests::bench::{self, process};
use tests::handlers::{Addresses, clients};
use tests::queue::{Queue, Receive};
use tests::seed::{self, BUCKET};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Ids in an item, and keys in a DeleteVectors.
pub(crate) const CHUNK: usize = 500;
/// Keys in a GetVectors.
const MAX_GET: usize = 100;
/// Receivers, concurrent messages in each, and concurrent GetVectors for each message, as in the
/// runner and the worker.
const RECEIVERS: usize = 2;
const MESSAGES: usize = 5;
const GETS: usize = 5;
/// Concurrent BatchWriteItem and SendMessageBatch calls, as in the create and the fan-out.
const WRITES: usize = 4;
const SENDS: usize = 5;

/// The bare client. Clones share its clients.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    clients: Clients,
    queue_url: String,
    handled: Arc<AtomicUsize>,
}

/// Times the bare client on this many objects, half of which are in the index, and counts the calls
/// of one further run.
pub(crate) async fn measure(objects: usize, times: usize) -> Value {
    let meter = Meter::default();
    let running = bench::start(bench::services_only()).await;
    let bare = Bare::new(&Addresses::of(&running), Some(meter.http_client()));
    let mut receivers = JoinSet::new();
    for _ in 0..RECEIVERS {
        let bare = bare.clone();
        receivers.spawn(async move { bare.receive_for_ever().await });
    }
    bare.seed_and_time(&running, 0, 2).await;
    process::forget_peak();
    let mut peak = 0.0;
    let mut samples = Vec::new();
    for number in 1..=times {
        samples.push(bare.seed_and_time(&running, number, objects).await);
        if number == 1 {
            peak = process::peak_megabytes();
        }
    }
    let number = times + 1;
    let index = format!("index-{number}");
    let seed = u64::try_from(number).unwrap_or_default();
    seed::half_index(&running.clients.s3vectors, &index, seed, objects).await;
    meter.turn_on();
    bare.time(&index, seed, objects).await;
    let tally = meter.turn_off();
    receivers.shutdown().await;
    running.shutdown().await;
    timed("bare", objects, &samples, peak, &tally)
}

impl Bare {
    /// Creates a client for the services at `addresses`, with the same SDK settings as the
    /// handlers.
    pub(crate) fn new(addresses: &Addresses, http_client: Option<SharedHttpClient>) -> Self {
        Self {
            clients: clients(addresses, http_client),
            queue_url: addresses.queue.clone(),
            handled: Arc::default(),
        }
    }

    async fn seed_and_time(&self, running: &Running, number: usize, objects: usize) -> Sample {
        let index = format!("index-{number}");
        let seed = u64::try_from(number).unwrap_or_default();
        seed::half_index(&running.clients.s3vectors, &index, seed, objects).await;
        self.time(&index, seed, objects).await
    }

    /// Times one run. The create ends when everything is on the queue, and the run when everything
    /// is handled.
    async fn time(&self, index: &str, seed: u64, objects: usize) -> Sample {
        self.handled.store(0, Ordering::SeqCst);
        let processor = process::processor_seconds();
        let began = Instant::now();
        let chunks = self.create(index, seed, objects).await;
        let created = began.elapsed();
        let is_done = async || self.handled.load(Ordering::SeqCst) == chunks;
        bench::until(began, is_done).await;
        Sample {
            created: created.as_secs_f64(),
            total: began.elapsed().as_secs_f64(),
            processor: process::processor_seconds() - processor,
        }
    }

    /// Puts the items and sends the messages. Returns how many there are.
    pub(crate) async fn create(&self, index: &str, seed: u64, objects: usize) -> usize {
        let ids: Vec<_> = seed::object_ids(seed, objects).collect();
        let chunks: Vec<_> = ids.chunks(CHUNK).enumerate().collect();
        let key = |number: usize| format!("B#{index}#{number}");
        let writes = chunks.chunks(25).map(|batch| {
            let puts = batch.iter().map(|(number, ids)| {
                let put = PutRequest::builder()
                    .item("pk", AttributeValue::S(key(*number)))
                    .item("ids", AttributeValue::S(ids.join("\n")));
                let put = put.build().expect("a put");
                WriteRequest::builder().put_request(put).build()
            });
            let write = self.clients.dynamodb.batch_write_item();
            write.request_items(NAME, puts.collect()).send()
        });
        let mut writes = stream::iter(writes).buffer_unordered(WRITES);
        while let Some(written) = writes.next().await {
            written.expect("items are put");
        }
        let sends = chunks.chunks(10).map(|batch| {
            let entries = batch.iter().map(|(number, _)| {
                let entry = SendMessageBatchRequestEntry::builder().id(number.to_string());
                let entry = entry.message_body(format!("{index} {}", key(*number)));
                entry.build().expect("a message")
            });
            let send = self
                .clients
                .sqs
                .send_message_batch()
                .queue_url(&self.queue_url);
            send.set_entries(Some(entries.collect())).send()
        });
        let mut sends = stream::iter(sends).buffer_unordered(SENDS);
        while let Some(sent) = sends.next().await {
            sent.expect("messages are sent");
        }
        chunks.len()
    }

    async fn receive_for_ever(&self) {
        loop {
            self.receive().await;
        }
    }

    /// Handles messages, a batch at a time as one function does, until `count` are handled.
    pub(crate) async fn handle(&self, count: usize) {
        while self.handled.load(Ordering::SeqCst) < count {
            self.receive().await;
        }
    }

    /// Receives a batch and handles it.
    async fn receive(&self) {
        let queue = Queue::new(&self.clients.sqs, &self.queue_url);
        let messages = queue.receive(Receive {
            // This is as long as the SDK client's timeouts allow.
            wait_seconds: 3,
            ..Receive::default()
        });
        let messages = messages.await;
        stream::iter(&messages)
            .for_each_concurrent(MESSAGES, |message| self.carry_out(message))
            .await;
        queue.delete(&messages).await;
        self.handled.fetch_add(messages.len(), Ordering::SeqCst);
    }

    async fn carry_out(&self, message: &Message) {
        let body = message.body.as_deref().unwrap_or_default();
        let (index, key) = body.split_once(' ').expect("an index and a key");
        let key = HashMap::from([("pk".to_owned(), AttributeValue::S(key.to_owned()))]);
        let get = self.clients.dynamodb.get_item().table_name(NAME);
        let item = get.set_key(Some(key)).consistent_read(true).send().await;
        let item = item.expect("DynamoDB responds").item.expect("the item");
        let ids = item.get("ids").and_then(|ids| ids.as_s().ok());
        let ids: Vec<_> = ids.expect("ids").split('\n').map(str::to_owned).collect();
        let batches: Vec<_> = ids.chunks(MAX_GET).map(<[_]>::to_vec).collect();
        let mut gets = stream::iter(batches)
            .map(|keys| {
                let get = self
                    .clients
                    .s3vectors
                    .get_vectors()
                    .vector_bucket_name(BUCKET);
                let get = get.index_name(index).set_keys(Some(keys));
                get.return_data(false).return_metadata(false).send()
            })
            .buffer_unordered(GETS);
        let mut present = Vec::with_capacity(ids.len());
        while let Some(found) = gets.next().await {
            let found = found.expect("S3 Vectors responds").vectors;
            present.extend(found.into_iter().map(|vector| vector.key));
        }
        assert_eq!(present.len(), ids.len().div_ceil(2), "half are there");
        let delete = self
            .clients
            .s3vectors
            .delete_vectors()
            .vector_bucket_name(BUCKET);
        let delete = delete.index_name(index).set_keys(Some(present));
        delete.send().await.expect("vectors are deleted");
    }
}
