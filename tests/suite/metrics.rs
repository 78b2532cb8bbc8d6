//! The metrics: each event is counted once, by the call that did it.

use chrono::TimeDelta;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tests::lines::{Lines, metrics};
use tests::wire::{
    FAILING, Fault, THROTTLING,
    call::{CHECK, DELETE, PUT_TASK, QUERY, READ_CHUNKS, WRITE_TASK},
};
use tests::{Service, example, ids, run_body};

const MESSAGE: &str = r#"{"task_id":"delete-xyz","attempt":1}"#;

fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let counts = counts.iter();
    counts
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

/// The metrics of the README's first example.
fn of_the_example() -> BTreeMap<String, u64> {
    counts(&[
        ("TasksCreated", 1),
        ("TasksDone", 1),
        ("ObjectsDeleted", 1),
        ("ObjectsNotFound", 1),
    ])
}

#[tokio::test]
async fn a_repeated_create_and_a_repeated_message_count_nothing_more() {
    let lines = Lines::capture();
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.run(&example()).await.ok();
    service
        .run(&run_body("other", "delete-xyz", &["obj-9"]))
        .await
        .ok();
    assert_eq!(service.deliver(&[MESSAGE]).await, 0);
    service.work().await;
    service.run(&example()).await.ok();
    assert_eq!(lines.counted(), of_the_example());
}

#[tokio::test]
async fn a_write_sent_again_after_its_response_was_lost_counts_once() {
    for (call, before) in [(PUT_TASK, 0), (WRITE_TASK, 0), (WRITE_TASK, 1)] {
        let lines = Lines::capture();
        let service = Service::start().await;
        let responded = service.wire.hold_times(before, call);
        for _ in 0..before {
            responded.release();
        }
        service.wire.next(call, Fault::ResponseLost);
        service.run(&example()).await.ok();
        service.work().await;
        service.assert_documented_outcome(call).await;
        assert_eq!(lines.counted(), of_the_example(), "{call} after {before}");
    }
}

#[tokio::test]
async fn a_stale_settlement_counts_nothing() {
    let lines = Lines::capture();
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    let deleted = service.wire.hold_response(DELETE);
    let work = service.start_work();
    deleted.reached().await;
    let settle = service.wire.hold(WRITE_TASK);
    deleted.release();
    settle.reached().await; // it has deleted and is held before it settles
    service.pass(TimeDelta::seconds(41));
    assert_eq!(service.sweep().await, 1);
    service.work().await;
    settle.release();
    work.await.unwrap();
    let mut counted = lines.counted();
    assert_eq!(counted.remove("SweeperResends"), Some(1));
    counted.remove("OldestPendingTaskAge");
    assert_eq!(counted, of_the_example());
}

#[tokio::test]
async fn tasks_over_the_same_objects_each_count_those_that_they_saw() {
    let lines = Lines::capture();
    let service = Arc::new(Service::start().await);
    let objects = ["obj-1", "obj-2", "obj-3"];
    for task in ["one", "other"] {
        let body = run_body("embed-456", task, &objects);
        service.run(&body).await.ok();
    }
    // Both have seen the objects before either deletes them.
    let delete = service.wire.hold_times(2, DELETE);
    let work = service.start_work();
    for _ in 0..2 {
        delete.reached().await;
    }
    for _ in 0..2 {
        delete.release();
    }
    work.await.unwrap();
    let body = run_body("embed-456", "late", &objects);
    service.run(&body).await.ok();
    service.work().await;
    let absent = |id: &str| json!({"object_id": id, "detail": "Object not found in index"});
    for (task, deleted, failed) in [
        ("one", 2, json!([absent("obj-2")])),
        ("other", 2, json!([absent("obj-2")])),
        ("late", 0, json!(objects.map(absent))),
    ] {
        let task = service.info(&format!("task_id={task}")).await.ok();
        assert_eq!(task["status"], "done");
        assert_eq!(task["progress"]["deleted"], deleted, "{task}");
        assert_eq!(task["failed_item_ids"], failed, "{task}");
    }
    // The index had only two objects, but both tasks saw them, so each task counts them as deleted.
    let expected = [
        ("TasksCreated", 3),
        ("TasksDone", 3),
        ("ObjectsDeleted", 4),
        ("ObjectsNotFound", 5),
    ];
    assert_eq!(lines.counted(), counts(&expected));
}

#[tokio::test]
async fn a_cancel_counts_once_in_an_attempt_also_if_its_response_was_lost() {
    let lines = Lines::capture();
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.wire.next(WRITE_TASK, Fault::ResponseLost);
    service.cancel("task_id=delete-xyz").await.ok();
    service.cancel("task_id=delete-xyz").await.ok();
    let canceled = ("TasksCanceled", 1);
    assert_eq!(lines.counted(), counts(&[("TasksCreated", 1), canceled]));
    service.restart("task_id=delete-xyz").await.ok();
    service.cancel("task_id=delete-xyz").await.ok();
    assert_eq!(lines.counted(), counts(&[canceled]));
    service.work().await;
    service.cancel("task_id=absent").await.problem(404);
    assert_eq!(lines.counted(), counts(&[]), "nothing was done");
}

#[tokio::test]
async fn a_cancel_counts_though_its_response_could_not_be_made() {
    let service = Service::start_with_chunks_of(2).await;
    service
        .run(&run_body("big", "large", &ids("o", 3)))
        .await
        .ok();
    service.seed("big", &["o-0"]).await;
    service.work_once().await;
    let chunk = r#"{"task_id":"large","attempt":1,"chunk":0}"#;
    service.deliver(&[chunk]).await;
    let lines = Lines::capture();
    let refused = Fault::Refused(500, "InternalServerError");
    service.wire.next_times(9, READ_CHUNKS, refused);
    service.cancel("task_id=large").await.problem(503);
    assert_eq!(lines.counted(), counts(&[("TasksCanceled", 1)]));
}

#[tokio::test]
async fn a_failed_task_counts_what_it_gave_up_and_its_restart_what_became_of_that() {
    let lines = Lines::capture();
    let service = Service::start().await;
    let body = run_body("new", "t", &["there", "not-there"]);
    service.run(&body).await.ok();
    service.work().await;
    let failed = [
        ("TasksCreated", 1),
        ("TasksFailed", 1),
        ("ObjectsFailed", 2),
    ];
    assert_eq!(lines.counted(), counts(&failed), "there is no such index");
    service.seed("new", &["there"]).await;
    service.restart("task_id=t").await.ok();
    service.work().await;
    let done = [
        ("TasksDone", 1),
        ("ObjectsDeleted", 1),
        ("ObjectsNotFound", 1),
    ];
    assert_eq!(lines.counted(), counts(&done));
}

#[tokio::test]
async fn the_chunks_of_a_large_task_count_their_objects_and_the_last_of_them_the_task() {
    let lines = Lines::capture();
    let service = Service::start_with_chunks_of(2).await;
    let objects = ids("o", 7);
    service.seed("big", &objects[..5]).await;
    service.run(&run_body("big", "large", &objects)).await.ok();
    service.work().await;
    let counted = [
        ("TasksCreated", 1),
        ("TasksDone", 1),
        ("ObjectsDeleted", 5),
        ("ObjectsNotFound", 2),
    ];
    assert_eq!(lines.counted(), counts(&counted));
}

#[tokio::test]
async fn a_large_task_that_a_fan_out_ends_counts_too() {
    let service = Service::start_with_chunks_of(2).await;
    let objects = ids("o", 3);
    service.seed("big", &objects).await;
    service.run(&run_body("big", "large", &objects)).await.ok();
    service.work().await;
    service.restart("task_id=large").await.ok();
    let lines = Lines::capture();
    service.work().await;
    assert_eq!(lines.counted(), counts(&[("TasksDone", 1)]));
}

#[tokio::test]
async fn a_messages_line_says_what_went_wrong_in_the_stores_words_for_it_and_no_others() {
    for (call, fault, cause) in [
        (CHECK, FAILING, "Temporary: ServiceUnavailableException"),
        (DELETE, THROTTLING, "Throttled: TooManyRequestsException"),
    ] {
        let service = Service::start().await;
        service.run(&example()).await.ok();
        service.wire.next_times(usize::MAX, call, fault);
        let lines = Lines::capture();
        service.work_once_within(TimeDelta::seconds(4)).await;
        let line = lines.take().pop().unwrap();
        assert_eq!(line["cause"], cause);
        assert_eq!(line["level"], "WARN");
    }
}

/// The one line of a sweep.
async fn sweep(service: &Service, lines: &Lines) -> Value {
    lines.take();
    service.sweep().await;
    let mut written = lines.take();
    assert_eq!(written.len(), 1, "{written:?}");
    written.remove(0)
}

#[tokio::test]
async fn a_sweep_tells_how_long_the_oldest_pending_task_has_been_pending() {
    let lines = Lines::capture();
    let service = Service::start().await;
    let idle = sweep(&service, &lines).await;
    assert_eq!(
        metrics(&idle),
        ["OldestPendingTaskAge", "SweeperResends", "TasksDone"]
    );
    assert_eq!(idle["TasksDone"], 0);
    assert_eq!(
        idle["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"],
        "Seconds"
    );
    assert_eq!(
        (&idle["OldestPendingTaskAge"], &idle["SweeperResends"]),
        (&0.into(), &0.into())
    );

    service.run(&example()).await.ok();
    service.work().await;
    service.pass(TimeDelta::seconds(1000));
    assert_eq!(
        sweep(&service, &lines).await["OldestPendingTaskAge"],
        0,
        "it is done"
    );
    service.run(&run_body("m", "second", &["a"])).await.ok();
    service.lose_messages().await;
    service.pass(TimeDelta::seconds(90));
    service.restart("task_id=delete-xyz").await.ok();
    let late = sweep(&service, &lines).await;
    assert_eq!(
        late["OldestPendingTaskAge"], 90,
        "a restarted task begins anew"
    );
    assert_eq!(late["SweeperResends"], 1);
    service.cancel("task_id=second").await.ok();
    service.pass(TimeDelta::seconds(30));
    assert_eq!(sweep(&service, &lines).await["OldestPendingTaskAge"], 30);
}

#[tokio::test]
async fn an_age_that_could_not_be_asked_for_is_not_told() {
    let lines = Lines::capture();
    let service = Service::start().await;
    let refused = Fault::Refused(500, "InternalServerError");
    service.wire.next_times(20, QUERY, refused);
    let deadline = service.now() + TimeDelta::seconds(60);
    let report = service.running.handlers.sweeper.sweep(deadline).await;
    assert!(report.errors > 0);
    let line = lines.take().remove(0);
    assert_eq!(metrics(&line), ["SweeperResends", "TasksDone"]);
    assert_eq!(
        line["cause"],
        "DynamoDB is throttling or out of reach: InternalServerError"
    );
}
