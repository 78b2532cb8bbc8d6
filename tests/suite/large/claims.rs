//! Fan-out, claims and settlements of chunks.

use super::*;
use chrono::TimeDelta;
use shared::task::TaskId;
use std::time::Duration;
use tests::wire::{
    DENIED, FAILING, Fault,
    call::{CHECK, DELETE, PUT_TASK, SETTLE_CHUNKS, WRITE_TASK},
};

#[tokio::test]
async fn a_large_task_is_carried_out_chunk_by_chunk_and_the_last_one_ends_it() {
    let service = with_large_task().await;
    assert_eq!(
        service.work_once().await,
        1,
        "the message of the whole task"
    );
    let task = service.task("large").await;
    assert_eq!(
        (&task["status"], progress(&task)),
        (&"processing".into(), (0, 0, 7))
    );
    assert_eq!(service.lose_messages().await, 4, "a message a chunk");
    for (chunk, after) in [
        (3, (0, 1, 6)),
        (1, (2, 1, 4)),
        (0, (3, 2, 2)),
        (2, (5, 2, 0)),
    ] {
        assert_eq!(service.deliver(&[CHUNKS[chunk]]).await, 0);
        assert_eq!(
            progress(&service.task("large").await),
            after,
            "chunk {chunk}"
        );
    }
    assert_exact(&service, "in any order").await;
    let row = &service.list("status=done").await.ok()["tasks"][0];
    assert_eq!(progress(row), (5, 2, 0));
    assert_eq!(
        row["failed_item_ids"][0]["object_id"], "o-6",
        "whichever came first"
    );
}

#[tokio::test]
async fn chunks_and_fan_outs_delivered_again_and_again_change_nothing() {
    let service = with_large_task().await;
    for _ in 0..3 {
        assert_eq!(service.deliver(&[WHOLE, WHOLE]).await, 0);
        assert_eq!(service.deliver(&CHUNKS).await, 0);
        assert_eq!(service.deliver(&CHUNKS).await, 0);
    }
    service.work().await;
    // The last chunk has nothing to delete.
    assert_eq!(service.wire.count(DELETE), 3);
    assert_exact(&service, "repeated").await;
}

#[tokio::test]
async fn of_the_last_two_chunks_that_settle_at_once_the_second_ends_the_task() {
    let service = fanned_out().await;
    service.deliver(&CHUNKS[..2]).await;
    let deleted = service.wire.hold_times(1, DELETE);
    let one = service.start_delivery(CHUNKS[2]);
    deleted.reached().await;
    let settle = service.wire.hold(SETTLE_CHUNKS);
    deleted.release();
    settle.reached().await; // it has read that more than its own objects remain
    assert_eq!(service.deliver(&[CHUNKS[3]]).await, 0);
    assert_eq!(service.task("large").await["status"], "processing");
    settle.release();
    assert_eq!(one.await.unwrap(), 0);
    assert_exact(&service, "the last two at once").await;
}

#[tokio::test]
async fn the_last_two_chunks_that_settle_one_after_the_other_in_one_process_take_a_write_each() {
    let service = fanned_out().await;
    service.deliver(&[CHUNKS[1], CHUNKS[3]]).await;
    service.wire.calls();
    let deletes = service.wire.hold_times(2, DELETE);
    let settle = service.wire.hold(SETTLE_CHUNKS);
    let work = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.deliver(&[CHUNKS[0], CHUNKS[2]]).await }
    });
    for _ in 0..2 {
        deletes.reached().await; // both have read that the other is open
    }
    deletes.release();
    settle.reached().await;
    deletes.release();
    settle.release();
    assert_eq!(work.await.unwrap(), 0);
    assert_eq!(service.wire.count(SETTLE_CHUNKS), 2);
    assert_exact(&service, "settled one after the other").await;
}

#[tokio::test]
async fn a_transaction_that_is_canceled_by_others_or_by_throttling_is_sent_again() {
    let service = with_large_task().await;
    for code in [
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
    ] {
        let canceled = Fault::Canceled(code);
        service.wire.next_times(2, SETTLE_CHUNKS, canceled);
    }
    let conflict = Fault::Refused(400, "TransactionConflictException");
    service.wire.next_times(2, WRITE_TASK, conflict);
    service.work().await;
    assert_exact(&service, "canceled").await;
}

#[tokio::test]
async fn a_transaction_that_is_canceled_because_it_is_not_valid_is_not_sent_again() {
    let service = fanned_out().await;
    let canceled = Fault::Canceled("ValidationError");
    service.wire.next(SETTLE_CHUNKS, canceled);
    assert_eq!(
        service.deliver(&[CHUNKS[0]]).await,
        1,
        "the message comes back"
    );
    assert_eq!(service.wire.count(SETTLE_CHUNKS), 1);
}

#[tokio::test]
async fn a_conflict_that_does_not_end_is_an_outage() {
    let service = fanned_out().await;
    let conflict = Fault::Canceled("TransactionConflict");
    service.wire.next_times(usize::MAX, SETTLE_CHUNKS, conflict);
    let time = TimeDelta::seconds(3);
    let back = service.deliver_within(time, &[CHUNKS[0]]).await;
    assert_eq!(back, 1, "the time was up before the conflict was over");
    let conflict = Fault::Refused(400, "TransactionConflictException");
    service.wire.next_times(usize::MAX, WRITE_TASK, conflict);
    service.cancel("task_id=large").await.problem(503);
}

#[tokio::test]
async fn a_call_of_the_api_that_meets_a_settlement_waits_for_it() {
    let service = with_large_task().await;
    let conflict = Fault::Refused(400, "TransactionConflictException");
    for write in [PUT_TASK, WRITE_TASK] {
        service.wire.next_times(2, write, conflict.clone());
    }
    let body = run_body("big", "another", &ids("o", 7));
    assert_eq!(service.run(&body).await.ok()["status"], "pending");
    assert_eq!(service.wire.count(PUT_TASK), 3);
    let canceled = service.cancel("task_id=large").await.ok();
    assert_eq!(canceled["status"], "canceled");
}

#[tokio::test]
async fn workers_whose_transactions_hold_the_task_lose_no_message_to_conflicts() {
    let service = fanned_out().await;
    let items = service.wire.hold_items(Duration::from_millis(20));
    let works = CHUNKS.map(|chunk| service.start_delivery(chunk));
    for work in works {
        assert_eq!(work.await.unwrap(), 0, "acknowledged");
    }
    assert!(items.refused() > 0, "they have met");
    assert_exact(&service, "under contention").await;
}

#[tokio::test]
async fn a_reason_given_by_one_chunk_fails_the_task_though_another_is_the_last() {
    let service = fanned_out().await;
    for _ in 0..5 {
        service.wire.next_times(4, CHECK, FAILING);
        assert_eq!(service.deliver(&[CHUNKS[0]]).await, 0);
        service.wire.heal();
    }
    let task = service.task("large").await;
    assert_eq!(task["status"], "processing");
    assert_eq!(task["detail"], Value::Null, "it has not failed yet");
    assert_eq!(progress(&task), (0, 2, 5));
    service.deliver(&CHUNKS[1..]).await;
    let task = service.task("large").await;
    assert_eq!(task["status"], "failed");
    let detail = task["detail"].as_str().unwrap();
    assert!(detail.starts_with("Gave up after 5 tries"), "{detail}");
    service.restart("task_id=large").await.ok();
    service.work().await;
    assert_exact(&service, "after a restart").await;
}

#[tokio::test]
async fn a_reason_given_by_one_chunk_fails_the_task_whose_other_chunks_are_settled_in_the_same_process()
 {
    let service = fanned_out().await;
    let delete = service.wire.hold(DELETE);
    service.wire.next(DELETE, DENIED);
    let batch = Arc::clone(&service);
    let batch = tokio::spawn(async move { batch.deliver(&CHUNKS).await });
    delete.reached().await; // it has read the task before the others settle
    while progress(&service.task("large").await).2 > 2 {
        tokio::task::yield_now().await;
    }
    delete.release();
    assert_eq!(batch.await.unwrap(), 0);
    assert_eq!(service.task("large").await["status"], "failed");
}

#[tokio::test]
async fn a_worker_of_an_earlier_attempt_that_finds_no_index_records_nothing() {
    let service = Service::start_with_chunks_of(2).await;
    let body = run_body("nowhere", "large", &ids("o", 7));
    service.run(&body).await.ok();
    service.work_once().await;
    service.lose_messages().await;
    let service = Arc::new(service);
    let failure = service.wire.hold(SETTLE_CHUNKS);
    let work = service.start_delivery(CHUNKS[0]);
    failure.reached().await; // the index is missing, and the worker is about to record it
    service.cancel("task_id=large").await.ok();
    service.restart("task_id=large").await.ok();
    failure.release();
    work.await.unwrap();
    let store = &service.running.handlers.store;
    let task = store.load(&TaskId::new("large").unwrap()).await;
    let states = store.chunk_states(&task.unwrap().unwrap(), 0..1).await;
    assert_eq!(states.unwrap(), [None]);
}
