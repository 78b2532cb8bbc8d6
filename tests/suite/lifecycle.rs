//! A task's life, as a caller sees it: every call in every status.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::wire::{
    Fault,
    call::{DELETE, WRITE_TASK},
};
use tests::{Begun, DEMO_INDEX, Service, Size, example, run_body};

/// Brings a task into a status. Returns its id.
async fn task_in(service: &Service, status: &str) -> String {
    let id = format!("a-{status}-task");
    let (model, objects) = match status {
        "failed" => ("no-such-index", ["obj-5", "obj-6"]),
        _ => (DEMO_INDEX, ["obj-5", "missing"]),
    };
    service.run(&run_body(model, &id, &objects)).await.ok();
    match status {
        "pending" => {}
        "processing" => {
            // Its claim is made, and its worker is gone.
            let unsettled = Fault::Refused(400, "ThrottlingException");
            let claim = service.wire.hold(WRITE_TASK);
            let worker = service.work_once();
            let meanwhile = async {
                claim.reached().await;
                service.wire.next_times(3, WRITE_TASK, unsettled);
                claim.release();
            };
            tokio::join!(worker, meanwhile);
        }
        "canceled" => {
            service.cancel(&format!("task_id={id}")).await.ok();
        }
        _ => service.work().await,
    }
    assert_eq!(service.task(&id).await["status"], status);
    service.lose_messages().await;
    id
}

fn of(task: &Value) -> (String, u64) {
    let status = task["status"].as_str().unwrap_or_default();
    (
        status.to_owned(),
        task["attempt"].as_u64().unwrap_or_default(),
    )
}

#[tokio::test]
async fn the_documented_example_gives_the_documented_response() {
    let service = Service::start().await;
    let created = service.run(&example()).await.ok();
    assert_eq!(created["status"], "pending");
    service.work().await;
    let expected = json!({
        "id": "delete-xyz",
        "embedding_model_id": "embed-456",
        "status": "done",
        "created_at": "2024-05-21T12:00:00Z",
        "updated_at": "2024-05-21T12:00:00Z",
        "failed_item_ids": [{"object_id": "obj-2", "detail": "Object not found in index"}],
        "detail": null,
        "attempt": 1,
        "progress": {"total": 2, "deleted": 1, "failed": 1, "remaining": 0},
        "reason": null,
        "created_by": null,
        "changed_by": null,
    });
    assert_eq!(service.task("delete-xyz").await, expected);
    assert_eq!(
        service.present(DEMO_INDEX, &["obj-1", "obj-3"]).await,
        ["obj-3"]
    );
}

#[tokio::test]
async fn a_cancel_stops_what_is_open_and_is_refused_by_what_has_ended() {
    for (status, response) in [
        ("pending", 200),
        ("processing", 200),
        ("done", 409),
        ("failed", 409),
        ("canceled", 200),
    ] {
        let service = Service::start().await;
        let id = task_in(&service, status).await;
        let before = service.task(&id).await;
        let reply = service.cancel(&format!("task_id={id}")).await;
        match response {
            200 => assert_eq!(of(&reply.ok()), ("canceled".into(), 1), "{status}"),
            _ => {
                let detail = reply.problem(409)["detail"].to_string();
                assert!(detail.contains(&format!("already {status}")), "{detail}");
                assert_eq!(service.task(&id).await, before);
            }
        }
        assert_eq!(
            service.lose_messages().await,
            0,
            "{status}: a cancel sends nothing"
        );
    }
}

#[tokio::test]
async fn a_restart_starts_what_has_ended_and_leaves_what_is_at_work() {
    for (status, after, attempt, messages) in [
        ("pending", "pending", 1, 1),
        ("processing", "processing", 1, 0),
        ("done", "pending", 2, 1),
        ("failed", "pending", 2, 1),
        ("canceled", "pending", 2, 1),
    ] {
        let service = Service::start().await;
        let id = task_in(&service, status).await;
        let task = service.restart(&format!("task_id={id}")).await.ok();
        assert_eq!(of(&task), (after.into(), attempt), "{status}");
        assert_eq!(service.task(&id).await, task, "{status}");
        assert_eq!(service.lose_messages().await, messages, "{status}");
        if attempt == 2 {
            assert_eq!(
                (&task["failed_item_ids"], &task["detail"]),
                (&json!([]), &Value::Null)
            );
            assert_eq!(task["progress"]["failed"], 0, "{status}");
        }
    }
}

#[tokio::test]
async fn a_restart_of_everything_is_refused_by_what_is_at_work() {
    for (status, response) in [
        ("pending", 409),
        ("processing", 409),
        ("done", 200),
        ("failed", 200),
        ("canceled", 200),
    ] {
        let service = Service::start().await;
        let id = task_in(&service, status).await;
        let reply = service.restart(&format!("task_id={id}&scope=all")).await;
        match response {
            200 => assert_eq!(reply.ok()["progress"]["remaining"], 2, "{status}"),
            _ => {
                let detail = reply.problem(409)["detail"].to_string();
                assert!(detail.contains(status), "{detail}");
            }
        }
    }
}

#[tokio::test]
async fn a_restart_keeps_what_was_deleted_and_tries_only_the_rest() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        begun.deliver(1).await;
        begun.carry_out_rest(1).await;
        service.insert("index", &["o-0", "o-1"]).await;
        let restarted = service.restart("task_id=t").await.ok();
        assert_eq!(of(&restarted), ("pending".into(), 2), "{size:?}");
        let half = size.objects() / 2;
        let progress = json!({"total": 2 * half, "deleted": half, "failed": 0, "remaining": half});
        assert_eq!(restarted["progress"], progress, "{size:?}");
        service.wire.calls();
        service.work().await;
        assert_eq!(service.wire.count(DELETE), 1, "{size:?}");
        let task = begun.task().await;
        assert_eq!(of(&task), ("done".into(), 2), "{size:?}");
        assert_eq!(task["progress"]["deleted"], half + 1, "{size:?}");
        assert_eq!(task["progress"]["failed"], half - 1, "{size:?}");
        let left = service.present("index", &["o-0", "o-1"]).await;
        assert_eq!(left, ["o-0"], "inserted after this task deleted it");
    }
}

#[tokio::test]
async fn a_restart_of_everything_tries_what_was_deleted_too() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        begun.deliver(1).await;
        begun.carry_out_rest(1).await;
        service.insert("index", &["o-0", "o-1"]).await;
        let restarted = service.restart("task_id=t&scope=all").await.ok();
        let total = size.objects();
        let progress = json!({"total": total, "deleted": 0, "failed": 0, "remaining": total});
        assert_eq!(restarted["progress"], progress, "{size:?}");
        service.work().await;
        let task = begun.task().await;
        assert_eq!(of(&task), ("done".into(), 2), "{size:?}");
        assert_eq!(task["progress"]["deleted"], 2, "{size:?}");
        assert_eq!(task["progress"]["failed"], total - 2, "{size:?}");
        let left = service.present("index", &["o-0", "o-1"]).await;
        assert!(left.is_empty(), "{size:?}: {left:?}");
    }
}

#[tokio::test]
async fn a_named_attempt_that_has_passed_is_a_conflict_and_changes_nothing() {
    for status in ["pending", "processing", "done", "failed", "canceled"] {
        let service = Service::start().await;
        let id = task_in(&service, status).await;
        let before = service.task(&id).await;
        for attempt in [2, 7, u32::MAX] {
            let query = format!("task_id={id}&attempt={attempt}");
            let detail = service.cancel(&query).await.problem(409)["detail"].to_string();
            assert!(detail.contains("attempt 1"), "{detail}");
            service.restart(&query).await.problem(409);
        }
        assert_eq!(service.task(&id).await, before, "{status}");
    }
    let service = Service::start().await;
    let id = task_in(&service, "canceled").await;
    let query = format!("task_id={id}&attempt=1");
    assert_eq!(
        of(&service.restart(&query).await.ok()),
        ("pending".into(), 2)
    );
    service.restart(&query).await.problem(409); // the same call once more
    assert_eq!(service.task(&id).await["attempt"], 2);
}

#[tokio::test]
async fn in_its_last_day_a_task_cannot_be_restarted_and_after_it_it_is_gone() {
    let service = Service::start_with(vec![("RETENTION_DAYS", "10")]).await;
    let id = task_in(&service, "done").await;
    let query = format!("task_id={id}");
    service.pass(TimeDelta::days(9) - TimeDelta::seconds(1));
    service.restart(&query).await.ok();
    service.cancel(&query).await.ok();
    service.pass(TimeDelta::seconds(1));
    let detail = service.restart(&query).await.problem(409)["detail"].to_string();
    assert!(detail.contains("2024-05-31T12:00:00Z"), "{detail}");
    service.pass(TimeDelta::days(1) - TimeDelta::seconds(1));
    assert_eq!(service.task(&id).await["status"], "canceled");
    service.pass(TimeDelta::seconds(1));
    let detail = format!("Task with ID `{id}` not found");
    for reply in [
        service.info(&query).await,
        service.restart(&query).await,
        service.cancel(&query).await,
    ] {
        assert_eq!(reply.problem(404)["detail"], detail.as_str());
    }
}
