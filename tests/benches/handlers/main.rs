//! Counts what the handlers cost in addition to their calls to AWS:
//! `cargo bench -p tests --bench handlers`.
//!
//! With `-- --quick` it makes fewer requests. It needs valgrind.
//!
//! # Method
//! The benchmark counts the instructions of a request from its event to its response, both as text.
//! That is everything that a function does between two calls of the runtime, including its log line
//! on standard output. The figure is the mean over many requests. Each task has ten objects with
//! UUIDs, half of them in the index. `list` is the first page of 100 of a table of 1,000 tasks.
//! `worker` is a batch of one message, without the calls to SQS. The embedded services run in
//! another process.
//!
//! The baseline makes only the same SDK calls. The calls of the handler's clients are recorded once
//! (`recorded.rs`). A client that does nothing else puts the same parameters into the SDK's
//! builders (`calls.rs`), sends the calls with the handler's concurrency, and drops the responses.
//! The benchmark checks that both send the same operations with bodies of the same size. Handler
//! and baseline take turns, request by request (`sides.rs`).
//!
//! Callgrind also counts misses in its simple model of caches and of a branch predictor.
//! Instructions are the same on every run, whatever else the machine does. The time of a request is
//! not measured, because on a shared machine two measurements of the same thing differ by more than
//! the effect in question.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and one that cannot go on fails there"
)]

mod calls;
mod recorded;
mod requests;
mod sides;

use clap::{Parser, Subcommand};
use requests::Endpoint;
use tests::bench::arguments::Flags;
use tests::bench::callgrind::{Callgrind, Counts};
use tests::bench::process::{child_of, this_program};
use tests::bench::table::{Row, number, print, row};
use tests::handlers::Addresses;

/// The counts, by callgrind's names. A data miss is a miss of a read or of a write.
const INSTRUCTIONS: &[&str] = &["Ir"];
const INSTRUCTION_MISSES: &[&str] = &["I1mr"];
const DATA_MISSES: &[&str] = &["D1mr", "D1mw"];
const MISPREDICTIONS: &[&str] = &["Bcm", "Bim"];

/// Count what the handlers cost in addition to their calls.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Make one endpoint's requests, in the process that is counted
    #[command(hide = true)]
    Requests {
        endpoint: Endpoint,
        #[arg(long)]
        times: usize,
        #[arg(long)]
        services: Addresses,
    },
}

fn main() {
    let Arguments { flags, part } = Arguments::parse();
    // A function has one thread.
    let runtime = match part {
        Some(_) => tokio::runtime::Builder::new_current_thread(),
        None => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match part {
            Some(Part::Requests {
                endpoint,
                times,
                services,
            }) => {
                println!("{}", sides::requests(endpoint, times, &services).await);
            }
            None if !flags.is_bench("handlers") => {}
            None => print(&measure(flags.quick).await, flags.json),
        }
    });
}

/// Counts each endpoint's requests.
async fn measure(quick: bool) -> Vec<Row> {
    let times = if quick { 20 } else { 80 };
    let mut rows = Vec::new();
    for endpoint in Endpoint::ALL {
        let handler = count(endpoint, "*poll_handler*", times).await;
        let bare = count(endpoint, "*poll_bare*", times).await;
        let sum = |counts: &Counts, names: &[&str]| {
            let counts = names.iter().map(|name| counts.of(name));
            counts.sum::<u64>() as f64
        };
        let thousands =
            |counts: &Counts| number(sum(counts, INSTRUCTIONS) / times as f64 / 1000.0, 1);
        let over = |names| number(sum(&handler, names) / sum(&bare, names), 3);
        rows.push(row([
            ("a request", endpoint.name().into()),
            ("instructions, thousand", thousands(&handler)),
            ("bare", thousands(&bare)),
            ("÷", over(INSTRUCTIONS)),
            (
                "missed in the cache of instructions ÷ bare",
                over(INSTRUCTION_MISSES),
            ),
            ("in that of data ÷ bare", over(DATA_MISSES)),
            ("mispredicted branches ÷ bare", over(MISPREDICTIONS)),
        ]));
    }
    rows
}

/// Counts only what happens within one function. `polled` is a pattern of its name.
async fn count(endpoint: Endpoint, polled: &str, times: usize) -> Counts {
    eprintln!("{}, {polled}", endpoint.name());
    let hosts = sides::hosts(endpoint).await;
    let services = Addresses::of(&hosts).to_string();
    let toggle = format!("--toggle-collect={polled}");
    let options = ["--cache-sim=yes", "--branch-sim=yes", &toggle];
    let (callgrind, mut command) = Callgrind::of(&this_program(), &options);
    command.args(["requests", endpoint.name(), "--services", &services]);
    command.args(["--times", &times.to_string()]);
    child_of(command).await;
    hosts.shutdown().await;
    let counts = callgrind.counts();
    assert!(counts.of("Ir") > 0, "no function is named like {polled}");
    counts
}
