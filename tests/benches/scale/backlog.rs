//! Sweeps over a backlog of pending tasks.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::clock::Clock;
use tests::bench::meter::Meter;
use tests::bench::{self, process};
use tests::seed::tasks::{SHARDS, leave_pending};
use tokio::time::Instant;

/// How long a sweep may take, as in `template.yaml`.
const SWEEP: TimeDelta = TimeDelta::seconds(60);
/// Stores this many pending tasks, of which only the newest of each shard are due. Sweeps until
/// these are sent, at most `most_sweeps` times.
pub(crate) async fn measure(tasks: usize, most_sweeps: usize) -> Value {
    let meter = Meter::default();
    let options = local::Options {
        http_client: Some(meter.http_client()),
        ..bench::services_only()
    };
    let running = bench::start(options).await;
    leave_pending(&running, tasks).await;
    let (mut seconds, mut units) = (Vec::new(), Vec::new());
    let (mut queries, mut rows, mut writes) = (0, 0, 0.0);
    let (mut sent, mut errors) = (0, 0);
    let processor = process::processor_seconds();
    while sent < SHARDS && seconds.len() < most_sweeps {
        meter.turn_on();
        let began = Instant::now();
        let deadline = Clock::System.now() + SWEEP;
        let report = running.handlers.sweeper.sweep(deadline).await;
        seconds.push(began.elapsed().as_secs_f64());
        let tally = meter.turn_off();
        sent += report.sent;
        errors += report.errors;
        units.push(tally.read_units);
        queries += tally.calls["DynamoDB.Query"];
        rows += tally.rows_read;
        writes += tally.write_units;
    }
    let processor = process::processor_seconds() - processor;
    running.shutdown().await;
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    json!({
        "tasks": tasks,
        "newest_sent": sent,
        "sweeps": seconds.len(),
        "errors": errors,
        "seconds": seconds.iter().sum::<f64>(),
        "longest_s": most(&seconds),
        "processor_s": processor,
        "queries": queries,
        "rows_read": rows,
        "read_units": units.iter().sum::<f64>(),
        "most_units_of_a_sweep": most(&units),
        "write_units": writes,
    })
}
