//! The workers.
//!
//! They are fed with batches as by Lambda's event source mapping, killed at random moments, and
//! replaced.
//!
//! A batch is received, carried out and deleted in three steps, because a worker may be killed
//! between them.

use super::line::Line;
use super::{WORKER_TIMEOUT, World};
use crate::queue::{Queue, Receive, event_of};
use crate::runtime_api::Function;
use aws_lambda_events::sqs::SqsBatchResponse;
use aws_sdk_sqs::types::Message;
use fastrand::Rng;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The maximum number of messages in one invocation.
const MAX_BATCH: i32 = 6;
/// The share of invocations that are killed, unless they end before.
const KILLED: f64 = 0.6;
/// About the longest time that a batch takes. A worker is killed at a moment within it.
const BATCH_TIME: Duration = Duration::from_secs(2);

struct Process {
    function: Function,
    line: Line,
}

impl Process {
    async fn start(world: &Arc<World>, seed: u64) -> Self {
        let running = &world.service.running;
        let line = Line::start(world, seed).await;
        let mut changes = line.variables().to_vec();
        changes.push(("LOG_LEVEL", "info".to_owned()));
        let function = Function::start_changed("deletion-worker", running, &changes).await;
        // A kill before the first event would hit no work.
        function.ready().await;
        Self { function, line }
    }
}

/// Feeds one worker after the other, without end.
pub(super) async fn work(world: Arc<World>, number: u64) {
    let mut rng = Rng::with_seed(world.plan.seed.wrapping_mul(1000) + number);
    let queue = Queue::of(&world.service.running);
    let mut process = None;
    loop {
        let batch = queue.receive(how_to_receive(&world, &mut rng)).await;
        if batch.is_empty() {
            continue;
        }
        let mut worker = match process.take() {
            Some(worker) => worker,
            None => Process::start(&world, rng.u64(..)).await,
        };
        let doom = doom(&world, &batch, &mut rng);
        let time = doom.unwrap_or(WORKER_TIMEOUT);
        let event = serde_json::to_value(event_of(&batch)).expect("an event is JSON");
        let work = worker.function.invoke_within(WORKER_TIMEOUT, &event);
        if let Ok(answer) = timeout(time, work).await {
            let answer = answer.expect("the worker answers");
            let response: SqsBatchResponse =
                serde_json::from_value(answer).expect("a batch response");
            queue.settle(&batch, &response).await;
            process = Some(worker);
            continue;
        }
        let calls = worker.line.cut();
        worker.function.end().await;
        let mut report = world.report();
        match doom {
            Some(_) => report.killed(&calls),
            None => report.timeouts += 1,
        }
    }
}

fn how_to_receive(world: &World, rng: &mut Rng) -> Receive {
    let (shortest, longest) = world.plan.visibility;
    // Short times are more likely. If a lease were too short, the message would then come back
    // early enough to show it.
    let visibility = shortest + (longest - shortest).mul_f64(rng.f64().powi(2));
    Receive {
        most: rng.i32(1..=MAX_BATCH),
        wait_seconds: 1,
        visibility_seconds: Some(i32::try_from(visibility.as_secs()).expect("a small number")),
    }
}

/// When to kill the worker of this batch, if at all.
fn doom(world: &World, batch: &[Message], rng: &mut Rng) -> Option<Duration> {
    let (chosen, moment) = (rng.f64() < KILLED, BATCH_TIME.mul_f64(rng.f64()));
    let is_spared = world.plan.spares_fan_outs && batch.iter().any(is_fan_out);
    (chosen && !is_spared && world.goes_on()).then_some(moment)
}

fn is_fan_out(message: &Message) -> bool {
    let body: Value = serde_json::from_str(message.body().unwrap_or_default()).unwrap_or_default();
    let id = body["task_id"].as_str().unwrap_or_default();
    id.starts_with("large") && body["chunk"].is_null()
}
