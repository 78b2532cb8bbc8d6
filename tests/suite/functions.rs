//! The functions as they are built and deployed.
//!
//! Each is a process with the variables that `template.yaml` gives it. A Lambda Runtime API passes
//! it the events of `events/`. The services are embedded.

mod background;
mod largest;
mod lines;
mod linked;
mod requests;
mod start;
mod trust;

use local::{NAME, Options, Running};
use serde_json::{Value, json};
use shared::clock::Clock;
use std::collections::BTreeSet;
use std::time::Duration;
use tests::DEMO_INDEX;
use tests::bus::Bus;
use tests::queue::{Queue, Receive};
use tests::runtime_api::{Function, SECRET, event, event_names, function_names, reply};
use tests::{as_listed, seed};

/// The caller in the events of the create, info, list and cancel functions.
const CREATOR: &str = "arn:aws:sts::123456789012:assumed-role/deletion-client/deletion-client";
/// The caller in the event of the restart function.
const OPERATOR: &str = "arn:aws:sts::123456789012:assumed-role/operator/jane";

/// How long a service may take to respond.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the response of a service, which must come in time.
async fn response_of<T>(call: impl IntoFuture<Output = T>) -> T {
    let response = tokio::time::timeout(PATIENCE, call.into_future()).await;
    response.expect("the service responds in time")
}

async fn services_with(clock: Clock) -> Running {
    let options = Options {
        worker_concurrency: 0,
        sweep_interval: None,
        clock,
        ..Options::default()
    };
    let started = response_of(local::start(options)).await;
    started.expect("the services start")
}

async fn services() -> Running {
    services_with(Clock::System).await
}

/// The messages on the queue, as SQS delivers them.
async fn received(running: &Running) -> Vec<aws_sdk_sqs::types::Message> {
    response_of(Queue::of(running).receive(Receive::default())).await
}

async fn bodies(running: &Running) -> Vec<Value> {
    let messages = received(running).await.into_iter();
    messages
        .map(|message| serde_json::from_str(&message.body.unwrap()).unwrap())
        .collect()
}

/// The status of each stored task.
async fn stored(running: &Running) -> Vec<String> {
    let scan = running.clients.dynamodb.scan().table_name(NAME);
    let found = response_of(scan.send()).await.unwrap();
    let items = found.items().iter();
    items
        .map(|item| item["status"].as_s().unwrap().clone())
        .collect()
}

/// Which of the example's objects, and of one further object, are in the demo index.
async fn present(running: &Running) -> BTreeSet<String> {
    let client = &running.clients.s3vectors;
    let present = seed::present(client, DEMO_INDEX, &["obj-1", "obj-2", "obj-3"]);
    response_of(present).await.into_iter().collect()
}

/// Fails the test unless this log line is valid and contains nothing secret. It may contain the
/// caller's own ARN.
fn assert_nothing_secret(line: &str) {
    let mut fields = tests::lines::checked(line);
    let caller = fields.as_object_mut().expect("a line").remove("caller");
    assert!(caller.is_none_or(|caller| caller.is_string()), "{line}");
    let fields = fields.to_string();
    for never in ["obj-", "arn:", "AKIA", SECRET] {
        assert!(!fields.contains(never), "{line}");
    }
}

/// The task of the example, without its times, in this state.
fn example(status: &str, attempt: u32, failed: &[&str], counts: [u32; 3]) -> Value {
    let [deleted, failed_count, remaining] = counts;
    let failed = failed
        .iter()
        .map(|id| json!({"object_id": id, "detail": "Object not found in index"}));
    json!({
        "id": "delete-xyz",
        "embedding_model_id": "embed-456",
        "status": status,
        "failed_item_ids": failed.collect::<Vec<_>>(),
        "detail": null,
        "attempt": attempt,
        "progress": {"total": 2, "deleted": deleted, "failed": failed_count, "remaining": remaining},
        "reason": null,
        "created_by": CREATOR,
        "changed_by": null,
    })
}

/// A task without its times. Checks that they are valid times.
fn timeless(mut task: Value) -> Value {
    let fields = task.as_object_mut().expect("a task");
    for name in ["created_at", "updated_at"] {
        let time = fields.remove(name).unwrap_or_default();
        let time = time.as_str().unwrap_or_default();
        let parsed = chrono::DateTime::parse_from_rfc3339(time);
        assert!(
            parsed.is_ok() && time.len() == "2024-05-21T12:00:00Z".len(),
            "{name}: {time}"
        );
    }
    task
}

/// The functions over one set of services, and the events that they got.
struct Stage {
    running: Running,
    bus: Bus,
    played: BTreeSet<String>,
}

impl Stage {
    /// Invokes the function of this name with the event of this name.
    async fn play(&mut self, name: &str) -> Value {
        let bus = [("AWS_ENDPOINT_URL_EVENTBRIDGE", self.bus.url())];
        let mut function = Function::start_changed(name, &self.running, &bus).await;
        let response = function.invoke(&event(name)).await.unwrap();
        self.played.insert(name.to_owned());
        let logged = function.end().await.stdout;
        assert!(!logged.is_empty(), "{name} logs what it did");
        for line in logged.lines() {
            assert_nothing_secret(line);
        }
        response
    }

    /// As [`Stage::play`], for a function that returns a task: the task without its times.
    async fn task(&mut self, name: &str) -> Value {
        timeless(reply(&self.play(name).await).ok())
    }
}

#[test]
fn every_function_has_an_event_and_every_event_a_function() {
    assert_eq!(event_names(), function_names());
}

#[tokio::test]
async fn the_events_tell_the_whole_story() {
    let mut stage = Stage {
        running: services().await,
        bus: Bus::start().await,
        played: BTreeSet::new(),
    };

    let created = stage.task("create-deletion-task").await;
    assert_eq!(created, example("pending", 1, &[], [0, 0, 2]));
    let sent = json!({"task_id": "delete-xyz", "attempt": 1});
    assert_eq!(bodies(&stage.running).await, [sent]);

    let nothing_failed = json!({"batchItemFailures": []});
    assert_eq!(stage.play("deletion-worker").await, nothing_failed);
    let left = BTreeSet::from(["obj-3".to_owned()]);
    assert_eq!(present(&stage.running).await, left);

    let done = example("done", 1, &["obj-2"], [1, 1, 0]);
    assert_eq!(stage.task("get-deletion-task").await, done);
    let listed = reply(&stage.play("list-deletion-tasks").await).ok();
    assert_eq!(listed["next_cursor"], Value::Null);
    let tasks = listed["tasks"].as_array().unwrap().iter().cloned();
    let listed: Vec<_> = tasks.map(timeless).collect();
    assert_eq!(listed, [as_listed(done)]);

    let restarted = stage.task("restart-deletion-task").await;
    let mut expected = example("pending", 2, &[], [1, 0, 1]);
    expected["changed_by"] = OPERATOR.into();
    assert_eq!(restarted, expected);
    let sent = json!({"task_id": "delete-xyz", "attempt": 2});
    assert_eq!(bodies(&stage.running).await, [sent]);

    let canceled = stage.task("cancel-deletion-task").await;
    let mut expected = example("canceled", 2, &[], [1, 0, 1]);
    expected["changed_by"] = CREATOR.into();
    assert_eq!(canceled, expected);
    // Nothing is open, so nothing is sent.
    assert_eq!(stage.play("task-sweeper").await, Value::Null);
    assert_eq!(bodies(&stage.running).await, Vec::<Value>::new());

    assert_eq!(stage.play("task-events").await, nothing_failed);
    let details = stage.bus.details(1).await;
    let mut told = example("done", 1, &[], [1, 1, 0]);
    told.as_object_mut().unwrap().remove("failed_item_ids");
    told["reason"] = "Ticket 4711".into();
    told["previous_status"] = "processing".into();
    told["sequence"] = 1_716_292_800_000_005_u64.into();
    assert_eq!(
        details.into_iter().map(timeless).collect::<Vec<_>>(),
        [told]
    );

    let all = event_names();
    assert_eq!(
        stage.played, all,
        "each file in events/ is part of the story"
    );
}

#[tokio::test]
async fn the_create_event_stores_a_task_sends_a_message_and_is_idempotent() {
    let running = services().await;
    let mut create = Function::start("create-deletion-task", &running).await;
    let event = event("create-deletion-task");

    let first = create.call(&event).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let created_at = first.json["created_at"].as_str().unwrap();
    // The body is compared byte for byte: the first six fields are published in this order, and the
    // line feed helps in a terminal.
    let published = concat!(
        r#"{"id":"delete-xyz","embedding_model_id":"embed-456","status":"pending","#,
        r#""created_at":"NOW","updated_at":"NOW","failed_item_ids":[],"detail":null,"#,
        r#""attempt":1,"progress":{"total":2,"deleted":0,"failed":0,"remaining":2},"#,
        r#""reason":null,"created_by":"WHO","changed_by":null}"#,
        "\n"
    );
    let published = published.replace("NOW", created_at);
    assert_eq!(first.text, published.replace("WHO", CREATOR));

    let again = create.call(&event).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("idempotent-mismatch"), None);
    assert_eq!(again.ok(), first.ok());

    assert_eq!(stored(&running).await, ["pending"]);
    let messages = received(&running).await;
    let bodies = messages.iter().map(|message| message.body().unwrap());
    assert_eq!(
        bodies.collect::<Vec<_>>(),
        [r#"{"task_id":"delete-xyz","attempt":1}"#]
    );
}
