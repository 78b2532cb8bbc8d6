//! Measures how small the functions are and how fast they start:
//! `cargo bench -p tests --bench start`.
//!
//! With `-- --quick` there are fewer starts. With `-- --only worker` only the functions are
//! measured whose names contain `worker`. The benchmark needs valgrind and strip. It builds what it
//! measures, which takes about twenty minutes.
//!
//! # Method
//! Each function is built alone with the release profile, as `sam build` does (`build.rs`), and
//! runs with the variables that it has when deployed. The worker is also measured without its
//! default feature `store-protocol`. Two baselines (`tests/baselines/`) are built and run in the
//! same run. `hello` is `lambda_http` that responds with one word, without an SDK, with the same
//! profile. `defaults` is `create-deletion-task` with nothing tuned: the SDK's default features
//! (its HTTP client, aws-lc, the system's roots), its default configuration, Cargo's default
//! profile, and a thread for each core.
//!
//! - *Time* (`clock.rs`) is from the exec of the process to its request for an event: the median of
//!   60 starts, in rounds. It is not repeatable, so compare only times of one run. The start of
//!   `task-events` includes the call that checks its event bus, which is on loopback, without TLS.
//! - *Instructions* (`count.rs`) are callgrind's count of the whole process, including the dynamic
//!   linker. They differ little from run to run: by about a thousand until the first event, and by
//!   one percent for the first request of `defaults`.
//! - *Peak* is the peak of the resident memory (`VmHWM`). Nearly all of it is pages of the binary
//!   and of libc, which processes share. *Its own* is the memory that belongs to no file
//!   (`RssAnon`).
//! - *The first request* opens connections to DynamoDB and SQS, which are embedded, behind TLS 1.3
//!   with P-256 certificates. For this the function has to trust the services' own authority. It is
//!   added to Amazon's roots or to the system's, in a file that replaces the system's. So here
//!   Amazon's roots are read from text, which takes more than the built-in roots.
//!
//! # What makes up the figures
//! The instructions of `create-deletion-task` (callgrind, a build with names) include 526,000 of
//! the SDK's DynamoDB client. 414,000 of them parse the list of AWS's partitions; each SDK client
//! does this again, and no setting avoids it. The dynamic linker takes 366,000 (252,000 of
//! `hello`'s 412,000). Rust's own start, which reads `/proc/self/maps`, takes 107,000, in `hello`
//! too. The queue's client is created while the first PutItem is in flight; otherwise its own list
//! would take another 420,000. The worker's S3 Vectors client is a second client and takes 519,000
//! more, which explains the worker's 1.7 million.
//!
//! The sizes and page faults below are from 2026-11-25. `create-deletion-task` has 2.6 MB of code
//! (cargo bloat): the standard library has 449 KB, the SDK's clients for DynamoDB and SQS 362, the
//! crates below them 450, rustls, ring and webpki 483, `lambda_http` and `lambda_runtime` with its
//! client 245, and our own code 238. Constants take 0.7 MB (`encoding_rs`' tables in `lambda_http`,
//! ring's curves), unwinding tables 0.3 MB (they come with Rust's compiled standard library and
//! stack traces), and relocations 0.24 MB. `opt-level = "z"` made the binary 0.34 MB smaller and
//! its start take 1.4 times the instructions. `tests/suite/functions/linked.rs` checks which
//! packages a function is built from.
//!
//! The remaining time above `hello`'s comes from the size: a start has 181 to 189 page faults, and
//! `hello`'s has 106. As a position-dependent executable, and with identical functions folded by
//! the linker, `get-deletion-task` had 147 faults and took 1.24 times the time of `hello` (1.27
//! times with the first change alone; measured by a script, 80 starts each). That gives up address
//! space randomization of the program, so it was not done.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and one that cannot go on fails there"
)]

mod build;
mod clock;
mod count;

use build::{Binary, Kind};
use clap::Parser;
use count::{Counted, Services, Until};
use serde_json::json;
use tests::bench::arguments::Flags;
use tests::bench::table::{Row, number, print, row};
use tests::bench::{median, range};
use tests::bus::Bus;

/// Measure how small the functions are and how fast they start.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Measure only the functions whose names contain this, and the baselines
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    if !arguments.flags.is_bench("start") {
        return;
    }
    let binaries = build::all(&arguments.only);
    let bus = Bus::start().await;
    let times = if arguments.flags.quick { 6 } else { 60 };
    let times = clock::starts(&binaries, times, &bus);
    let services = Services::start(bus).await;
    let mut starts = Vec::new();
    let mut requests = Vec::new();
    for (binary, times) in binaries.iter().zip(&times) {
        let counted = services.count(binary, Until::FirstNext).await;
        starts.push((binary, times, counted));
        for &roots in count::roots_of(binary) {
            let counted = services.count(binary, Until::FirstAnswer(roots)).await;
            requests.push((binary, roots, counted));
        }
    }
    let mut rows: Vec<_> = starts.iter().map(|it| start_row(it, &starts)).collect();
    rows.extend(requests.iter().map(|it| request_row(it, &requests)));
    print(&rows, arguments.flags.json);
}

type Start<'a> = (&'a Binary, &'a Vec<f64>, Counted);
type Request<'a> = (&'a Binary, count::Roots, Counted);

/// The row for a start, until a function asks for its first event.
fn start_row((binary, times, counted): &Start<'_>, all: &[Start<'_>]) -> Row {
    let of = |kind| {
        all.iter()
            .find(|(it, ..)| it.kind == kind)
            .expect("it is measured")
    };
    let (hello, defaults) = (of(Kind::Hello), of(Kind::Defaults));
    let p50 = median(times.iter().copied());
    let (least, _) = range(times.iter().copied());
    row([
        ("start", json!(binary.name)),
        ("stripped MB", number(binary.stripped_bytes as f64 / 1e6, 2)),
        ("exec to first /next, ms, p50", number(p50, 2)),
        ("least", number(least, 2)),
        ("× hello", number(p50 / median(hello.1.iter().copied()), 2)),
        (
            "defaults ÷ it",
            number(median(defaults.1.iter().copied()) / p50, 2),
        ),
        (
            "instructions, M",
            number(counted.instructions as f64 / 1e6, 2),
        ),
        ("peak MB", number(counted.peak_kilobytes as f64 / 1e3, 2)),
        (
            "of which its own",
            number(counted.private_kilobytes as f64 / 1e3, 2),
        ),
    ])
}

/// The row for a first request, until a function has responded, with TLS to DynamoDB and SQS.
fn request_row((binary, roots, counted): &Request<'_>, all: &[Request<'_>]) -> Row {
    let defaults = all.iter().find(|(it, ..)| it.kind == Kind::Defaults);
    let defaults = defaults.expect("it is measured").2.instructions as f64;
    let instructions = counted.instructions as f64;
    row([
        ("first request over TLS", json!(binary.name)),
        ("trusts", json!(roots.name())),
        ("instructions, M", number(instructions / 1e6, 2)),
        ("defaults ÷ it", number(defaults / instructions, 1)),
        ("peak MB", number(counted.peak_kilobytes as f64 / 1e3, 2)),
        (
            "of which its own",
            number(counted.private_kilobytes as f64 / 1e3, 2),
        ),
    ])
}
