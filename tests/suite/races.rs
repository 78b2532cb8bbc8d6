//! Callers and workers at awkward moments: a call is held on the wire while something else happens.

use chrono::TimeDelta;
use std::sync::Arc;
use tests::wire::{
    FAILING, Fault,
    call::{DELETE, GET_TASK, WRITE_TASK},
};
use tests::{DEMO_INDEX, Service, example, ids, run_body};

async fn with_example() -> Arc<Service> {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.wire.calls();
    Arc::new(service)
}

#[tokio::test]
async fn a_cancel_before_the_claim_stops_every_delete() {
    let service = with_example().await;
    let claim = service.wire.hold(WRITE_TASK);
    let work = service.start_work();
    claim.reached().await;
    service.cancel("task_id=delete-xyz").await.ok();
    claim.release();
    work.await.unwrap();
    let task = service.task("delete-xyz").await;
    assert_eq!(task["status"], "canceled");
    assert_eq!(task["progress"]["remaining"], 2);
    assert!(!service.wire.calls().iter().any(|call| call == DELETE));
    assert_eq!(service.present(DEMO_INDEX, &["obj-1"]).await, ["obj-1"]);
}

#[tokio::test]
async fn a_cancel_during_the_delete_records_what_was_deleted() {
    let service = with_example().await;
    let delete = service.wire.hold(DELETE);
    let work = service.start_work();
    delete.reached().await;
    let answer = service.cancel("task_id=delete-xyz").await.ok();
    assert_eq!(
        (&answer["status"], &answer["progress"]["remaining"]),
        (&"canceled".into(), &2.into())
    );
    delete.release();
    work.await.unwrap();
    let task = service.task("delete-xyz").await;
    assert_eq!(task["status"], "canceled");
    assert_eq!(task["progress"]["deleted"], 1);
    assert_eq!(task["failed_item_ids"][0]["object_id"], "obj-2");
}

#[tokio::test]
async fn after_a_cancel_the_worker_makes_no_second_delete_call() {
    let service = with_example().await;
    service.wire.next(DELETE, FAILING);
    let delete = service.wire.hold_response(GET_TASK);
    let work = service.start_work();
    delete.reached().await; // the first read of the task
    let second_read = service.wire.hold(GET_TASK);
    delete.release();
    second_read.reached().await; // before the delete is tried again
    service.cancel("task_id=delete-xyz").await.ok();
    second_read.release();
    work.await.unwrap();
    let deletes = service
        .wire
        .calls()
        .into_iter()
        .filter(|call| call == DELETE)
        .count();
    assert_eq!(deletes, 1);
    let task = service.task("delete-xyz").await;
    assert_eq!(
        (&task["status"], &task["progress"]["remaining"]),
        (&"canceled".into(), &1.into())
    );
    assert_eq!(service.present(DEMO_INDEX, &["obj-1"]).await, ["obj-1"]);
}

#[tokio::test]
async fn a_restart_during_the_delete_waits_for_it_and_keeps_its_result() {
    for scope in ["", "&scope=all"] {
        let service = with_example().await;
        let delete = service.wire.hold(DELETE);
        let work = service.start_work();
        delete.reached().await;
        service.cancel("task_id=delete-xyz").await.ok();
        let answer = service
            .restart(&format!("task_id=delete-xyz{scope}"))
            .await
            .ok();
        assert_eq!(
            (&answer["status"], &answer["attempt"]),
            (&"pending".into(), &2.into())
        );

        // The new attempt's message meets the old claim: nobody works beside it.
        assert_eq!(service.work_once().await, 1);
        assert_eq!(service.task("delete-xyz").await["status"], "pending");

        delete.release();
        work.await.unwrap();
        // A restart of everything counts nothing of the old attempt: it looks at every object itself.
        let counted = if scope.is_empty() { 1 } else { 0 };
        let progress = &service.task("delete-xyz").await["progress"];
        assert_eq!(progress["deleted"], counted, "{scope}");
        service.work().await;
        let task = service.task("delete-xyz").await;
        assert_eq!(
            (&task["status"], &task["attempt"]),
            (&"done".into(), &2.into()),
            "{scope}"
        );
        let outcomes = service.outcomes("delete-xyz").await;
        assert_eq!(
            outcomes[0].1, "deleted",
            "{scope}: it was this service that deleted it"
        );
        assert_eq!(outcomes[1].1, "failed", "{scope}");
    }
}

#[tokio::test]
async fn a_restart_between_read_and_claim_leaves_the_work_to_the_new_attempt() {
    let service = with_example().await;
    let claim = service.wire.hold(WRITE_TASK);
    let work = service.start_work();
    claim.reached().await;
    service.cancel("task_id=delete-xyz").await.ok();
    service.restart("task_id=delete-xyz").await.ok();
    claim.release();
    work.await.unwrap();
    let task = service.task("delete-xyz").await;
    assert_eq!(
        (&task["status"], &task["attempt"]),
        (&"pending".into(), &2.into())
    );
    service.work().await;
    assert_eq!(service.task("delete-xyz").await["status"], "done");
}

#[tokio::test]
async fn stale_repeated_and_reordered_messages_do_no_harm() {
    let service = Service::start().await;
    service.seed("index", &ids("o", 10)).await;
    service
        .run(&run_body("index", "t", &ids("o", 12)))
        .await
        .ok();
    let first = r#"{"task_id":"t","attempt":1}"#;
    let second = r#"{"task_id":"t","attempt":2}"#;
    assert_eq!(service.deliver(&[second, first, first, first]).await, 0);
    let done = service.task("t").await;
    assert_eq!(done["progress"]["deleted"], 10);
    assert_eq!(service.deliver(&[first, second]).await, 0);
    assert_eq!(service.task("t").await, done);
    service.restart("task_id=t").await.ok();
    assert_eq!(service.deliver(&[first, first]).await, 0);
    let pending = service.task("t").await;
    assert_eq!(
        (&pending["status"], &pending["attempt"]),
        (&"pending".into(), &2.into())
    );
    assert_eq!(service.deliver(&[second, first, second]).await, 0);
    let again = service.task("t").await;
    assert_eq!(
        (&again["status"], &again["progress"]),
        (&"done".into(), &done["progress"])
    );
}

#[tokio::test]
async fn two_hundred_callers_and_two_workers_leave_every_counter_right() {
    let service = Arc::new(Service::start().await);
    service.seed("index", &ids("o", 40)).await;
    let callers: Vec<_> = (0..200)
        .map(|number| {
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                match number % 4 {
                    0 => drop(
                        service
                            .run(&run_body("index", "t", &ids("o", 50)))
                            .await
                            .ok(),
                    ),
                    1 => drop(service.cancel("task_id=t").await),
                    2 => drop(service.restart("task_id=t").await),
                    _ => drop(service.work_once().await),
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    service.restart("task_id=t").await;
    service.pass(TimeDelta::hours(2));
    service.sweep().await;
    service.work().await;
    let task = service.task("t").await;
    assert_eq!(task["status"], "done");
    assert_eq!(
        task["progress"]["deleted"], 40,
        "whoever deleted them, in whichever attempt"
    );
    assert_eq!(task["progress"]["failed"], 10);
    assert!(service.present("index", &ids("o", 40)).await.is_empty());
}

#[tokio::test]
async fn a_restart_of_everything_deletes_what_was_put_back_before_the_old_claim_settled() {
    let service = with_example().await;
    let deleted = service.wire.hold_response(DELETE);
    let work = service.start_work();
    deleted.reached().await;
    service.cancel("task_id=delete-xyz").await.ok();
    service.insert(DEMO_INDEX, &["obj-1"]).await;
    service.restart("task_id=delete-xyz&scope=all").await.ok();
    deleted.release();
    work.await.unwrap();
    service.work().await;
    service.assert_documented_outcome("put back").await;
}

#[tokio::test]
async fn a_restart_and_a_cancel_whose_answers_are_lost_do_not_undo_each_other() {
    // The SDK sends a restart again after another caller has canceled what it restarted: the cancel stands.
    let service = with_example().await;
    service.cancel("task_id=delete-xyz").await.ok();
    service.wire.next(WRITE_TASK, Fault::ResponseLost);
    let again = service.wire.hold(WRITE_TASK);
    let restart = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.restart("task_id=delete-xyz").await.ok() }
    });
    again.reached().await;
    service.cancel("task_id=delete-xyz").await.ok();
    again.release();
    assert_eq!(restart.await.unwrap()["status"], "canceled");
    let task = service.task("delete-xyz").await;
    assert_eq!(
        (&task["status"], &task["attempt"]),
        (&"canceled".into(), &2.into())
    );
}
