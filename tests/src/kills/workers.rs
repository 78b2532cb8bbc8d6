//! The workers: fed with batches as Lambda's event source mapping does it, killed at random moments, replaced.

use super::line::Line;
use super::{WORKER_TIMEOUT, World};
use crate::runtime_api::Function;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The most messages in one invocation.
const MAX_BATCH: i32 = 6;
/// The part of the invocations that are killed, unless they end before.
const KILLED: f64 = 0.6;
/// About the longest that a batch takes: a worker is killed at a moment within it.
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
        // A kill that comes before the first event hits no work.
        function.ready().await;
        Self { function, line }
    }
}

/// Feeds one worker after the other, for ever.
pub(super) async fn work(world: Arc<World>, number: u64) {
    let mut rng = Rng::with_seed(world.plan.seed.wrapping_mul(1000) + number);
    let mut process = None;
    loop {
        let batch = receive(&world, &mut rng).await;
        if batch.is_empty() {
            continue;
        }
        let mut worker = match process.take() {
            Some(worker) => worker,
            None => Process::start(&world, rng.u64(..)).await,
        };
        let doom = doom(&world, &batch, &mut rng);
        let time = doom.unwrap_or(WORKER_TIMEOUT);
        let event = event(&batch);
        let work = worker.function.invoke_within(WORKER_TIMEOUT, &event);
        if let Ok(answer) = timeout(time, work).await {
            acknowledge(&world, batch, &answer.expect("the worker answers")).await;
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

async fn receive(world: &World, rng: &mut Rng) -> Vec<Message> {
    let running = &world.service.running;
    let (shortest, longest) = world.plan.visibility;
    // Rather short: where a lease were too short, the message would come back in time to show it.
    let visibility = shortest + (longest - shortest).mul_f64(rng.f64().powi(2));
    let visibility = i32::try_from(visibility.as_secs()).expect("a small number");
    let receive = running.clients.sqs.receive_message();
    let received = receive
        .queue_url(&running.queue_url)
        .max_number_of_messages(rng.i32(1..=MAX_BATCH))
        .visibility_timeout(visibility)
        .wait_time_seconds(1)
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .send()
        .await;
    received.expect("SQS answers").messages.unwrap_or_default()
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

/// The event that Lambda makes of a batch.
fn event(batch: &[Message]) -> Value {
    let record = |message: &Message| {
        let attributes = message.attributes.iter().flatten();
        let attributes = attributes.map(|(name, value)| (name.as_str().to_owned(), json!(value)));
        json!({
            "messageId": message.message_id,
            "receiptHandle": message.receipt_handle,
            "body": message.body,
            "attributes": attributes.collect::<serde_json::Map<_, _>>(),
            "messageAttributes": {},
            "md5OfBody": message.md5_of_body,
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:deletion-tasks",
            "awsRegion": "us-east-1",
        })
    };
    json!({"Records": batch.iter().map(record).collect::<Vec<_>>()})
}

/// Deletes the messages that the worker does not want delivered again.
async fn acknowledge(world: &World, batch: Vec<Message>, answer: &Value) {
    let failures = answer["batchItemFailures"].as_array().expect("a list");
    let failed: BTreeSet<_> = failures
        .iter()
        .map(|failure| failure["itemIdentifier"].as_str().expect("a message's id"))
        .collect();
    let running = &world.service.running;
    for message in batch {
        if failed.contains(message.message_id().unwrap_or_default()) {
            continue;
        }
        let delete = running.clients.sqs.delete_message();
        let delete = delete
            .queue_url(&running.queue_url)
            .set_receipt_handle(message.receipt_handle);
        delete.send().await.expect("SQS answers");
    }
}
