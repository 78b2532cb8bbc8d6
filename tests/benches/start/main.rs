//! How small the functions are and how quick to start: `cargo bench -p tests --bench start`, or
//! with `-- --quick` for fewer starts, and with `-- --only worker` of only the functions whose
//! names contain this. It needs valgrind and strip, and builds what it measures, which takes some
//! twenty minutes.
//!
//! # Method
//! Each function is built alone with the release profile, as `sam build` does (`build.rs`), and
//! runs with the variables that it has when deployed; the worker once more, with all its default
//! features but `store-protocol`. Two baselines are built and run in the same run
//! (`tests/baselines/`): `hello` is `lambda_http` answering one word, without an SDK, with the same
//! profile; `defaults` is `create-deletion-task` with nothing tuned: the SDK's default features
//! (its HTTP client, aws-lc, the system's roots), its default configuration, Cargo's default
//! profile, a thread for each core.
//!
//! - *Time* (`clock.rs`) is from the exec of the process to its request for an event: the median of
//!   60 starts, in rounds. It is not repeatable: compare times of one run. The start of
//!   `task-events` includes its call that checks its event bus, which is on loopback, without TLS.
//! - *Instructions* (`count.rs`) are callgrind's, of the whole process, the dynamic linker
//!   included. They differ little from run to run: by a thousand or so until the first event, by
//!   one percent for the first request of `defaults`.
//! - *Peak* is the most that was resident (`VmHWM`), nearly all of it pages of the binary and of
//!   libc that processes share; *its own* is what no file holds (`RssAnon`).
//! - *The first request* is responded to with connections to DynamoDB and SQS made for it:
//!   embedded, behind TLS 1.3 with P-256 certificates. The services' own authority has to be
//!   trusted for that: it is added to Amazon's roots or to the system's in a file that stands for
//!   the system's. So Amazon's roots are read from text here, which takes more than the roots that
//!   are part of the functions.
//!
//! # What the figures are made of
//! Of the instructions of `create-deletion-task` (callgrind, a build with names) the SDK's DynamoDB
//! client takes 526,000, of which 414,000 parse the list of AWS's partitions, which each client of
//! the SDK does anew and no setting avoids; the dynamic linker 366,000 (252,000 of `hello`'s
//! 412,000); Rust's own start 107,000, which reads `/proc/self/maps`, in `hello` too. The queue's
//! client is made while the first PutItem is on its way, else its own list would be another
//! 420,000. The worker's S3 Vectors client is a second client, 519,000 more, hence its 1.7 million.
//!
//! The sizes and page faults below are of 2026-11-25. Of the 2.6 MB of code in
//! `create-deletion-task` (cargo bloat) the standard library is 449 KB, the SDK's clients for
//! DynamoDB and SQS 362, what they stand on 450, rustls, ring and webpki 483, `lambda_http` and
//! `lambda_runtime` with its client 245, our own 238; 0.7 MB are constants (`encoding_rs`' tables
//! in `lambda_http`, ring's curves), 0.3 MB unwinding tables that Rust's compiled standard library
//! and stack traces bring, 0.24 MB relocations. `opt-level = "z"` made it 0.34 MB less and its
//! start 1.4 times the instructions. `tests/suite/functions/linked.rs` holds what a function is
//! built from.
//!
//! What is left of the time above `hello`'s is the size: 181 to 189 page faults a start beside 106.
//! As executables that are not position-independent, and with identical functions folded by the
//! linker, `get-deletion-task` came to 147 faults and 1.24 times `hello` (1.27 times by the first
//! alone; by a script, 80 starts each). That gives up the randomization of the program's addresses,
//! so it was not done.
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

/// How small the functions are and how quick to start.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Only the functions whose names contain this, and the baselines
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

/// Until a function asks for its first event.
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

/// Until a function has responded to its first request, with TLS to DynamoDB and SQS.
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
