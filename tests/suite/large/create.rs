//! Creating large tasks: the ids first, the task last.

use super::*;
use tests::wire::{
    Fault,
    call::{GET_TASK, PUT_IDS, PUT_TASK, SEND},
};

fn body(objects: usize) -> Value {
    run_body("big", "large", &ids("o", objects))
}

#[tokio::test]
async fn ids_are_written_before_the_task_and_a_batch_takes_twenty_five_chunks() {
    let service = Service::start_with_chunks_of(2).await;
    service.run(&body(52)).await.ok();
    let calls = service.wire.calls();
    assert_eq!(calls, [GET_TASK, PUT_IDS, PUT_IDS, PUT_TASK, SEND]);
    assert_eq!(service.stored_items().await, 27);
}

#[tokio::test]
async fn a_repeated_create_costs_one_call_and_writes_nothing() {
    let service = with_large_task().await;
    let again = service.run(&body(7)).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("idempotent-mismatch"), None);
    assert_eq!(progress(&again.ok()), (0, 0, 7));
    assert_eq!(service.wire.calls(), [GET_TASK]);
    let other = service.run(&body(9)).await;
    assert_eq!(other.header("idempotent-mismatch"), Some("true"));
    assert_eq!(progress(&other.ok()), (0, 0, 7));
    assert_eq!(service.stored_items().await, 5);
}

#[tokio::test]
async fn of_two_creates_at_once_one_wins_and_the_other_shows_it() {
    let service = Arc::new(Service::start_with_chunks_of(2).await);
    let put = service.wire.hold(PUT_TASK);
    let slow = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.run(&body(5)).await }
    });
    put.reached().await; // its ids are written, its task is not
    let winner = service.run(&body(7)).await.ok();
    put.release();
    let loser = slow.await.unwrap();
    assert_eq!(loser.header("idempotent-replayed"), Some("true"));
    assert_eq!(loser.header("idempotent-mismatch"), Some("true"));
    assert_eq!(loser.ok(), winner);
    let outcomes = service.outcomes("large").await;
    let stored: Vec<_> = outcomes.into_iter().map(|(id, _)| id).collect();
    assert_eq!(stored, ids("o", 7));
}

#[tokio::test]
async fn a_create_that_dies_before_its_task_is_stored_leaves_nothing_that_is_read_and_that_expires()
{
    let service = Arc::new(Service::start_with_chunks_of(2).await);
    let put = service.wire.hold(PUT_TASK);
    let dying = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.run(&body(7)).await }
    });
    put.reached().await;
    dying.abort();
    let _ = dying.await;
    service.info("task_id=large").await.problem(404);
    assert_eq!(service.list("").await.ok()["tasks"], serde_json::json!([]));
    assert_eq!(service.stored_items().await, 4, "the ids of four chunks");
    let expiries = service.stored_numbers("expires_at").await;
    let week_after = service.now() + chrono::TimeDelta::days(90 + 7);
    assert_eq!(expiries, [week_after.timestamp(); 4]);
    // The same call creates the task.
    let created = service.run(&body(7)).await;
    assert_eq!(created.header("idempotent-replayed"), None);
    created.ok();
}

#[tokio::test]
async fn ids_that_cannot_be_written_are_a_503_and_no_task() {
    let service = Service::start_with_chunks_of(2).await;
    let throttled = Fault::Refused(400, "ThrottlingException");
    service.wire.next_times(3, PUT_IDS, throttled);
    service.run(&body(7)).await.problem(503);
    service.info("task_id=large").await.problem(404);
}
