//! Callers and workers at awkward moments: a call is held on the wire while something else happens.

use chrono::TimeDelta;
use std::sync::Arc;
use tests::wire::{
    FAILING, Fault,
    call::{CLAIM, DELETE, GET_TASK, WRITE_TASK},
};
use tests::{Begun, Service, Size, example, ids, run_body};

fn both_sizes_and_scopes() -> [(Size, &'static str); 4] {
    let [small, large] = Size::BOTH;
    [
        (small, ""),
        (small, "&scope=all"),
        (large, ""),
        (large, "&scope=all"),
    ]
}

#[tokio::test]
async fn a_cancel_before_the_claim_stops_every_delete() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        let claim = service.wire.hold(CLAIM);
        let work = begun.start(1);
        claim.reached().await; // it has read that the task is open, and made its existence check
        service.cancel("task_id=t").await.ok();
        claim.release();
        work.await.unwrap();
        assert_eq!(service.wire.count(DELETE), 0, "{size:?}");
        assert_eq!(begun.task().await["status"], "canceled", "{size:?}");
        assert_eq!(begun.progress().await, (0, 0, 2), "{size:?}");
        assert_eq!(service.present("index", &["o-0"]).await, ["o-0"]);
    }
}

#[tokio::test]
async fn a_cancel_during_the_delete_records_what_was_deleted_and_nothing_more_is_begun() {
    for (size, is_last) in [
        (Size::Small, true),
        (Size::Large, false),
        (Size::Large, true),
    ] {
        let story = format!("{size:?}, the last chunk: {is_last}");
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        if is_last {
            begun.carry_out_rest(1).await;
        }
        let delete = service.wire.hold(DELETE);
        let work = begun.start(1);
        delete.reached().await;
        let others_left = if is_last { 0 } else { 2 };
        let canceled = service.cancel("task_id=t").await.ok();
        assert_eq!(canceled["status"], "canceled", "{story}");
        let remaining = &canceled["progress"]["remaining"];
        assert_eq!(remaining, 2 + others_left, "{story}");
        service.wire.calls();
        begun.deliver(1).await;
        begun.carry_out_rest(1).await;
        let calls = service.wire.calls();
        assert!(calls.iter().all(|call| call == GET_TASK), "{calls:?}");
        delete.release();
        work.await.unwrap();
        let task = begun.task().await;
        assert_eq!(task["status"], "canceled", "{story}");
        assert_eq!(task["progress"]["remaining"], others_left, "{story}");
        assert_eq!(task["failed_item_ids"][0]["object_id"], "o-1", "{story}");
        let outcomes = service.outcomes("t").await;
        assert_eq!(outcomes[0].1, "deleted", "{story}");
        let remaining = service.outcomes_of("t", "remaining").await.len();
        assert_eq!(remaining, others_left, "{story}");
    }
}

#[tokio::test]
async fn after_a_cancel_the_worker_makes_no_second_delete_call() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        service.wire.next(DELETE, FAILING);
        let claimed = service.wire.hold_response(CLAIM);
        let work = begun.start(1);
        claimed.reached().await;
        let read = service.wire.hold_times(2, GET_TASK);
        claimed.release();
        if size == Size::Large {
            read.reached().await; // after the claim
            read.release();
        }
        read.reached().await; // before the delete is tried again
        service.cancel("task_id=t").await.ok();
        read.release();
        work.await.unwrap();
        assert_eq!(service.wire.count(DELETE), 1, "{size:?}");
        assert_eq!(begun.task().await["status"], "canceled", "{size:?}");
        assert_eq!(begun.progress().await, (0, 1, 1), "{size:?}");
        assert_eq!(service.present("index", &["o-0"]).await, ["o-0"]);
        if size == Size::Small {
            let due = service.stored_numbers("due_at").await;
            assert!(due.is_empty(), "it has ended: {due:?}");
        }
    }
}

#[tokio::test]
async fn a_restart_during_the_delete_waits_for_it_and_keeps_its_result() {
    for (size, scope) in both_sizes_and_scopes() {
        let story = format!("{size:?} {scope}");
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        let delete = service.wire.hold(DELETE);
        let work = begun.start(1);
        delete.reached().await;
        service.cancel("task_id=t").await.ok();
        let restarted = begun.restart(scope).await;
        assert_eq!(
            (&restarted["status"], &restarted["attempt"]),
            (&"pending".into(), &2.into())
        );

        // The new attempt's message meets the old claim, so no other work is done.
        assert!(!begun.deliver(2).await, "{story}");
        assert_eq!(begun.progress().await, (0, 0, 2), "{story}");
        begun.carry_out_rest(2).await;

        delete.release();
        work.await.unwrap();
        // Only the new attempt can find that `o-1` is absent. After a restart of every object
        // nothing of the old attempt counts.
        let (deleted, remaining) = if scope.is_empty() { (1, 1) } else { (0, 2) };
        let progress = &begun.task().await["progress"];
        let others = size.objects() / 2 - 1; // in the other chunk: half deleted, half absent
        assert_eq!(progress["deleted"], deleted + others, "{story}");
        assert_eq!(progress["failed"], others, "{story}");
        assert_eq!(progress["remaining"], remaining, "{story}");
        let sent = service.work_once().await;
        assert_eq!(sent, 1, "{story}: the late worker sent the message");
        assert_eq!(begun.task().await["attempt"], 2, "{story}");
        begun.assert_exact(&story).await;
    }
}

#[tokio::test]
async fn a_restart_between_read_and_claim_leaves_the_work_to_the_new_attempt() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        let claim = service.wire.hold(CLAIM);
        let work = begun.start(1);
        claim.reached().await;
        service.cancel("task_id=t").await.ok();
        begun.restart("").await;
        let restarted = begun.task().await;
        claim.release();
        work.await.unwrap();
        assert_eq!(service.wire.count(DELETE), 0, "{size:?}");
        assert_eq!(begun.task().await, restarted, "{size:?}");
        assert!(!begun.deliver(2).await, "{size:?}");
        begun.carry_out_rest(2).await;
        begun.assert_exact("by the new attempt").await;
    }
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
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        let deleted = service.wire.hold_response(DELETE);
        let work = begun.start(1);
        deleted.reached().await;
        service.cancel("task_id=t").await.ok();
        service.insert("index", &["o-0"]).await;
        begun.restart("&scope=all").await;
        deleted.release();
        work.await.unwrap();
        service.work().await;
        begun.carry_out_rest(2).await;
        begun.assert_exact("put back").await;
    }
}

#[tokio::test]
async fn a_restart_and_a_cancel_whose_responses_are_lost_do_not_undo_each_other() {
    // The SDK sends a restart again after another caller has canceled the restarted task. The
    // cancel remains in effect.
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
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
