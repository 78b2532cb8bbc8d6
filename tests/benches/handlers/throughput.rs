//! Requests and small tasks a second through the local runner, beside what its embedded services take from a bare client.
//!
//! Each figure has a process of its own, in which the runner is as `cargo run` has it. `runner.rs` sends it requests; `bare.rs` makes
//! the handlers' SDK calls over the same kind of runner. The bare client has no thread that sends requests, so what that one costs
//! the runner is told.

mod bare;
mod runner;
mod tasks;

use local::{Options, logs};
use serde_json::{Value, json};
use std::process::Stdio;
use tasks::Tasks;
use tests::measure::rows::Row;
use tests::measure::{self, UNPACED_STORES, median, ratio};
use tokio::process::Command;

/// Invocations of the worker at once.
const INVOCATIONS: usize = 2;
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
    let (rounds, all_clients): (_, &[_]) = match quick {
        true => (3, &["8"]),
        false => (5, &["1", "8", "32"]),
    };
    let mut rows = Vec::new();
    for (what, count) in [("run", "5000"), ("tasks", "3000")] {
        for clients in all_clients {
            let mut measured: [Vec<Value>; 2] = Default::default();
            for round in 0..rounds {
                for turn in 0..2 {
                    let side = (round + turn) % 2;
                    let who = ["runner", "bare"][side];
                    eprintln!("throughput, {what}, {clients} clients, {who}");
                    let arguments = ["load", who, what, "--clients", clients, "--count", count];
                    let mut command = Command::new(measure::this_program());
                    command.args(arguments);
                    // Its lines of log are written, and nobody reads them.
                    measured[side].push(measure::child_of(command, Stdio::null()).await);
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
    let _logs = logs::init("info".parse().expect("a level"));
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
        Who::Runner => runner::measure(&running, &tasks, what, clients).await,
        Who::Bare => bare::measure(&running, &tasks, what, clients).await,
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
