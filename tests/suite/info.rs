//! What a task looks like, and what `/info` says about its objects.

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use std::sync::Arc;
use tests::wire::{
    FAILING, THROTTLING,
    call::{CHECK, DELETE, GET_TASK},
};
use tests::{Begun, DEMO_INDEX, Service, Size, example, ids, run_body};

const NOT_FOUND: &str = "Object not found in index";

/// Items as `/info` shows them.
fn items(of: &[(&str, &str)]) -> Value {
    of.iter()
        .map(|(id, outcome)| {
            let detail = (*outcome == "failed").then_some(NOT_FOUND);
            json!({"object_id": id, "outcome": outcome, "detail": detail})
        })
        .collect()
}

#[tokio::test]
async fn the_published_fields_come_first_and_in_their_order_in_every_response() {
    let service = Service::start().await;
    let created = service.run(&example()).await;
    let replayed = service.run(&example()).await;
    let canceled = service.cancel("task_id=delete-xyz").await;
    let restarted = service.restart("task_id=delete-xyz").await;
    service.work().await;
    let shown = service.info("task_id=delete-xyz&outcome=all").await;
    let listed = service.list("").await;
    for reply in [created, replayed, canceled, restarted, shown, listed] {
        let text = reply
            .text
            .strip_prefix(r#"{"tasks":["#)
            .unwrap_or(&reply.text);
        let fields = [
            "id",
            "embedding_model_id",
            "status",
            "created_at",
            "updated_at",
            "failed_item_ids",
            "detail",
            "attempt",
            "progress",
        ];
        // The detail of a failed item comes before the task's own.
        let (before, after) = text.split_once(']').unwrap();
        let text = format!("{}]{after}", before.split_once('[').unwrap().0);
        assert!(text.starts_with(r#"{"id":"delete-xyz","#), "{text}");
        let places: Vec<_> = fields
            .iter()
            .map(|name| text.find(&format!(r#""{name}":"#)))
            .collect();
        assert!(places.iter().all(Option::is_some), "{text}");
        assert!(places.is_sorted(), "{text}");
        reply.ok();
    }
}

#[tokio::test]
async fn every_field_has_its_type_in_every_status() {
    let service = Arc::new(Service::start().await);
    let bodies = [
        run_body(DEMO_INDEX, "done", &["obj-3", "missing"]),
        run_body("no-such-index", "failed", &["obj-4"]),
        run_body(DEMO_INDEX, "canceled", &["obj-5"]),
        run_body(DEMO_INDEX, "pending", &["obj-6"]),
    ];
    for body in &bodies[..2] {
        service.run(body).await.ok();
    }
    service.work().await;
    for body in &bodies[2..] {
        service.run(body).await.ok();
    }
    service.cancel("task_id=canceled").await.ok();
    for status in ["done", "failed", "canceled", "pending"] {
        let task = service.task(status).await;
        assert_eq!(task["status"], status);
        let failed = task["failed_item_ids"].as_array().unwrap();
        for item in failed {
            assert_eq!(item.as_object().unwrap().len(), 2, "{item}");
            assert!(
                item["object_id"].is_string() && item["detail"].is_string(),
                "{item}"
            );
        }
        for name in [
            "id",
            "embedding_model_id",
            "status",
            "created_at",
            "updated_at",
        ] {
            assert!(task[name].is_string(), "{name}: {task}");
        }
        assert_eq!(task["detail"].is_string(), status == "failed", "{task}");
        assert_eq!(task["detail"].is_null(), status != "failed", "{task}");
        assert!(task["attempt"].is_u64(), "{task}");
        let progress = task["progress"].as_object().unwrap();
        let sum = ["deleted", "failed", "remaining"].map(|name| progress[name].as_u64().unwrap());
        assert_eq!(progress["total"], sum.iter().sum::<u64>(), "{task}");
        assert_eq!(failed.len() as u64, sum[1], "{task}");
        assert_eq!(
            (task.as_object().unwrap().len(), progress.len()),
            (12, 4),
            "{task}"
        );
    }
}

#[tokio::test]
async fn times_are_utc_in_whole_seconds() {
    let service = Service::start().await;
    service.pass(TimeDelta::milliseconds(1999));
    let created = service.run(&example()).await.ok();
    assert_eq!(created["created_at"], "2024-05-21T12:00:01Z");
    assert_eq!(created["updated_at"], "2024-05-21T12:00:01Z");
    service.pass(TimeDelta::milliseconds(3500));
    let canceled = service.cancel("task_id=delete-xyz").await.ok();
    assert_eq!(canceled["created_at"], "2024-05-21T12:00:01Z");
    assert_eq!(canceled["updated_at"], "2024-05-21T12:00:05Z");
    let task = service.task("delete-xyz").await;
    assert_eq!(task, canceled, "what is stored is what was shown");
    let time = DateTime::parse_from_rfc3339(task["updated_at"].as_str().unwrap()).unwrap();
    assert_eq!(time.timestamp(), service.now().timestamp());
}

/// Moves the clock to this many seconds after noon. The tests begin at noon.
fn at(service: &Service, seconds: i64) {
    let now = service.now().timestamp() - noon();
    service.pass(TimeDelta::seconds(seconds - now));
}

/// The task's status, and how many seconds after noon it was updated.
async fn updated(service: &Service, id: &str) -> (String, i64) {
    let task = service.task(id).await;
    let time = DateTime::parse_from_rfc3339(task["updated_at"].as_str().unwrap()).unwrap();
    let status = task["status"].as_str().unwrap().to_owned();
    (status, time.timestamp() - noon())
}

fn noon() -> i64 {
    let noon = DateTime::parse_from_rfc3339("2024-05-21T12:00:00Z").unwrap();
    noon.timestamp()
}

#[tokio::test]
async fn a_task_was_updated_when_its_caller_last_saw_it_change() {
    for size in Size::BOTH {
        let is_large = size == Size::Large;
        let begun = Begun::create(size).await;
        let service = &begun.service;
        let expect = async |status: &str, seconds| {
            let expected = (status.to_owned(), seconds);
            assert_eq!(updated(service, "t").await, expected, "{size:?}");
        };
        expect("pending", 0).await;
        at(service, 10);
        begun.fan_out(1).await;
        // A small task is claimed at 30 seconds. Until then it stays as it was created.
        let begin = if is_large {
            ("processing", 10)
        } else {
            ("pending", 0)
        };
        expect(begin.0, begin.1).await;

        // Work that is deferred changes nothing that a caller sees.
        at(service, 20);
        service.wire.next_times(usize::MAX, CHECK, THROTTLING);
        let time = TimeDelta::seconds(4);
        let message = begun.message(1);
        assert_eq!(service.deliver_within(time, &[&message]).await, 0);
        service.wire.heal();
        expect(begin.0, begin.1).await;

        at(service, 30);
        let delete = service.wire.hold(DELETE);
        let work = begun.start(1);
        delete.reached().await;
        expect("processing", if is_large { 10 } else { 30 }).await;
        at(service, 40);
        delete.release();
        work.await.unwrap();
        if is_large {
            expect("processing", 40).await;
            at(service, 50);
            begun.carry_out_rest(1).await;
        }
        expect("done", if is_large { 50 } else { 40 }).await;
        at(service, 60);
        service.restart("task_id=t").await.ok();
        expect("pending", 60).await;
        at(service, 70);
        service.work().await;
        expect("done", 70).await;

        // A task whose index does not exist.
        let nowhere = run_body("nowhere", "lost", &ids("o", size.objects()));
        service.run(&nowhere).await.ok();
        at(service, 80);
        service.work().await;
        let failed = ("failed".to_owned(), 80);
        assert_eq!(updated(service, "lost").await, failed);
    }
}

#[tokio::test]
async fn a_pending_task_shows_all_its_objects_as_remaining_in_request_order() {
    let service = Service::start().await;
    let objects = ["z", "a", "m", "a", "B", "🗑️", "z"];
    service.run(&run_body(DEMO_INDEX, "t", &objects)).await.ok();
    let remaining = items(&["z", "a", "m", "B", "🗑️"].map(|id| (id, "remaining")));
    for (outcome, expected) in [
        ("all", &remaining),
        ("remaining", &remaining),
        ("deleted", &json!([])),
        ("failed", &json!([])),
    ] {
        let task = service
            .info(&format!("task_id=t&outcome={outcome}"))
            .await
            .ok();
        assert_eq!(&task["items"], expected, "{outcome}");
        assert_eq!(task.get("items_cursor"), Some(&Value::Null), "{outcome}");
        let progress = json!({"total": 5, "deleted": 0, "failed": 0, "remaining": 5});
        assert_eq!(task["progress"], progress);
    }
}

#[tokio::test]
async fn each_outcome_filter_shows_just_its_objects_in_request_order() {
    let service = Arc::new(Service::start().await);
    let objects = [
        "stuck-2", "obj-9", "absent-2", "obj-3", "stuck-1", "absent-1",
    ];
    service.run(&run_body(DEMO_INDEX, "t", &objects)).await.ok();
    service.work().await; // deletes what exists
    service.insert(DEMO_INDEX, &["stuck-1", "stuck-2"]).await;
    service.restart("task_id=t").await.ok();
    service.wire.next(DELETE, FAILING);
    let first_read = service.wire.hold_response(GET_TASK);
    let work = service.start_work();
    first_read.reached().await;
    let second_read = service.wire.hold(GET_TASK);
    first_read.release();
    second_read.reached().await; // before the refused delete is tried again
    service.cancel("task_id=t").await.ok();
    second_read.release();
    work.await.unwrap();

    let all = [
        ("stuck-2", "remaining"),
        ("obj-9", "deleted"),
        ("absent-2", "failed"),
        ("obj-3", "deleted"),
        ("stuck-1", "remaining"),
        ("absent-1", "failed"),
    ];
    for outcome in ["all", "deleted", "failed", "remaining"] {
        let task = service
            .info(&format!("task_id=t&outcome={outcome}"))
            .await
            .ok();
        let wanted: Vec<_> = all
            .into_iter()
            .filter(|(_, is)| outcome == "all" || *is == outcome)
            .collect();
        assert_eq!(task["items"], items(&wanted), "{outcome}");
        assert_eq!(task.get("items_cursor"), Some(&Value::Null), "{outcome}");
    }
    let failed = ["absent-2", "absent-1"].map(|id| json!({"object_id": id, "detail": NOT_FOUND}));
    assert_eq!(service.task("t").await["failed_item_ids"], json!(failed));
}

#[tokio::test]
async fn objects_are_shown_only_when_they_are_asked_for() {
    let service = Service::start().await;
    let created = service.run(&example()).await.ok();
    let replayed = service.run(&example()).await.ok();
    let listed = service.list("").await.ok()["tasks"][0].take();
    let shown = service.task("delete-xyz").await;
    let canceled = service.cancel("task_id=delete-xyz").await.ok();
    let restarted = service.restart("task_id=delete-xyz").await.ok();
    for task in [created, replayed, listed, shown, canceled, restarted] {
        assert_eq!(task.get("items"), None, "{task}");
        assert_eq!(task.get("items_cursor"), None, "{task}");
    }
}

/// Fails the test unless every call except `/run` treats the task `t` as absent.
async fn assert_absent(service: &Service, status: &str) {
    for reply in [
        service.info("task_id=t").await,
        service.info("task_id=t&outcome=all").await,
        service.cancel("task_id=t").await,
        service.cancel("task_id=t&attempt=1").await,
        service.cancel("task_id=t&attempt=2").await,
        service.restart("task_id=t").await,
        service.restart("task_id=t&attempt=2").await,
        service.restart("task_id=t&scope=all").await,
    ] {
        let detail = &reply.problem(404)["detail"];
        assert_eq!(detail, "Task with ID `t` not found", "{status}");
    }
    for query in ["".into(), format!("status={status}")] {
        let page = service.list(&query).await.ok();
        assert_eq!(page, json!({"tasks": [], "next_cursor": null}), "{status}");
    }
}

#[tokio::test]
async fn an_expired_task_is_absent_to_every_call_and_its_id_is_free() {
    for size in Size::BOTH {
        for status in ["pending", "done", "canceled"] {
            let begun = Begun::create(size).await;
            let service = &begun.service;
            let expires_at = service.now() + TimeDelta::days(90);
            match status {
                "done" => {
                    begun.fan_out(1).await;
                    begun.deliver(1).await;
                    begun.carry_out_rest(1).await;
                }
                "canceled" => drop(service.cancel("task_id=t").await.ok()),
                _ => {}
            }
            let stored = service.stored_items().await;
            service.pass(TimeDelta::days(90) - TimeDelta::seconds(1));
            assert_eq!(begun.task().await["status"], status, "{size:?}");
            for time in [TimeDelta::seconds(1), TimeDelta::days(1)] {
                service.pass(time);
                assert_absent(service, status).await;
                assert_eq!(service.sweep().await, 0, "{size:?} {status}");
                service.wire.calls();
                service.deliver(&[&begun.whole(1), &begun.message(1)]).await;
                assert_eq!(service.wire.calls(), [GET_TASK], "{size:?} {status}");
            }
            let left = service.stored_items().await;
            assert_eq!(left, stored, "Time to Live has not removed them");
            // The items of chunks stay a week longer, so that a reader that has the task still
            // finds them.
            let mut expiries = service.stored_numbers("expires_at").await;
            expiries.sort_unstable();
            let (first, chunks) = expiries.split_first().unwrap();
            assert_eq!(*first, expires_at.timestamp(), "{size:?} {status}");
            let week_later = expires_at + TimeDelta::days(7);
            assert_eq!(chunks, vec![week_later.timestamp(); stored - 1]);

            // The new task does not read what the old one left.
            let body = run_body("index", "t", &ids("new", size.objects()));
            let created = service.run(&body).await;
            assert_eq!(created.header("idempotent-replayed"), None, "{status}");
            let created = created.ok();
            assert_eq!(
                (&created["status"], &created["attempt"]),
                (&json!("pending"), &json!(1))
            );
            assert_eq!(begun.task().await, created, "{size:?} {status}");
            let remaining = service.outcomes_of("t", "remaining").await.len();
            assert_eq!(remaining, size.objects(), "{size:?} {status}");
        }
    }
}

#[tokio::test]
async fn a_task_that_has_not_ended_says_when_to_ask_again() {
    let service = Service::start().await;
    let body = run_body(DEMO_INDEX, "t", &["obj-1"]);
    service.run(&body).await.ok();
    for (age, seconds) in [(0, "1"), (10, "1"), (11, "2"), (200, "20"), (9_000, "30")] {
        let since = service.task("t").await["created_at"].clone();
        let since = chrono::DateTime::parse_from_rfc3339(since.as_str().unwrap()).unwrap();
        let passed = service.now() - since.to_utc();
        service.clock.advance(TimeDelta::seconds(age) - passed);
        let shown = service.info("task_id=t").await;
        assert_eq!(shown.header("retry-after"), Some(seconds), "{age} s");
    }
    service.work().await;
    let shown = service.info("task_id=t").await;
    assert_eq!(shown.json["status"], "done");
    assert_eq!(shown.header("retry-after"), None);
}
