//! Requests and small tasks a second through the local runner, beside what its embedded services take from a bare client.
//!
//! Each figure has a process of its own, in which the runner is as `cargo run` has it. The bare client makes the handlers' SDK
//! calls over the same kind of runner, with as many at once and with the event source's batches. Requests come from a thread
//! of their own that writes prepared bytes and reads what comes back; the bare client has no such thread, so what it costs the
//! runner is told.

use crate::processor::now;
use crate::recorded::{Call, Recorder, Sdk, Steps, make};
use crate::requests::{Endpoint, Given, Handlers, OBJECTS};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};
use futures_util::{StreamExt, stream};
use local::{NAME, Options, Running, logs};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::measure::rows::Row;
use tests::measure::{self, ROOT, UNPACED_STORES, median, object_ids, ratio, run_body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Indexes that the tasks are spread over, so that no index's quota is in the way.
const INDEXES: usize = 100;
/// Messages in a batch, invocations at once, and messages at once in each: as the runner and the worker.
const BATCH: i32 = 10;
const INVOCATIONS: usize = 2;
const MESSAGES: usize = 5;
/// Requests before those that are timed.
const WARM_UP: usize = 300;

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Who {
    /// The runner, over HTTP.
    Runner,
    /// The bare client.
    Bare,
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// `/run` until it answers; nobody carries the tasks out.
    Run,
    /// Tasks until they are done.
    Tasks,
}

/// Measures both, with few and many clients.
pub(crate) async fn measure(quick: bool) -> Vec<Row> {
    let rounds = if quick { 2 } else { 7 };
    let mut rows = Vec::new();
    for (what, count) in [("run", "5000"), ("tasks", "3000")] {
        for clients in ["1", "8", "32"] {
            let mut measured: [Vec<Value>; 2] = Default::default();
            for round in 0..rounds {
                for turn in 0..2 {
                    let side = (round + turn) % 2;
                    let who = ["runner", "bare"][side];
                    eprintln!("throughput, {what}, {clients} clients, {who}");
                    let arguments = ["load", who, what, "--clients", clients, "--count", count];
                    // Its lines of log are written, and nobody reads them.
                    measured[side].push(measure::child_with(&arguments, Stdio::null()).await);
                }
            }
            rows.push(row(what, clients, &measured));
        }
    }
    rows
}

fn row(what: &str, clients: &str, [runner, bare]: &[Vec<Value>; 2]) -> Row {
    let of = |rows: &[Value], name: &str| {
        let values = rows.iter().map(|row| row[name].as_f64().expect("a number"));
        values.collect::<Vec<_>>()
    };
    let (ours, theirs) = (of(runner, "per_second"), of(bare, "per_second"));
    let range = |values: &[f64]| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        format!("{:.0} ({least:.0} to {most:.0})", median(values.to_vec())).into()
    };
    let each = |rows, name| format!("{:.3}", median(of(rows, name))).into();
    let name = match what {
        "run" => "`/run` a second",
        _ => "small tasks a second",
    };
    vec![
        ("what", name.into()),
        ("clients", clients.into()),
        ("runner", range(&ours)),
        ("bare", range(&theirs)),
        ("÷", ratio(&ours, &theirs).into()),
        ("processor ms each, runner", each(runner, "processor_ms")),
        ("of these the requests' sender", each(runner, "sender_ms")),
        ("processor ms each, bare", each(bare, "processor_ms")),
    ]
}

/// One figure, in this process.
pub(crate) async fn load(who: Who, what: What, clients: usize, count: usize) -> Value {
    logs::init("info".parse().expect("a level"));
    let running = measure::start(Options {
        worker_concurrency: match (who, what) {
            (Who::Runner, What::Tasks) => INVOCATIONS,
            _ => 0,
        },
        settings: vec![("VECTOR_STORES".to_owned(), UNPACED_STORES.to_owned())],
        ..Options::default()
    })
    .await;
    let tasks = Tasks::new(WARM_UP + count);
    if what == What::Tasks {
        tasks.seed(&running).await;
    }
    let measured = match who {
        Who::Runner => runner(&running, &tasks, what, clients).await,
        Who::Bare => bare(&running, &tasks, what, clients).await,
    };
    running.shutdown().await;
    measured
}

fn figures(count: usize, seconds: f64, processor: f64, sender: f64) -> Value {
    let count = count as f64;
    json!({
        "per_second": count / seconds,
        "processor_ms": processor * 1e3 / count,
        "sender_ms": sender * 1e3 / count,
    })
}

/// Tasks, and what is theirs.
struct Tasks {
    ids: Vec<String>,
}

impl Tasks {
    fn new(count: usize) -> Self {
        Self {
            ids: object_ids(0, count).collect(),
        }
    }

    fn index(number: usize) -> String {
        format!("index-{:03}", number % INDEXES)
    }

    fn seed_of(number: usize) -> u64 {
        1000 + u64::try_from(number).expect("it fits")
    }

    /// Makes the indexes, with every second object of each task.
    async fn seed(&self, running: &Running) {
        let client = &running.clients.s3vectors;
        for index in 0..INDEXES {
            measure::seed_index(client, &Self::index(index), 0, 0).await;
            let tasks = (index..self.ids.len()).step_by(INDEXES);
            let objects =
                tasks.flat_map(|number| object_ids(Self::seed_of(number), OBJECTS).step_by(2));
            measure::put_vectors(client, &Self::index(index), objects.collect()).await;
        }
    }

    /// The request of one, as bytes.
    fn request(&self, number: usize) -> Vec<u8> {
        let body = run_body(
            &Self::index(number),
            &self.ids[number],
            Self::seed_of(number),
            OBJECTS,
        );
        let head = format!(
            "POST {ROOT}/run HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        (head + &body).into_bytes()
    }
}

/// The runner's time for the tasks after the warm-up.
async fn runner(running: &Running, tasks: &Tasks, what: What, clients: usize) -> Value {
    let requests: Vec<_> = (0..tasks.ids.len()).map(|n| tasks.request(n)).collect();
    let (warm_up, timed) = requests.split_at(WARM_UP);
    send_all(running.api, clients, warm_up.to_vec()).await;
    if what == What::Tasks {
        all_done(running).await;
    }
    let (timed, count) = (timed.to_vec(), timed.len());
    let processor = measure::processor_seconds();
    let began = Instant::now();
    let sender = send_all(running.api, clients, timed).await;
    if what == What::Tasks {
        all_done(running).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    // The sender's thread has ended, and is not among those that are summed.
    let processor = measure::processor_seconds() - processor + sender;
    figures(count, seconds, processor, sender)
}

/// Sends requests over so many connections, from a thread of its own; answers the seconds of processor time that it took.
async fn send_all(api: SocketAddr, clients: usize, requests: Vec<Vec<u8>>) -> f64 {
    let sending = move || {
        let before = now();
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().expect("a runtime");
        let requests = Arc::new(requests);
        let next = Arc::new(AtomicUsize::new(0));
        runtime.block_on(async {
            let mut senders = JoinSet::new();
            for _ in 0..clients {
                let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
                senders.spawn(async move {
                    let mut stream = TcpStream::connect(api).await.expect("the API listens");
                    stream.set_nodelay(true).expect("a socket");
                    let mut read = vec![0; 64 * 1024];
                    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                        stream.write_all(request).await.expect("it is sent");
                        answered(&mut stream, &mut read).await;
                    }
                });
            }
            while let Some(ended) = senders.join_next().await {
                ended.expect("a client's requests are answered");
            }
        });
        (now() - before) / 1e6
    };
    let sent = tokio::task::spawn_blocking(|| std::thread::spawn(sending).join());
    sent.await.expect("it ran").expect("all was answered")
}

/// Reads one answer, which must be a success. Our answers end in a line feed, after a brace.
async fn answered(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut length = 0;
    while !buffer[..length].ends_with(b"}\n") {
        let read = stream.read(&mut buffer[length..]).await.expect("an answer");
        assert!(read > 0, "a whole answer");
        length += read;
    }
    assert!(buffer.starts_with(b"HTTP/1.1 200 "), "a success");
}

/// Waits until no task is open.
async fn all_done(running: &Running) {
    measure::until(Instant::now(), async || {
        for status in ["pending", "processing"] {
            for shard in 0..4 {
                let query = running.clients.dynamodb.query().table_name(NAME);
                let query = query.index_name(shared::store::INDEX_NAME).limit(1);
                let partition = format!("{status}#{shard}");
                let query = query.key_condition_expression("list_pk = :partition");
                let value = aws_sdk_dynamodb::types::AttributeValue::S(partition);
                let query = query.expression_attribute_values(":partition", value);
                let found = query.send().await.expect("DynamoDB answers");
                if found.count > 0 {
                    return false;
                }
            }
        }
        true
    })
    .await;
}

/// The bare client, and what there is to do.
struct Bare {
    sdk: Sdk,
    queue_url: String,
    create: Vec<Steps>,
    /// By the task's id.
    work: HashMap<String, Steps>,
    /// Tasks carried out.
    done: AtomicUsize,
    all_done: Notify,
}

/// The bare client's time for the tasks after the warm-up.
async fn bare(running: &Running, tasks: &Tasks, what: What, clients: usize) -> Value {
    let bare = Arc::new(Bare::new(running, tasks, what).await);
    let mut receivers = JoinSet::new();
    if what == What::Tasks {
        for _ in 0..INVOCATIONS {
            let bare = Arc::clone(&bare);
            receivers.spawn(async move { bare.receive().await });
        }
    }
    let all = tasks.ids.len();
    bare.create(0..WARM_UP, clients).await;
    if what == What::Tasks {
        bare.until_done(WARM_UP).await;
    }
    let processor = measure::processor_seconds();
    let began = Instant::now();
    bare.create(WARM_UP..all, clients).await;
    if what == What::Tasks {
        bare.until_done(all).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let processor = measure::processor_seconds() - processor;
    receivers.abort_all();
    figures(all - WARM_UP, seconds, processor, 0.0)
}

impl Bare {
    /// Has the handlers make and carry out one more task, and takes over their calls for all the others.
    async fn new(running: &Running, tasks: &Tasks, what: What) -> Self {
        let services = measure::addresses(running);
        let sdk = Sdk {
            dynamodb: running.clients.dynamodb.clone(),
            sqs: running.clients.sqs.clone(),
            s3vectors: running.clients.s3vectors.clone(),
        };
        let recorder = Recorder::default();
        let (listened, http_client) = recorder.in_front_of(&sdk, &services);
        let handlers = Handlers::over(&listened, http_client, &services);
        let id = object_ids(1, 1).next().expect("an id");
        let index = "the-index";
        measure::seed_index(&sdk.s3vectors, index, measure::OBJECTS_SEED, OBJECTS).await;
        let steps = async |endpoint: Endpoint| {
            let given = Given::of(endpoint, &endpoint.event(&id, index));
            assert!(handlers.handle(endpoint, given).await, "{endpoint:?}");
            recorder.take().0
        };
        let create = steps(Endpoint::Run).await;
        let work = match what {
            What::Run => Vec::new(),
            What::Tasks => steps(Endpoint::Worker).await,
        };
        // The message of that task.
        sdk.sqs
            .purge_queue()
            .queue_url(&running.queue_url)
            .send()
            .await
            .expect("SQS answers");
        let objects: Vec<_> = object_ids(measure::OBJECTS_SEED, OBJECTS).collect();
        let of = |steps: &Steps, number: usize| -> Steps {
            let mut pairs = vec![
                (id.clone(), tasks.ids[number].clone()),
                (index.to_owned(), Tasks::index(number)),
            ];
            let own = object_ids(Tasks::seed_of(number), OBJECTS);
            pairs.extend(objects.iter().cloned().zip(own));
            let step =
                |step: &Vec<Call>| step.iter().map(|call| call.clone().with(&pairs)).collect();
            steps.iter().map(step).collect()
        };
        let numbers = 0..tasks.ids.len();
        Self {
            create: numbers.clone().map(|number| of(&create, number)).collect(),
            work: numbers
                .map(|number| (tasks.ids[number].clone(), of(&work, number)))
                .collect(),
            sdk,
            queue_url: running.queue_url.clone(),
            done: AtomicUsize::new(0),
            all_done: Notify::new(),
        }
    }

    /// Creates these tasks, so many at once.
    async fn create(self: &Arc<Self>, numbers: std::ops::Range<usize>, clients: usize) {
        let next = Arc::new(AtomicUsize::new(numbers.start));
        let mut creators = JoinSet::new();
        for _ in 0..clients {
            let (bare, next, end) = (Arc::clone(self), Arc::clone(&next), numbers.end);
            creators.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return;
                    }
                    assert_eq!(make(&bare.sdk, &bare.create[number]).await, 2);
                }
            });
        }
        while let Some(ended) = creators.join_next().await {
            ended.expect("tasks are created");
        }
    }

    async fn until_done(&self, count: usize) {
        while self.done.load(Ordering::Relaxed) < count {
            self.all_done.notified().await;
        }
    }

    /// Carries out what is on the queue.
    async fn receive(&self) {
        loop {
            let receive = self.sdk.sqs.receive_message().queue_url(&self.queue_url);
            let receive = receive
                .max_number_of_messages(BATCH)
                .wait_time_seconds(20)
                .message_system_attribute_names(MessageSystemAttributeName::All);
            let received = receive.send().await.expect("SQS answers");
            let messages = received.messages.unwrap_or_default();
            let worked = messages.iter().map(|message| self.carry_out(message));
            let worked: Vec<_> = worked.collect();
            let count = stream::iter(worked)
                .buffer_unordered(MESSAGES)
                .count()
                .await;
            let numbered = messages.iter().enumerate();
            let entries = numbered.map(|(number, message)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .set_receipt_handle(message.receipt_handle.clone())
                    .build()
                    .expect("an entry")
            });
            if count > 0 {
                let delete = self.sdk.sqs.delete_message_batch();
                let delete = delete
                    .queue_url(&self.queue_url)
                    .set_entries(Some(entries.collect()));
                delete.send().await.expect("SQS answers");
            }
            self.done.fetch_add(count, Ordering::Relaxed);
            self.all_done.notify_one();
        }
    }

    async fn carry_out(&self, message: &Message) {
        let body: shared::task::Message =
            serde_json::from_str(message.body.as_deref().unwrap_or_default()).expect("a message");
        let steps = &self.work[&body.task_id];
        let calls = steps.iter().map(Vec::len).sum::<usize>();
        assert_eq!(make(&self.sdk, steps).await, calls);
    }
}
