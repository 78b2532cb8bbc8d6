//! Cancel, restart and expiry of large tasks.

use super::*;
use chrono::TimeDelta;
use shared::task::TaskId;
use tests::wire::{
    FAILING,
    call::{CHECK, DELETE, GET_TASK, READ_CHUNKS, WRITE_CHUNK},
};

const SECOND: [&str; 4] = [
    r#"{"task_id":"large","attempt":2,"chunk":0}"#,
    r#"{"task_id":"large","attempt":2,"chunk":1}"#,
    r#"{"task_id":"large","attempt":2,"chunk":2}"#,
    r#"{"task_id":"large","attempt":2,"chunk":3}"#,
];

#[tokio::test]
async fn a_cancel_stops_a_task_within_the_chunks_already_claimed() {
    let service = fanned_out().await;
    service.deliver(&[CHUNKS[0]]).await;
    let delete = service.wire.hold(DELETE);
    let work = service.start_delivery(CHUNKS[1]);
    delete.reached().await;
    let canceled = service.cancel("task_id=large").await.ok();
    assert_eq!(
        (&canceled["status"], progress(&canceled)),
        (&"canceled".into(), (1, 1, 5))
    );
    service.wire.calls();
    service.deliver(&CHUNKS[2..]).await;
    assert_eq!(service.wire.calls(), [GET_TASK, GET_TASK], "dropped");
    delete.release();
    work.await.unwrap();
    let task = service.task("large").await;
    assert_eq!(
        (&task["status"], progress(&task)),
        (&"canceled".into(), (3, 1, 3))
    );
    assert_eq!(service.outcomes_of("large", "remaining").await.len(), 3);
}

#[tokio::test]
async fn no_chunk_is_claimed_once_a_cancel_is_committed() {
    let service = fanned_out().await;
    let claim = service.wire.hold(WRITE_CHUNK);
    let work = service.start_delivery(CHUNKS[1]);
    claim.reached().await; // it has read that the task is at work, and looked
    service.cancel("task_id=large").await.ok();
    service.wire.calls();
    claim.release();
    work.await.unwrap();
    assert_eq!(service.wire.count(DELETE), 0);
    assert_eq!(service.present("big", &["o-2", "o-3"]).await.len(), 2);
}

#[tokio::test]
async fn after_a_cancel_a_chunk_gets_no_second_delete_call() {
    let service = fanned_out().await;
    service.wire.next(DELETE, FAILING);
    let delete = service.wire.hold_response(WRITE_CHUNK);
    let work = service.start_delivery(CHUNKS[1]);
    delete.reached().await;
    let second_read = service.wire.hold(GET_TASK);
    delete.release();
    second_read.reached().await; // before the delete is tried again
    service.cancel("task_id=large").await.ok();
    second_read.release();
    work.await.unwrap();
    assert_eq!(service.wire.count(DELETE), 1);
    assert_eq!(progress(&service.task("large").await), (0, 0, 7));
}

#[tokio::test]
async fn a_restart_takes_up_only_what_was_not_deleted_chunk_by_chunk() {
    let service = with_large_task().await;
    service.work().await;
    service.insert("big", &["o-1", "o-2"]).await;
    let restarted = service.restart("task_id=large").await.ok();
    assert_eq!(
        (&restarted["status"], progress(&restarted)),
        (&"pending".into(), (5, 0, 2))
    );
    assert_eq!(service.work_once().await, 1);
    assert_eq!(
        service.waiting(&service.running.queue_url).await,
        2,
        "chunks 0 and 3"
    );
    service.wire.calls();
    service.work().await;
    assert_eq!(service.wire.count(DELETE), 1);
    let task = service.task("large").await;
    assert_eq!(
        (&task["status"], progress(&task)),
        (&"done".into(), (6, 1, 0))
    );
    assert_eq!(
        service.present("big", &["o-2"]).await,
        ["o-2"],
        "inserted after it was deleted"
    );
}

#[tokio::test]
async fn a_restart_of_everything_takes_up_every_object() {
    let service = with_large_task().await;
    service.work().await;
    service.insert("big", &["o-1", "o-2"]).await;
    let restarted = service.restart("task_id=large&scope=all").await.ok();
    assert_eq!(progress(&restarted), (0, 0, 7));
    service.work().await;
    let task = service.task("large").await;
    assert_eq!(
        (&task["status"], progress(&task)),
        (&"done".into(), (2, 5, 0))
    );
}

#[tokio::test]
async fn a_restart_with_nothing_left_to_try_ends_at_once_and_calls_no_store() {
    let service = Service::start_with_chunks_of(2).await;
    service.seed("big", &ids("o", 4)).await;
    service
        .run(&run_body("big", "large", &ids("o", 4)))
        .await
        .ok();
    service.work().await;
    service.restart("task_id=large").await.ok();
    service.wire.calls();
    service.work().await;
    assert!(
        !service
            .wire
            .calls()
            .iter()
            .any(|call| call.starts_with("S3Vectors"))
    );
    let task = service.task("large").await;
    assert_eq!(
        (&task["status"], &task["attempt"]),
        (&"done".into(), &2.into())
    );
}

#[tokio::test]
async fn a_chunk_claimed_before_a_restart_counts_what_it_deleted_and_the_rest_is_sent_again() {
    let service = fanned_out().await;
    let delete = service.wire.hold_response(DELETE);
    let work = service.start_delivery(CHUNKS[0]);
    delete.reached().await;
    service.cancel("task_id=large").await.ok();
    service.restart("task_id=large").await.ok();
    service.work().await; // the new attempt: chunk 0 is still claimed
    let task = service.task("large").await;
    assert_eq!(
        (&task["status"], progress(&task)),
        (&"processing".into(), (4, 1, 2))
    );
    assert_eq!(
        service.deliver(&[SECOND[0]]).await,
        0,
        "a lease that no restart ends"
    );
    delete.release();
    work.await.unwrap();
    assert_eq!(
        progress(&service.task("large").await),
        (5, 1, 1),
        "o-1 is for the new attempt"
    );
    assert!(
        service.work_once().await > 0,
        "the late worker sent the chunk's message"
    );
    assert_exact(&service, "late").await;
}

#[tokio::test]
async fn a_chunk_claimed_before_a_restart_of_everything_leaves_its_objects_to_the_new_attempt() {
    let service = fanned_out().await;
    let delete = service.wire.hold_response(DELETE);
    let work = service.start_delivery(CHUNKS[1]);
    delete.reached().await;
    service.cancel("task_id=large").await.ok();
    service.restart("task_id=large&scope=all").await.ok();
    service.work().await;
    delete.release();
    work.await.unwrap();
    assert_eq!(progress(&service.task("large").await), (3, 2, 2));
    service.work().await;
    assert_exact(&service, "what is gone was deleted by this service").await;
}

#[tokio::test]
async fn messages_of_an_earlier_attempt_are_dropped() {
    let service = fanned_out().await;
    service.cancel("task_id=large").await.ok();
    service.restart("task_id=large").await.ok();
    service.work_once().await;
    service.wire.calls();
    service.deliver(&CHUNKS).await;
    assert_eq!(service.wire.calls(), [GET_TASK; 4]);
    service.work().await;
    assert_exact(&service, "overtaken by a restart").await;
}

#[tokio::test]
async fn from_the_moment_of_expiry_a_large_task_is_absent_to_every_call() {
    let service = with_large_task().await;
    service.deliver(&[WHOLE, CHUNKS[0]]).await;
    service.deliver(&[CHUNKS[0]]).await;
    service.pass(TimeDelta::days(90));
    service.info("task_id=large").await.problem(404);
    service.info("task_id=large&outcome=all").await.problem(404);
    service.restart("task_id=large").await.problem(404);
    service.cancel("task_id=large").await.problem(404);
    assert_eq!(service.list("").await.ok()["tasks"], serde_json::json!([]));
    service.wire.calls();
    service.deliver(&[WHOLE, CHUNKS[1]]).await;
    assert_eq!(service.wire.calls(), [GET_TASK; 2]);
    // Its chunks, states included, stay a week longer, so that nobody who still reads misses them.
    let mut expiries = service.stored_numbers("expires_at").await;
    expiries.sort_unstable();
    let task = service.now().timestamp();
    let week_later = task + TimeDelta::days(7).num_seconds();
    assert_eq!(expiries.first(), Some(&task));
    assert!(expiries.iter().skip(1).all(|at| *at == week_later));
    // A new task may take the name; what the old one left is not read.
    let created = service.run(&run_body("big", "large", &ids("o", 5))).await;
    assert_eq!(created.header("idempotent-replayed"), None);
    assert_eq!(progress(&created.ok()), (0, 0, 5));
    assert_eq!(service.outcomes_of("large", "remaining").await.len(), 5);
}

#[tokio::test]
async fn a_worker_of_an_earlier_attempt_that_cannot_look_leaves_the_tries_of_a_later_one_alone() {
    let service = fanned_out().await;
    let read = service.wire.hold(READ_CHUNKS);
    let late = service.start_delivery(CHUNKS[0]);
    read.reached().await; // it has read the task, and not yet the chunk
    service.cancel("task_id=large").await.ok();
    service.restart("task_id=large").await.ok();
    service.work_once().await;
    service.lose_messages().await;
    service.wire.next_times(4, CHECK, FAILING);
    service.deliver(&[SECOND[0]]).await; // could not look: one try of the second attempt
    service.wire.next_times(4, CHECK, FAILING);
    read.release();
    late.await.unwrap();
    let store = &service.running.handlers.store;
    let id = TaskId::new("large").unwrap();
    let task = store.load(&id).await.unwrap().unwrap();
    let chunk = store
        .load_chunk(task, Some(0))
        .await
        .unwrap()
        .unwrap()
        .chunk;
    assert_eq!(
        (chunk.state.tries_in(2), chunk.state.put_offs_in(2)),
        (1, 1)
    );
}
