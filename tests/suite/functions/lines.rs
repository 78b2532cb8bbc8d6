//! The log lines of the built functions: one per request or message, of every kind, with the
//! longest names.

use super::{assert_nothing_secret, response_of, services, services_with};
use local::{NAME, Running};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::telemetry::MAX_NAMESPACE_BYTES;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;
use tests::lines::{checked, metrics};
use tests::runtime_api::{Function, event};
use tests::{ids, run_body};

/// An address where no program listens.
const NOBODY: &str = "http://127.0.0.1:1";

/// The longest task id, of characters that JSON escapes.
fn longest_id() -> String {
    "\"".repeat(255)
}

async fn start(name: &str, running: &Running, changes: &[(&str, String)]) -> Function {
    let namespace = "n".repeat(MAX_NAMESPACE_BYTES);
    let mut all = vec![("METRICS_NAMESPACE", namespace)];
    all.extend(changes.iter().cloned());
    Function::start_changed(name, running, &all).await
}

/// Ends the function and returns its lines, after checking each.
async fn lines_of(function: Function) -> Vec<Value> {
    let logged = function.end().await.stdout;
    logged.lines().for_each(assert_nothing_secret);
    logged.lines().map(checked).collect()
}

fn run_event(body: &Value) -> Value {
    let mut event = event("create-deletion-task");
    event["body"] = body.to_string().into();
    event
}

fn query_event(name: &str, query: &[(&str, &str)]) -> Value {
    let mut event = event(name);
    let (mut last, mut all) = (json!({}), json!({}));
    for (name, value) in query {
        last[name] = (*value).into();
        all[name] = json!([value]);
    }
    event["queryStringParameters"] = last;
    event["multiValueQueryStringParameters"] = all;
    event
}

/// A batch of this one message.
fn batch(body: &Value) -> Value {
    let mut event = event("deletion-worker");
    event["Records"][0]["body"] = body.to_string().into();
    // The message was never on the queue.
    event["Records"][0]["receiptHandle"] = Value::Null;
    event
}

#[tokio::test]
async fn every_request_has_one_line_whatever_its_response() {
    let running = services().await;
    let id = longest_id();
    let mut create = start("create-deletion-task", &running, &[]).await;
    let body = run_body("embed-456", &id, &["obj-1", "obj-2"]);
    create.call(&run_event(&body)).await.ok();
    create.call(&run_event(&body)).await.ok();
    let other = run_body("embed-456", &id, &["obj-3"]);
    create.call(&run_event(&other)).await.ok();
    create.call(&run_event(&json!([]))).await.problem(422);
    let mut broken = run_event(&body);
    broken["body"] = "{".into();
    create.call(&broken).await.problem(400);
    let delete = running.clients.sqs.delete_queue();
    response_of(delete.queue_url(&running.queue_url).send())
        .await
        .unwrap();
    let undispatched = run_body("embed-456", "obj\\late", &["obj-1"]);
    create.call(&run_event(&undispatched)).await.ok();

    for (name, query) in [
        ("get-deletion-task", vec![("task_id", id.as_str())]),
        ("list-deletion-tasks", vec![]),
        ("cancel-deletion-task", vec![("task_id", id.as_str())]),
        ("restart-deletion-task", vec![("task_id", id.as_str())]),
    ] {
        let mut function = start(name, &running, &[]).await;
        function.call(&query_event(name, &query)).await.ok();
        let unreachable = [("AWS_ENDPOINT_URL_DYNAMODB", NOBODY.to_owned())];
        let mut cut_off = start(name, &running, &unreachable).await;
        cut_off.call(&query_event(name, &query)).await.problem(503);
        for (function, status) in [(function, 200), (cut_off, 503)] {
            let lines = lines_of(function).await;
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_eq!(lines[0]["status"], status);
            assert_eq!(
                lines[0]["task_id"].as_str(),
                query.first().map(|_| id.as_str())
            );
            let canceled = name.starts_with("cancel") && status == 200;
            let counted: &[&str] = if canceled { &["TasksCanceled"] } else { &[] };
            assert_eq!(metrics(&lines[0]), counted, "{lines:?}");
        }
    }

    let table = running.clients.dynamodb.delete_table();
    response_of(table.table_name(NAME).send()).await.unwrap();
    create.call(&run_event(&body)).await.problem(500);
    let lines = lines_of(create).await;
    let status: Vec<_> = lines
        .iter()
        .map(|line| line["status"].as_u64().unwrap())
        .collect();
    assert_eq!(status, [200, 200, 200, 422, 400, 200, 500]);
    assert_eq!(metrics(&lines[0]), ["TasksCreated"]);
    assert_eq!(metrics(&lines[1]), [""; 0], "a repeated create");
    assert_eq!(lines[5]["dispatched"], false);
    assert_eq!(
        metrics(&lines[5]),
        ["TasksCreated"],
        "the sweeper dispatches it"
    );
}

#[tokio::test]
async fn every_message_has_one_line_however_it_ends() {
    let running = services().await;
    let mut create = start("create-deletion-task", &running, &[]).await;
    let id = longest_id();
    let message = |id: &str, attempt: u32| json!({"task_id": id, "attempt": attempt});
    for (model, id, objects) in [
        ("embed-456", id.as_str(), ids("obj", 400)),
        ("embed-456", "large", ids("obj", 1001)),
        ("no-such-index", "failing", ids("obj", 2)),
        ("embed-456", "late", ids("obj", 2)),
    ] {
        create
            .call(&run_event(&run_body(model, id, &objects)))
            .await
            .ok();
    }
    let mut worker = start("deletion-worker", &running, &[]).await;
    let mut ended = Vec::new();
    let settled = [
        batch(&message(&id, 1)),
        batch(&message(&id, 1)),
        batch(&message("failing", 1)),
        batch(&message("large", 1)),
        batch(&json!({"task_id": "large", "attempt": 1, "chunk": 0})),
        batch(&json!({"what": "obj-1"})),
    ];
    for event in &settled {
        worker.invoke(event).await.unwrap();
    }
    let late = batch(&message("late", 1));
    let second = Duration::from_secs(1);
    worker.invoke_within(second, &late).await.unwrap();
    ended.extend(lines_of(worker).await);

    // A server that accepts connections and never responds.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for (variable, endpoint) in [
        ("AWS_ENDPOINT_URL_S3VECTORS", NOBODY),
        ("AWS_ENDPOINT_URL_DYNAMODB", NOBODY),
        ("AWS_ENDPOINT_URL_DYNAMODB", &silent),
    ] {
        let mut worker = start(
            "deletion-worker",
            &running,
            &[(variable, endpoint.to_owned())],
        )
        .await;
        let time = if endpoint == silent {
            Duration::from_secs(3)
        } else {
            Duration::from_secs(60)
        };
        worker.invoke_within(time, &late).await.unwrap();
        let lines = lines_of(worker).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        ended.extend(lines);
    }

    let outcome = |line: &Value| match line["outcome"].as_str() {
        Some(outcome) => outcome.to_owned(),
        None => metrics(line).concat(),
    };
    let outcomes: Vec<_> = ended.iter().map(outcome).collect();
    let expected = [
        "done",
        "dropped",
        "failed",
        "fanned out",
        "processing",
        "refused",
        "handed back",
        "deferred",
        "error",
        "out of time",
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(
        metrics(&ended[0]),
        ["TasksDone", "ObjectsDeleted", "ObjectsNotFound"]
    );
    assert_eq!(ended[0]["task_id"], id);
    assert_eq!(metrics(&ended[2]), ["TasksFailed", "ObjectsFailed"]);
    assert_eq!(
        metrics(&ended[4]),
        ["ObjectsDeleted", "ObjectsNotFound"],
        "a chunk"
    );
    for uncounted in [1, 3, 5, 6, 7, 8, 9] {
        assert_eq!(metrics(&ended[uncounted]), [""; 0], "{ended:?}");
    }
}

#[tokio::test]
async fn every_sweep_has_one_line() {
    let an_hour_ago = Clock::System.now() - chrono::TimeDelta::hours(1);
    let past = Clock::Manual(shared::clock::ManualClock::at(an_hour_ago));
    let running = services_with(past).await;
    let body = run_body("embed-456", &longest_id(), &["obj-1"]);
    let path = "/internal/deletion-tasks/run";
    let kind = Some("application/json");
    let call = tests::http::send(running.api, "POST", path, kind, body.to_string());
    response_of(call).await.ok();
    let mut sweeper = start("task-sweeper", &running, &[]).await;
    sweeper.invoke(&event("task-sweeper")).await.unwrap();
    let lines = lines_of(sweeper).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(
        metrics(&lines[0]),
        ["OldestPendingTaskAge", "SweeperResends", "TasksDone"]
    );
    assert_eq!(lines[0]["SweeperResends"], 1);
    assert!((3600..3700).contains(&lines[0]["OldestPendingTaskAge"].as_u64().unwrap()));

    let unreachable = [("AWS_ENDPOINT_URL_DYNAMODB", NOBODY.to_owned())];
    let mut sweeper = start("task-sweeper", &running, &unreachable).await;
    sweeper.invoke(&event("task-sweeper")).await.unwrap_err();
    let lines = lines_of(sweeper).await;
    let swept: Vec<_> = lines
        .iter()
        .filter(|line| line["outcome"] == "swept")
        .collect();
    assert_eq!(swept.len(), 1, "{lines:?}");
    assert_eq!(swept[0]["level"], "WARN");
    assert_eq!(metrics(swept[0]), ["SweeperResends", "TasksDone"]);
}
