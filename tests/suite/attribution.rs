//! `reason`, `created_by` and `changed_by`: why a task exists, and who created and changed it.

use serde_json::{Value, json};
use tests::runtime_api::{Function, event};
use tests::{DEMO_INDEX, Service, run_body};

/// An event of this function, made by a caller with this ARN about the task `delete-xyz`.
fn called_by(function: &str, arn: Option<&str>) -> Value {
    let mut event = event(function);
    event["requestContext"]["identity"]["userArn"] = arn.into();
    event
}

/// Invokes the built function with an event, and returns the task and the log line.
async fn call(service: &Service, function: &str, event: &Value) -> (Value, Value) {
    let mut process = Function::start(function, &service.running).await;
    let task = process.call(event).await.ok();
    let logged = process.end().await.stdout;
    (task, tests::lines::checked(logged.trim_end()))
}

#[tokio::test]
async fn a_task_shows_who_created_it_and_who_changed_it_last() {
    let service = Service::start().await;
    let arn = |name: &str| format!("arn:aws:iam::123456789012:user/{name}");
    let (alice, bob) = (arn("alice"), arn("bob"));

    let mut create = called_by("create-deletion-task", Some(&alice));
    let mut body = run_body(DEMO_INDEX, "delete-xyz", &["obj-1", "obj-2"]);
    body["reason"] = "Ticket 4711".into();
    create["body"] = body.to_string().into();
    let (created, line) = call(&service, "create-deletion-task", &create).await;
    assert_eq!(created["reason"], "Ticket 4711");
    assert_eq!(created["created_by"], *alice);
    assert_eq!(created["changed_by"], Value::Null);
    assert_eq!(line["caller"], *alice);
    assert_eq!(line["request_id"], create["requestContext"]["requestId"]);
    assert!(!line.to_string().contains("Ticket"), "{line}");

    // A repeated create by somebody else changes nothing.
    let mut replay = create.clone();
    replay["requestContext"]["identity"]["userArn"] = bob.as_str().into();
    let (replayed, line) = call(&service, "create-deletion-task", &replay).await;
    assert_eq!(replayed, created);
    assert_eq!(line["caller"], *bob);

    let cancel = called_by("cancel-deletion-task", Some(&bob));
    let (canceled, _) = call(&service, "cancel-deletion-task", &cancel).await;
    assert_eq!(canceled["created_by"], *alice);
    assert_eq!(canceled["changed_by"], *bob);
    // A cancel that changes nothing leaves `changed_by` as it is.
    let again = called_by("cancel-deletion-task", Some(&alice));
    let (again, _) = call(&service, "cancel-deletion-task", &again).await;
    assert_eq!(again["changed_by"], *bob);

    let restart = called_by("restart-deletion-task", Some(&alice));
    let (restarted, _) = call(&service, "restart-deletion-task", &restart).await;
    assert_eq!(restarted["changed_by"], *alice);
    service.work().await;
    let done = service.task("delete-xyz").await;
    let names = ["reason", "created_by", "changed_by"].map(|name| &done[name]);
    assert_eq!(names, [&json!("Ticket 4711"), &json!(alice), &json!(alice)]);
    assert_eq!(done["status"], "done");
}

#[tokio::test]
async fn a_request_without_an_identity_is_nobodys() {
    let service = Service::start().await;
    let create = called_by(
        "create-deletion-task",
        Some("arn:aws:iam::123456789012:root"),
    );
    call(&service, "create-deletion-task", &create).await;
    let cancel = called_by(
        "cancel-deletion-task",
        Some("arn:aws:iam::123456789012:root"),
    );
    call(&service, "cancel-deletion-task", &cancel).await;

    let restart = called_by("restart-deletion-task", None);
    let (restarted, line) = call(&service, "restart-deletion-task", &restart).await;
    assert_eq!(restarted["changed_by"], Value::Null);
    assert!(line.get("caller").is_none(), "{line}");
}

#[tokio::test]
async fn a_reason_is_no_part_of_what_makes_two_requests_the_same() {
    let service = Service::start().await;
    let mut body = run_body(DEMO_INDEX, "t", &["obj-1"]);
    body["reason"] = "the first".into();
    service.run(&body).await.ok();
    body["reason"] = "the second".into();
    let again = service.run(&body).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("idempotent-mismatch"), None);
    assert_eq!(again.ok()["reason"], "the first");
}
