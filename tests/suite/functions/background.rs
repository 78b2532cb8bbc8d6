//! The functions that no caller waits for: the worker and the sweeper.

use super::{bodies, present, received, response_of, services, services_with};
use chrono::TimeDelta;
use local::NAME;
use serde_json::{Value, json};
use shared::clock::{Clock, ManualClock};
use tests::runtime_api::{Function, event};
use tests::{example, http};

#[tokio::test]
async fn the_worker_sends_what_is_no_message_to_the_dead_letters_and_carries_out_the_rest() {
    let running = services().await;
    let mut create = Function::start("create-deletion-task", &running).await;
    create.call(&event("create-deletion-task")).await.ok();
    received(&running).await;

    let mut batch = event("deletion-worker");
    let mut record = batch["Records"][0].clone();
    record["body"] = "{\"task\": 1}".into();
    record["messageId"] = "stray".into();
    batch["Records"].as_array_mut().unwrap().insert(0, record);

    let mut worker = Function::start("deletion-worker", &running).await;
    let response = worker.invoke(&batch).await.unwrap();
    assert_eq!(response, json!({"batchItemFailures": []}));

    let dead_letters = &running.dead_letter_queue_url;
    let receive = running.clients.sqs.receive_message();
    let received = response_of(receive.queue_url(dead_letters).send()).await;
    let received = received.unwrap().messages.unwrap_or_default();
    let bodies: Vec<_> = received
        .iter()
        .filter_map(|message| message.body())
        .collect();
    assert_eq!(bodies, ["{\"task\": 1}"]);
    let mut get = Function::start("get-deletion-task", &running).await;
    let task = get.call(&event("get-deletion-task")).await.ok();
    assert_eq!(task["status"], "done");
}

#[tokio::test]
async fn the_worker_drops_a_message_of_no_task_and_one_of_another_attempt() {
    let running = services().await;
    let mut worker = Function::start("deletion-worker", &running).await;
    let nothing_failed = json!({"batchItemFailures": []});
    let no_task = worker.invoke(&event("deletion-worker")).await.unwrap();
    assert_eq!(no_task, nothing_failed);

    let mut create = Function::start("create-deletion-task", &running).await;
    create.call(&event("create-deletion-task")).await.ok();
    let mut other = event("deletion-worker");
    other["Records"][0]["body"] = json!({"task_id": "delete-xyz", "attempt": 7})
        .to_string()
        .into();
    assert_eq!(worker.invoke(&other).await.unwrap(), nothing_failed);
    assert!(present(&running).await.contains("obj-1"));
}

#[tokio::test]
async fn the_sweeper_sends_a_task_again_whose_message_was_lost() {
    // The task was created an hour ago. Nobody ever received its message.
    let an_hour_ago = Clock::System.now() - TimeDelta::hours(1);
    let running = services_with(Clock::Manual(ManualClock::at(an_hour_ago))).await;
    let path = "/internal/deletion-tasks/run";
    let kind = Some("application/json");
    let call = http::send(running.api, "POST", path, kind, example().to_string());
    response_of(call).await.ok();
    assert_eq!(bodies(&running).await.len(), 1);

    let mut sweeper = Function::start("task-sweeper", &running).await;
    sweeper.invoke(&event("task-sweeper")).await.unwrap();
    let sent = json!({"task_id": "delete-xyz", "attempt": 1});
    assert_eq!(bodies(&running).await, [sent]);

    // The task is not due again before the worker has had time.
    sweeper.invoke(&event("task-sweeper")).await.unwrap();
    assert_eq!(bodies(&running).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_sweep_whose_calls_fail_is_reported_as_failed() {
    let running = services().await;
    let mut sweeper = Function::start("task-sweeper", &running).await;
    sweeper.invoke(&event("task-sweeper")).await.unwrap();
    let table = running.clients.dynamodb.delete_table();
    response_of(table.table_name(NAME).send()).await.unwrap();
    let error = sweeper.invoke(&event("task-sweeper")).await.unwrap_err();
    let message = error["errorMessage"].as_str().unwrap();
    assert!(
        message.ends_with("calls failed; the next sweep tries again"),
        "{error}"
    );
    assert!(!message.contains("arn:"), "{error}");
}
