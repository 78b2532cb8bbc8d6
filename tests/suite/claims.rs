//! Fence and lease: who may work on a task or on a chunk of it, and whose result counts.

use chrono::TimeDelta;
use shared::store::{Deferral, Written};
use shared::task::{Outcome, Reason, TaskStatus};
use tests::wire::{
    FAILING, Fault,
    call::{CLAIM, DELETE},
};
use tests::{Begun, Size, run_body};

#[tokio::test]
async fn two_workers_with_one_message_claim_once_and_delete_once() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let claims = begun.service.wire.hold_times(2, CLAIM);
        let works = [begun.start(1), begun.start(1)];
        for _ in &works {
            // Both workers have read the task, made the existence check, and are about to claim.
            claims.reached().await;
        }
        for _ in &works {
            claims.release();
        }
        for work in works {
            assert_eq!(work.await.unwrap(), 0, "{size:?}");
        }
        assert_eq!(begun.service.wire.count(DELETE), 1, "{size:?}");
        assert_eq!(begun.progress().await, (1, 1, 0), "{size:?}");
    }
}

#[tokio::test]
async fn while_a_claim_is_in_force_nobody_else_works_on_it_and_other_chunks_go_on() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        let delete = service.wire.hold(DELETE);
        let work = begun.start(1);
        delete.reached().await;
        service.pass(TimeDelta::seconds(39)); // the invocation's 30 s, and not yet the 10 s more
        service.wire.calls();
        assert!(!begun.deliver(1).await, "{size:?}");
        assert_eq!(service.wire.calls(), size.reads());
        begun.carry_out_rest(1).await;
        let remaining = &begun.task().await["progress"]["remaining"];
        assert_eq!(remaining, 2, "{size:?}");
        delete.release();
        work.await.unwrap();
        begun.assert_exact("late").await;
    }
}

#[tokio::test]
async fn a_stale_worker_changes_nothing() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        let (work, settle) = begun.start_to_settlement(1).await;
        service.pass(TimeDelta::seconds(41));
        assert!(!begun.deliver(1).await, "{size:?}");
        let task = begun.task().await;
        assert_eq!(begun.progress().await, (1, 1, 0), "{size:?}");
        settle.release();
        assert_eq!(work.await.unwrap(), 0, "{size:?}: acknowledged");
        assert_eq!(begun.task().await, task, "{size:?}");
    }
}

#[tokio::test]
async fn a_claim_on_what_was_read_before_another_claim_came_and_went_is_lost() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        let claim = service.wire.hold(CLAIM);
        let work = begun.start(1);
        claim.reached().await; // its existence check has found o-0
        assert!(!begun.deliver(1).await, "{size:?}");
        begun.carry_out_rest(1).await;
        begun.restart("&scope=all").await;
        service.insert("index", &["o-0"]).await;
        claim.release();
        work.await.unwrap();
        assert_eq!(service.wire.count(DELETE), 0, "{size:?}: a late delete");
        assert_eq!(service.present("index", &["o-0"]).await, ["o-0"]);
    }
}

#[tokio::test]
async fn a_claim_on_what_was_read_before_another_worker_tried_and_gave_back_is_lost() {
    for size in Size::BOTH {
        for claims_before in [0, 1] {
            let begun = Begun::begin(size).await;
            let service = &begun.service;
            let fail = async || {
                service.wire.next_times(4, DELETE, FAILING);
                assert!(!begun.deliver(1).await);
            };
            for _ in 0..claims_before {
                fail().await;
            }
            let claim = service.wire.hold(CLAIM);
            let work = begun.start(1);
            claim.reached().await; // it has made its existence check
            fail().await; // another claims, fails, and hands back
            let handed_back = begun.task().await;
            assert_eq!(handed_back["status"], "processing");
            assert_eq!(begun.progress().await, (0, 1, 1), "{size:?}");
            service.wire.calls();
            claim.release();
            work.await.unwrap();
            let deletes = service.wire.count(DELETE);
            assert_eq!(deletes, 0, "{size:?}, after {claims_before} claims");
            assert_eq!(begun.task().await, handed_back, "{size:?}");
        }
    }
}

#[tokio::test]
async fn a_claim_on_a_lease_that_was_over_is_lost_if_its_holder_settles_first() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        service.wire.next_times(4, DELETE, FAILING);
        let claimed = service.wire.hold(CLAIM);
        let slow = begun.start(1);
        claimed.reached().await;
        let settle = service.wire.hold(begun.settle());
        claimed.release();
        settle.reached().await; // its deletes have failed; it is held before it hands back
        service.pass(TimeDelta::seconds(41));
        let claim = service.wire.hold(CLAIM);
        let next = begun.start(1);
        // The lease was over, so the next worker has made its existence check.
        claim.reached().await;
        settle.release();
        slow.await.unwrap();
        let handed_back = begun.task().await;
        service.wire.calls();
        claim.release();
        next.await.unwrap();
        assert_eq!(service.wire.count(DELETE), 0, "{size:?}");
        assert_eq!(begun.task().await, handed_back, "{size:?}");
    }
}

#[tokio::test]
async fn a_claim_on_a_task_that_expired_and_was_created_anew_is_lost() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        let claim = service.wire.hold(CLAIM);
        let work = begun.start(1);
        claim.reached().await; // its existence check has found o-0
        service.pass(TimeDelta::days(91));
        let created = service.run(&size.body()).await;
        assert_eq!(created.header("idempotent-replayed"), None);
        begun.fan_out(1).await; // the same attempt number as the first task's
        let created = begun.task().await;
        claim.release();
        work.await.unwrap();
        assert_eq!(service.wire.count(DELETE), 0, "{size:?}");
        assert_eq!(begun.task().await, created, "{size:?}");
    }
}

#[tokio::test]
async fn a_settlement_of_a_task_that_expired_and_was_created_anew_is_dropped_after_one_write() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        let (work, settle) = begun.start_to_settlement(1).await;
        service.pass(TimeDelta::days(91));
        let created = service.run(&run_body("index", "t", &["o-0"])).await.ok();
        service.wire.calls();
        settle.release();
        assert_eq!(work.await.unwrap(), 0, "{size:?}: acknowledged");
        let again = service.wire.count(begun.settle());
        assert_eq!(again, 0, "{size:?}: the write is not made again");
        assert_eq!(begun.task().await, created, "{size:?}");
    }
}

#[tokio::test]
async fn no_lease_outlives_its_task() {
    for size in Size::BOTH {
        // The lease lasts 40 s. It must be over a second before the task is.
        for (seconds_left, deletes) in [(41, 0), (42, 1)] {
            let begun = Begun::begin(size).await;
            let left = TimeDelta::seconds(seconds_left);
            let before = begun.task().await;
            begun.service.pass(TimeDelta::days(90) - left);
            assert!(!begun.deliver(1).await, "{size:?}");
            let story = format!("{size:?}, {seconds_left} s");
            assert_eq!(begun.service.wire.count(DELETE), deletes, "{story}");
            let is_as_before = begun.task().await == before;
            assert_eq!(is_as_before, deletes == 0, "{story}");
        }
    }
}

#[tokio::test]
async fn a_stale_settlement_does_not_end_the_work_of_a_newer_claim() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        let (stale, settle) = begun.start_to_settlement(1).await;
        service.pass(TimeDelta::seconds(41));
        service.insert("index", &["o-0"]).await;
        let delete = service.wire.hold(DELETE);
        let newest = begun.start(1);
        delete.reached().await; // a newer claim is in force
        let at_work = begun.task().await;
        settle.release();
        stale.await.unwrap();
        assert_eq!(begun.task().await, at_work, "{size:?}");
        delete.release();
        newest.await.unwrap();
        begun.carry_out_rest(1).await;
        begun.assert_exact("by the newer claim").await;
    }
}

#[tokio::test]
async fn a_claim_and_a_settlement_sent_again_by_the_sdk_are_recognized_as_their_own() {
    for size in Size::BOTH {
        for is_last in [false, true] {
            let begun = Begun::begin(size).await;
            let service = &begun.service;
            if is_last {
                begun.carry_out_rest(1).await;
                service.wire.calls();
            }
            service.wire.next(CLAIM, Fault::ResponseLost);
            let delete = service.wire.hold(DELETE);
            let work = begun.start(1);
            delete.reached().await;
            let settle = begun.settle();
            service.wire.next(settle, Fault::ResponseLost);
            delete.release();
            assert_eq!(work.await.unwrap(), 0, "{size:?}: acknowledged");
            let mut calls = service.wire.calls();
            calls.retain(|call| [CLAIM, DELETE, settle].contains(&call.as_str()));
            assert_eq!(calls, [CLAIM, CLAIM, DELETE, settle, settle], "{size:?}");
            if !is_last {
                assert_eq!(begun.progress().await, (1, 1, 0), "{size:?}");
                begun.carry_out_rest(1).await;
            }
            begun.assert_exact("responses lost").await;
        }
    }
}

#[tokio::test]
async fn a_settlement_of_a_part_sent_again_by_the_sdk_counts_once() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        let service = &begun.service;
        service.wire.next_times(4, DELETE, FAILING);
        let claim = service.wire.hold(CLAIM);
        let work = begun.start(1);
        claim.reached().await;
        service.wire.next(begun.settle(), Fault::ResponseLost); // the settlement's
        claim.release();
        assert_eq!(work.await.unwrap(), 0, "{size:?}");
        let mut calls = service.wire.calls();
        calls.retain(|call| [CLAIM, begun.settle()].contains(&call.as_str()));
        let sent_twice = [CLAIM, begun.settle(), begun.settle()];
        assert_eq!(calls, sent_twice, "{size:?}");
        let progress = begun.progress().await;
        assert_eq!(progress, (0, 1, 1), "{size:?}: o-1 is absent, o-0 remains");
    }
}

#[tokio::test]
async fn the_store_says_that_a_settlement_sent_again_was_applied() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        begun.carry_out_rest(1).await;
        let store = &begun.service.running.handlers.store;
        let now = begun.service.now();
        let read = begun.stored().await;
        let (claim, lease_until) = (read.claim([0]), now + TimeDelta::seconds(40));
        let claimed = store.claim_if_unmoved(read, claim, lease_until, now).await;
        let Written::Applied(claimed) = claimed.unwrap() else {
            panic!("{size:?}: nothing has moved");
        };
        begun.service.wire.next(begun.settle(), Fault::ResponseLost);
        let results = vec![
            (0, Outcome::Deleted),
            (1, Outcome::Failed(Reason::NotFound)),
        ];
        let settled = store.settle_if_newest(claimed, results, Deferral::Failed, now);
        let settled = settled.await;
        let Written::Applied(settled) = settled.unwrap() else {
            panic!("{size:?}: its own settlement is refused");
        };
        assert_eq!(settled.task.status, TaskStatus::Done, "{size:?}");
    }
}

#[tokio::test]
async fn the_fence_grows_with_every_claim_and_no_restart_resets_it() {
    for size in Size::BOTH {
        let begun = Begun::begin(size).await;
        for (attempt, scope) in [(1, ""), (2, "&scope=all"), (3, "")] {
            assert!(!begun.deliver(attempt).await);
            begun.carry_out_rest(attempt).await;
            let fence = begun.stored().await.chunk.state.fence;
            assert_eq!(fence, u64::from(attempt), "{size:?}");
            begun.restart(scope).await;
        }
    }
}

#[tokio::test]
async fn messages_of_no_task_and_of_no_chunk_are_dropped() {
    for size in Size::BOTH {
        let begun = Begun::create(size).await;
        let service = &begun.service;
        let before = begun.task().await;
        let early = r#"{"task_id":"t","attempt":1,"chunk":0}"#;
        assert_eq!(service.deliver(&[early]).await, 0, "{size:?}");
        assert_eq!(service.wire.count(DELETE), 0, "not begun, or no chunk");
        assert_eq!(begun.task().await, before, "{size:?}");

        begun.fan_out(1).await;
        let before = begun.task().await;
        let strangers = [
            r#"{"task_id":"nobody","attempt":1}"#,
            r#"{"task_id":"t","attempt":1,"chunk":2}"#,
            r#"{"task_id":"t","attempt":2,"chunk":0}"#,
            r#"{"task_id":"t","attempt":2}"#,
        ];
        assert_eq!(service.deliver(&strangers).await, 0, "{size:?}");
        assert_eq!(service.wire.count(DELETE), 0, "{size:?}");
        assert_eq!(begun.task().await, before, "{size:?}");
    }
}
