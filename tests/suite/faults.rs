//! Lost messages, lost responses, dead workers.

use chrono::TimeDelta;
use std::sync::Arc;
use tests::lines::Lines;
use tests::wire::{
    DENIED, Fault,
    call::{CHECK, CLAIM, DELETE, GET_TASK, PUT_TASK, QUERY, SETTLE_CHUNKS, WRITE_TASK},
};
use tests::{Begun, DEMO_INDEX, Service, Size, example, kill};

const FIRST_ATTEMPT: &str = r#"{"task_id":"delete-xyz","attempt":1}"#;

/// When a claim of an invocation that has just begun may be followed by another: the invocation's
/// 30 s, the lease's 10 s more, and a second because times are stored in whole seconds.
const LEASE: i64 = 41;

#[tokio::test]
async fn a_worker_that_dies_at_any_call_loses_nothing_and_counts_nothing_twice() {
    for size in Size::BOTH {
        for after in [false, true] {
            dies_at_each_call(size, after).await;
        }
    }
}

/// Lets a worker die before or after each of the calls that it makes for a chunk.
async fn dies_at_each_call(size: Size, after: bool) {
    let (read_again, settle) = match size {
        Size::Small => (None, (WRITE_TASK, 2)),
        Size::Large => (Some((GET_TASK, 2)), (SETTLE_CHUNKS, 1)),
    };
    let reads = size.reads().iter().map(|read| (*read, 1));
    let calls = reads
        .chain([(CHECK, 1), (CLAIM, 1)])
        .chain(read_again)
        .chain([(DELETE, 1), settle]);
    for (call, time) in calls {
        let story = format!("{size:?}: dies at call {time} of {call}, after it: {after}");
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        let first = (time > 1).then(|| service.wire.hold(call));
        let held = if after {
            service.wire.hold_response(call)
        } else {
            service.wire.hold(call)
        };
        let work = begun.start(1);
        if let Some(first) = first {
            first.reached().await;
            first.release();
        }
        held.reached().await;
        kill(work).await;
        let writes = match call {
            DELETE => 1,
            CLAIM => time - 1 + i32::from(after),
            _ => 0,
        };
        match (size, writes) {
            // A minute after the create or after the fan-out. The progress of a chunk does not
            // delay this.
            (Size::Small, 0) | (Size::Large, _) => service.assert_due_in(60, &story).await,
            (Size::Small, 1) => service.assert_due_in(LEASE, &story).await,
            (Size::Small, _) => {
                service.pass(TimeDelta::hours(2));
                assert_eq!(service.sweep().await, 0, "{story}: it has ended");
            }
        }
        service.work().await;
        begun.assert_exact(&story).await;
    }
}

#[tokio::test]
async fn what_a_dead_worker_saw_and_deleted_stays_deleted_across_cancel_and_restart() {
    for scope in ["", "&scope=all"] {
        let service = Arc::new(Service::start().await);
        service.run(&example()).await.ok();
        let deleted = service.wire.hold_response(DELETE);
        let work = service.start_work();
        deleted.reached().await;
        kill(work).await;
        service.cancel("task_id=delete-xyz").await.ok();
        assert_eq!(service.task("delete-xyz").await["progress"]["remaining"], 2);
        service
            .restart(&format!("task_id=delete-xyz{scope}"))
            .await
            .ok();
        service.work().await; // the new attempt's message meets the lease
        service
            .assert_due_in(60, "a minute after the restart")
            .await;
        service.work().await;
        service.assert_documented_outcome(scope).await;
    }
}

#[tokio::test]
async fn an_object_that_somebody_puts_back_after_a_crash_is_deleted_again() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    let deleted = service.wire.hold_response(DELETE);
    let work = service.start_work();
    deleted.reached().await;
    kill(work).await;
    service.insert(DEMO_INDEX, &["obj-1"]).await;
    service.assert_due_in(LEASE, "put back").await;
    service.work().await;
    service.assert_documented_outcome("put back").await;
}

#[tokio::test]
async fn a_restart_or_cancel_whose_response_was_lost_acts_once_and_succeeds() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.wire.next(WRITE_TASK, Fault::ResponseLost);
    assert_eq!(
        service.cancel("task_id=delete-xyz").await.ok()["status"],
        "canceled"
    );
    service.wire.next(WRITE_TASK, Fault::ResponseLost);
    let restarted = service.restart("task_id=delete-xyz&attempt=1").await.ok();
    assert_eq!(
        (&restarted["status"], &restarted["attempt"]),
        (&"pending".into(), &2.into())
    );
}

#[tokio::test]
async fn a_restart_sent_again_after_its_task_has_ended_does_not_restart_it_twice() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    service.work().await;
    // The SDK's second send of the same restart is held until the worker has carried out the first.
    service.wire.next(WRITE_TASK, Fault::ResponseLost);
    let again = service.wire.hold(WRITE_TASK);
    let restart = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.restart("task_id=delete-xyz").await.ok() }
    });
    again.reached().await;
    assert_eq!(
        service
            .deliver(&[r#"{"task_id":"delete-xyz","attempt":2}"#])
            .await,
        0
    );
    assert_eq!(service.task("delete-xyz").await["status"], "done");
    again.release();
    assert_eq!(restart.await.unwrap()["attempt"], 2);
    assert_eq!(service.task("delete-xyz").await["attempt"], 2);
}

#[tokio::test]
async fn a_cancel_sent_again_after_a_restart_does_not_cancel_the_new_attempt() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    // The SDK's second send of the same cancel is held until somebody has restarted the task.
    service.wire.next(WRITE_TASK, Fault::ResponseLost);
    let again = service.wire.hold(WRITE_TASK);
    let cancel = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.cancel("task_id=delete-xyz").await.ok() }
    });
    again.reached().await;
    service.restart("task_id=delete-xyz").await.ok();
    again.release();
    let canceled = cancel.await.unwrap();
    assert_eq!(
        (&canceled["status"], &canceled["attempt"]),
        (&"pending".into(), &2.into())
    );
    assert_eq!(service.task("delete-xyz").await["status"], "pending");
    service.work().await;
    service.assert_documented_outcome("not canceled").await;
}

#[tokio::test]
async fn a_call_that_does_not_end_is_broken_off_before_the_invocation_is() {
    let lines = Lines::capture();
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.wire.hold(GET_TASK);
    // The work is broken off half a second before this ends. The wait for it is in real time.
    let time = TimeDelta::milliseconds(600);
    let handed_back = service.deliver_within(time, &[FIRST_ATTEMPT]).await;
    assert_eq!(handed_back, 1);
    let line = lines.take().pop().unwrap();
    assert_eq!(line["outcome"], "out of time", "{line}");
    service.wire.heal();
    service.work().await;
    service.assert_documented_outcome("delivered again").await;
}

#[tokio::test]
async fn what_is_not_a_message_becomes_a_dead_letter_and_all_beside_it_is_carried_out() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    let good = FIRST_ATTEMPT;
    let bad = [
        "nonsense",
        "[]",
        r#"{"task_id":"a b","attempt":1}"#,
        r#"{"attempt":1}"#,
        r#"{"task_id":"t","attempt":-1}"#,
    ];
    for bad in bad {
        assert_eq!(service.deliver(&[bad, good]).await, 0, "{bad}");
    }
    let dead_letters = &service.running.dead_letter_queue_url;
    assert_eq!(service.waiting(dead_letters).await, bad.len());
    service.assert_documented_outcome("beside nonsense").await;
}

#[tokio::test]
async fn a_task_store_out_of_reach_is_a_503_with_retry_after_and_a_message_that_comes_back() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    let throttled = Fault::Refused(400, "ThrottlingException");
    for call in [PUT_TASK, GET_TASK, WRITE_TASK] {
        service.wire.next_times(usize::MAX, call, throttled.clone());
    }
    service.wire.next_times(usize::MAX, QUERY, Fault::Unsent);
    for reply in [
        service.run(&example()).await,
        service.info("task_id=delete-xyz").await,
        service.list("status=done").await,
        service.restart("task_id=delete-xyz").await,
        service.cancel("task_id=delete-xyz").await,
    ] {
        assert!(
            reply
                .header("retry-after")
                .is_some_and(|s| s.parse::<u32>().is_ok())
        );
        reply.problem(503);
    }
    assert_eq!(service.deliver(&[FIRST_ATTEMPT]).await, 1);
    service.wire.heal();
    service.work().await;
    service.assert_documented_outcome("after the outage").await;
}

#[tokio::test]
async fn an_error_of_ours_is_a_500_that_says_nothing_about_us() {
    let service = Service::start().await;
    let denied = DENIED;
    service.wire.next(GET_TASK, denied);
    let problem = service.info("task_id=x").await.problem(500);
    assert_eq!(problem["detail"], "Something went wrong on our side");
    assert!(problem.get("errors").is_none());
}

#[tokio::test]
async fn what_the_first_of_two_dead_workers_deleted_is_still_known_to_the_third() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    for call in [DELETE, WRITE_TASK] {
        // The first worker dies once its delete is carried out, the second once its claim is
        // stored.
        let held = service.wire.hold_response(call);
        let work = service.start_delivery(FIRST_ATTEMPT);
        held.reached().await;
        kill(work).await;
        service.assert_due_in(LEASE, call).await;
        service.lose_messages().await;
    }
    service.deliver(&[FIRST_ATTEMPT]).await;
    service.assert_documented_outcome("died twice").await;
}

#[tokio::test]
async fn a_delete_that_nobody_could_confirm_is_settled_by_a_later_check() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    service.wire.next_times(4, DELETE, Fault::ResponseLost);
    let check = service.wire.hold_response(CHECK);
    service.wire.next(CHECK, Fault::Unsent); // the existence check after the delete
    let work = service.start_work();
    check.reached().await;
    check.release();
    work.await.unwrap();
    let task = service.task("delete-xyz").await;
    assert_eq!(
        (&task["status"], &task["progress"]["remaining"]),
        (&"processing".into(), &1.into())
    );
    service.wire.heal();
    service
        .assert_due_in(0, "that obj-2 is absent is progress")
        .await;
    service.work().await;
    service.assert_documented_outcome("confirmed later").await;
}

#[tokio::test]
async fn nothing_is_settled_while_a_delete_without_a_response_may_still_arrive() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    let began = service.now();
    service.wire.next(DELETE, Fault::ResponseLost);
    service.work().await;
    let waited = service.now() - began;
    assert!(waited >= TimeDelta::seconds(10), "{waited}");
    service.assert_documented_outcome("after a wait").await;
}

#[tokio::test]
async fn a_worker_without_the_time_to_wait_for_a_lost_delete_leaves_its_claim_to_the_lease() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    let lease_over = service.now() + TimeDelta::seconds(LEASE);
    let check = service.wire.hold_response(CHECK);
    let work = service.start_work();
    check.reached().await;
    service.pass(TimeDelta::seconds(20)); // of 30
    service.wire.next(DELETE, Fault::Unsent);
    check.release();
    work.await.unwrap();
    assert_eq!(service.task("delete-xyz").await["status"], "processing");
    // No worker works on the task before the lost call can no longer take effect.
    service.pass(TimeDelta::seconds(9));
    service.wire.calls();
    assert_eq!(service.deliver(&[FIRST_ATTEMPT]).await, 0);
    assert_eq!(service.wire.calls(), [GET_TASK]);
    service.assert_due_at(lease_over, "left to its lease").await;
    service.work().await;
    service.assert_documented_outcome("after the lease").await;
}
