//! Measures what conflicting transactions cost: `cargo bench -p tests --bench contention`.
//!
//! With `-- --quick` there are fewer rows, each measured once. With `-- --rates` the index has S3
//! Vectors' limits.
//!
//! # Method
//! The task has 100 chunks of 500 ids. None of the ids is in the index, so the measurement is about
//! DynamoDB's part: existence checks, claims, settlements. The messages are ready at the start. The
//! workers take batches of at most ten messages, evenly, until none is left. Each worker has
//! clients and calls of its own, as in a separate process. The embedded services are shared. A call
//! to DynamoDB takes 10 ms more than the embedded service needs, and one to S3 Vectors 40 ms more,
//! as `docs/capacity.md` assumes for AWS. Without this delay the whole task would take as long as
//! its settlements hold its item.
//!
//! Transactions hold their items as in DynamoDB (`harness/contention.rs`), for the milliseconds in
//! the row; conflicting ones are refused. A message that a worker hands back would wait for its
//! visibility timeout. Here it is counted, and goes to the end of the queue. The baseline of each
//! row is the row with the same workers and without holds. *One after another* is how long the
//! settlements that took effect held the task. Less is not possible if all workers reach them at
//! once. All figures are medians of five.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and one that cannot go on fails there"
)]

use clap::Parser;
use futures_util::future::join_all;
use local::Running;
use shared::clock::Clock;
use shared::worker::Worker;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::bench::arguments::Flags;
use tests::bench::table::{Row, number, print, row};
use tests::bench::{self, INVOCATION, median};
use tests::contention::Items;
use tests::handlers::{Addresses, Wiring, clients, stores_at};
use tests::queue::{self, Queue, Receive};
use tests::seed::run_text;
use tests::wire::{intercept, name_of};
use tokio::time::Instant;

const CHUNKS: usize = 100;
const INDEX: &str = "embed-456";
/// How long calls take in addition to the embedded services' own time.
const DYNAMODB: Duration = Duration::from_millis(10);
const S3_VECTORS: Duration = Duration::from_millis(40);

/// Measure what conflicting transactions cost.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Let the index refuse more than 300 existence checks a second, as is assumed of S3 Vectors
    #[arg(long)]
    rates: bool,
}

#[tokio::main]
async fn main() {
    let Arguments { flags, rates } = Arguments::parse();
    if !flags.is_bench("contention") {
        return;
    }
    let (workers, times): (&[usize], usize) = if flags.quick {
        (&[1, 10], 1)
    } else {
        (&[1, 5, 10, 30], 5)
    };
    let options = bench::services_only();
    options.throttle.turn(rates);
    let running = bench::start(options).await;
    let mut rows = Vec::new();
    for workers in workers {
        let mut free = f64::NAN;
        for hold in [0, 5, 10, 20] {
            let mut runs = Vec::new();
            for time in 0..times {
                eprintln!("{workers} workers, {hold} ms, run {}", time + 1);
                let task = format!("task-{workers}-{hold}-{time}");
                let hold = Duration::from_millis(hold);
                runs.push(carry_out(&running, &task, *workers, hold).await);
            }
            let seconds = median(runs.iter().map(|run| run.seconds));
            if hold == 0 {
                free = seconds;
            }
            rows.push(to_row(*workers, hold, seconds / free, &runs));
        }
    }
    print(&rows, flags.json);
}

fn to_row(workers: usize, hold: u64, times: f64, runs: &[Run]) -> Row {
    let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
    row([
        ("workers", workers.into()),
        ("items held", format!("{hold} ms").into()),
        ("seconds", number(of(|run| run.seconds), 2)),
        ("times without", number(times, 2)),
        ("came back", number(of(|run| run.came_back as f64), 0)),
        ("settlements", number(of(|run| run.settlements as f64), 0)),
        (
            "one after another",
            number(of(|run| run.settlements as f64) * hold as f64 / 1e3, 2),
        ),
        ("refused", number(of(|run| run.refused as f64), 0)),
        (
            "calls to DynamoDB a chunk",
            number(of(|run| run.calls as f64) / CHUNKS as f64, 2),
        ),
    ])
}

struct Run {
    seconds: f64,
    came_back: usize,
    settlements: usize,
    refused: usize,
    calls: usize,
}

/// Lets this many workers carry out a task of 100 chunks.
async fn carry_out(running: &Running, task: &str, workers: usize, hold: Duration) -> Run {
    let messages = Arc::new(Mutex::new(fanned_out(running, task).await));
    let items = Items::held_for(hold);
    let calls = Arc::new(AtomicUsize::new(0));
    let came_back = Arc::new(AtomicUsize::new(0));
    let most = CHUNKS.div_ceil(workers).min(10);
    let workers: Vec<_> = (0..workers)
        .map(|_| worker(running, &items, &calls))
        .collect();
    let began = Instant::now();
    let works = workers.into_iter().map(|worker| {
        let (messages, came_back) = (Arc::clone(&messages), Arc::clone(&came_back));
        tokio::spawn(async move {
            loop {
                let batch: Vec<_> = {
                    let mut messages = messages.lock().expect("not poisoned");
                    let most = messages.len().min(most);
                    messages.drain(..most).collect()
                };
                if batch.is_empty() {
                    return;
                }
                let event = queue::event(batch.iter().cloned());
                let response = worker.handle(event, Clock::System.now() + INVOCATION).await;
                let failed = queue::failed(&response);
                let back = batch
                    .into_iter()
                    .filter(|(id, _)| failed.contains(id.as_str()));
                let back: Vec<_> = back.collect();
                came_back.fetch_add(back.len(), Ordering::Relaxed);
                messages.lock().expect("not poisoned").extend(back);
            }
        })
    });
    for work in join_all(works).await {
        work.expect("a worker does not panic");
    }
    let seconds = began.elapsed().as_secs_f64();
    let status = bench::attribute(&running.clients.dynamodb, task, "status").await;
    assert_eq!(status, "done");
    Run {
        seconds,
        came_back: came_back.load(Ordering::Relaxed),
        settlements: items.transactions(),
        refused: items.refused(),
        calls: calls.load(Ordering::Relaxed),
    }
}

/// Creates the task and fans it out. Returns the messages of its chunks.
async fn fanned_out(running: &Running, task: &str) -> VecDeque<(String, String)> {
    bench::run(running, run_text(INDEX, task, 1, CHUNKS * 500)).await;
    let queue = Queue::of(running);
    bench::invoke(&running.handlers.worker, &queue, Receive::default()).await;
    let mut messages = VecDeque::new();
    while messages.len() < CHUNKS {
        let received = queue.receive(Receive::default()).await;
        queue.delete(&received).await;
        messages.extend(received.into_iter().map(|message| {
            let id = message.message_id.expect("an id");
            (id, message.body.expect("a body"))
        }));
    }
    messages
}

/// A worker as in a separate process, over a DynamoDB that holds `items`.
fn worker(running: &Running, items: &Items, calls: &Arc<AtomicUsize>) -> Worker {
    let addresses = Addresses::of(running);
    let (items, calls) = (items.clone(), Arc::clone(calls));
    let http_client = intercept(move |request, network| {
        let (items, calls) = (items.clone(), Arc::clone(&calls));
        async move {
            if name_of(&request).starts_with("DynamoDB.") {
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(DYNAMODB).await;
            } else {
                tokio::time::sleep(S3_VECTORS).await;
            }
            items.carry(request, network).await
        }
    });
    let clients = clients(&addresses, Some(http_client.clone()));
    let sqs = clients.sqs.clone();
    let wiring = Wiring::over(clients.dynamodb, move || sqs, &addresses.queue);
    wiring.worker(stores_at(&addresses, Some(http_client)))
}
