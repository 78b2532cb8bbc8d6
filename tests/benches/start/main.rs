//! How small the functions are and how quick to start: `cargo bench -p tests --bench start`, or with `-- --quick` for a short
//! look.
//!
//! Measured are the functions as they are deployed (the release profile, each built alone), beside two baselines that are built and
//! run in the same run (`tests/baselines/`): `hello`, which does nothing, and `defaults`, which is `create-deletion-task` with
//! nothing tuned. `build.rs` builds them, `clock.rs` times starts, `count.rs` counts instructions and memory.
//!
//! It needs valgrind and strip. Instructions are repeatable; times are not: compare those of one run.
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

/// How small the functions are and how quick to start.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    if !arguments.flags.is_bench("start") {
        return;
    }
    let binaries = build::all();
    let times = clock::starts(&binaries, if arguments.flags.quick { 6 } else { 60 });
    let services = Services::start().await;
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

/// Until a function has answered its first request, with TLS to DynamoDB and SQS.
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
