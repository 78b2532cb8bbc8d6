//! Concurrent tasks: work on one index does not delay the work on another.

use chrono::TimeDelta;
use local::{Options, Running};
use serde_json::{Value, json};
use shared::task::ChunkLimits;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::wire::call::{CHECK, DELETE, GET_TASK, SEND, SEND_BATCH, WRITE_TASK};
use tests::wire::{body_of, intercept, name_of};
use tests::{DEMO_INDEX, Service, http, ids, run_body, seed};

async fn call(running: &Running, method: &str, path: &str, body: Option<&Value>) -> Value {
    let path = format!("/internal/deletion-tasks/{path}");
    let body = body.map(Value::to_string).unwrap_or_default();
    http::send(running.api, method, &path, Some("application/json"), body)
        .await
        .ok()
}

/// Waits until a task shows what is expected.
async fn until(running: &Running, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let path = format!("info?task_id={id}");
    let shown = async {
        loop {
            let task = call(running, "GET", &path, None).await;
            if holds(&task) {
                return task;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let shown = tokio::time::timeout(Duration::from_secs(60), shown).await;
    shown.unwrap_or_else(|_| panic!("{id} never came so far"))
}

fn remaining(task: &Value) -> u64 {
    task["progress"]["remaining"].as_u64().unwrap()
}

#[tokio::test]
async fn a_task_of_one_object_does_not_wait_for_sixty_thousand_of_another_index() {
    // The runner as `cargo run` starts it. Its worker waits for turns at the large index.
    let running = local::start(Options::default()).await.unwrap();
    let many = ids("object", 60_000);
    seed::index(&running.clients.s3vectors, "large", &many).await;
    call(
        &running,
        "POST",
        "run",
        Some(&run_body("large", "many", &many)),
    )
    .await;
    until(&running, "many", |task| remaining(task) < 60_000).await;

    let one = run_body(DEMO_INDEX, "one", &["obj-1"]);
    call(&running, "POST", "run", Some(&one)).await;
    until(&running, "one", |task| task["status"] == "done").await;
    // At 2,500 objects a second the objects of the large task take 24 seconds.
    let path = "info?task_id=many";
    let many = call(&running, "GET", path, None).await;
    assert!(remaining(&many) > 40_000, "{many}");
    running.shutdown().await;
}

/// Ten tasks of one object each, whose messages are on the queue.
async fn ten_tasks() -> Arc<Service> {
    let service = Arc::new(Service::start().await);
    for number in 0..10 {
        let object = format!("obj-{}", 3 + number);
        let body = run_body(DEMO_INDEX, &format!("task-{number}"), &[object]);
        service.run(&body).await.ok();
    }
    service
}

async fn done(service: &Service) -> usize {
    let list = service.list("status=done").await.ok();
    list["tasks"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn messages_that_wait_keep_no_other_of_their_batch_from_being_carried_out() {
    let service = ten_tasks().await;
    let held = service.wire.hold_times(9, GET_TASK);
    let work = service.start_work();
    let is_done = async || done(&service).await == 1;
    service.until("the tenth is carried out", is_done).await;
    for _ in 0..9 {
        held.release();
    }
    work.await.unwrap();
    assert_eq!(done(&service).await, 10);
}

#[tokio::test]
async fn a_process_makes_five_calls_to_vector_stores_at_once() {
    let service = ten_tasks().await;
    let held = service.wire.hold_times(10, CHECK);
    let work = service.start_work();
    for _ in 0..5 {
        held.reached().await;
    }
    // By the end of this time all tasks are read, and no sixth call is made.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let calls = service.wire.calls();
    let count = |name| calls.iter().filter(|call| *call == name).count();
    assert_eq!((count(GET_TASK), count(CHECK)), (10, 5));
    for _ in 0..10 {
        held.release();
    }
    work.await.unwrap();
    assert_eq!(done(&service).await, 10);
}

#[tokio::test]
async fn a_task_that_is_canceled_while_it_waits_for_a_call_of_another_is_not_deleted_from() {
    let service = ten_tasks().await;
    let message =
        |number: u32| json!({"task_id": format!("task-{number}"), "attempt": 1}).to_string();
    let claimed = service.wire.hold_response(WRITE_TASK);
    let waiting = service.start_delivery(&message(0));
    claimed.reached().await;
    let checks = service.wire.hold_times(5, CHECK);
    let others: Vec<_> = (1..=5)
        .map(|number| service.start_delivery(&message(number)))
        .collect();
    for _ in 0..5 {
        checks.reached().await;
    }
    service.wire.calls();
    claimed.release();
    // It has its claim, and waits while the others use all the calls.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(service.wire.calls(), [""; 0]);
    service.pass(TimeDelta::seconds(2));
    service.cancel("task_id=task-0").await.ok();
    for _ in 0..5 {
        checks.release();
    }
    waiting.await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    assert_eq!(service.wire.count(DELETE), 5, "those of the others");
    assert_eq!(service.task("task-0").await["status"], "canceled");
    assert_eq!(service.present(DEMO_INDEX, &["obj-3"]).await, ["obj-3"]);
}

#[tokio::test]
async fn every_message_belongs_to_the_group_of_its_model() {
    let groups = Arc::new(Mutex::new(BTreeMap::<String, Vec<String>>::new()));
    let recorded = Arc::clone(&groups);
    let http_client = intercept(move |request, network| {
        if [SEND, SEND_BATCH].contains(&name_of(&request).as_str()) {
            let body = body_of(&request);
            let one = std::slice::from_ref(&body);
            for message in body["Entries"].as_array().map_or(one, Vec::as_slice) {
                let task: Value =
                    serde_json::from_str(message["MessageBody"].as_str().unwrap()).unwrap();
                let id = task["task_id"].as_str().unwrap().to_owned();
                let group = message["MessageGroupId"].as_str().unwrap().to_owned();
                recorded.lock().unwrap().entry(id).or_default().push(group);
            }
        }
        async move { network.send(request).await }
    });
    let options = Options {
        chunk_limits: ChunkLimits {
            objects: 10,
            ..ChunkLimits::default()
        },
        http_client: Some(http_client),
        ..Options::default()
    };
    let running = local::start(options).await.unwrap();
    for (model, id, objects) in [
        (DEMO_INDEX, "small", 1),
        (DEMO_INDEX, "large", 25),
        ("other", "failing", 1),
    ] {
        let body = run_body(model, id, &ids("object", objects));
        call(&running, "POST", "run", Some(&body)).await;
    }
    for id in ["small", "large", "failing"] {
        until(&running, id, |task| remaining(task) == 0).await;
    }
    running.shutdown().await;
    let groups = groups.lock().unwrap();
    // The large task has a message of its own and one for each chunk.
    let counts: Vec<_> = groups
        .iter()
        .map(|(id, all)| (id.as_str(), all.len()))
        .collect();
    assert_eq!(counts, [("failing", 1), ("large", 4), ("small", 1)]);
    let of_demo = &groups["small"][0];
    assert!(
        groups["large"].iter().all(|group| group == of_demo),
        "{groups:?}"
    );
    assert_ne!(&groups["failing"][0], of_demo);
}
