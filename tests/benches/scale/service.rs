//! The whole path: `/run` over HTTP, the queue, the worker and the store, all in this process as
//! with `cargo run`.

use crate::report::{Sample, timed};
use local::Running;
use serde_json::Value;
use tests::bench::meter::Meter;
use tests::bench::{self, attribute, process};
use tests::seed;
use tokio::time::Instant;

/// Times tasks of this many objects, half of which are in the index, and counts the calls of one
/// more task.
pub(crate) async fn measure(objects: usize, times: usize) -> Value {
    let meter = Meter::default();
    let running = bench::start(bench::unpaced(Some(meter.http_client()))).await;
    // Connections are opened before anything is timed.
    task(&running, 0, 2).await;
    process::forget_peak();
    let mut peak = 0.0;
    let mut samples = Vec::new();
    for number in 1..=times {
        samples.push(task(&running, number, objects).await);
        if number == 1 {
            peak = process::peak_megabytes();
        }
    }
    let number = times + 1;
    let client = &running.clients.s3vectors;
    seed::half_index(client, &index(number), seed_of(number), objects).await;
    meter.turn_on();
    carry_out(&running, number, objects).await;
    // The last response may not have reached the handler yet.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let tally = meter.turn_off();
    running.shutdown().await;
    timed("service", objects, &samples, peak, &tally)
}

fn index(number: usize) -> String {
    format!("index-{number}")
}

fn seed_of(number: usize) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// Seeds an index and carries a task out on it.
async fn task(running: &Running, number: usize, objects: usize) -> Sample {
    let client = &running.clients.s3vectors;
    seed::half_index(client, &index(number), seed_of(number), objects).await;
    carry_out(running, number, objects).await
}

async fn carry_out(running: &Running, number: usize, objects: usize) -> Sample {
    let id = format!("task-{number}");
    let body = seed::run_text(&index(number), &id, seed_of(number), objects);
    let processor = process::processor_seconds();
    let began = Instant::now();
    bench::run(running, body).await;
    let created = began.elapsed();
    // These calls bypass the meter, because waiting is not part of the task's cost.
    let client = &running.clients.dynamodb;
    bench::until(began, async || bench::has_ended(client, &id).await).await;
    let sample = Sample {
        created: created.as_secs_f64(),
        total: began.elapsed().as_secs_f64(),
        processor: process::processor_seconds() - processor,
    };
    let found = (
        attribute(client, &id, "status").await,
        attribute(client, &id, "deleted").await,
        attribute(client, &id, "failed").await,
    );
    let half = objects / 2;
    let expected = ("done".into(), half.to_string(), half.to_string());
    assert_eq!(found, expected, "a task of {objects} objects");
    sample
}
