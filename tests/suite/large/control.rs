//! What a restart does to the chunks of large tasks.

use super::*;
use shared::task::TaskId;
use tests::wire::{
    FAILING,
    call::{CHECK, GET_TASK, READ_CHUNKS},
};

#[tokio::test]
async fn after_a_restart_only_chunks_with_objects_left_are_sent() {
    let service = with_large_task().await;
    service.work().await;
    service.restart("task_id=large").await.ok();
    assert_eq!(service.work_once().await, 1);
    let sent = service.waiting(&service.running.queue_url).await;
    assert_eq!(sent, 2, "chunks 0 and 3");
    service.work().await;
    assert_exact(&service, "restarted").await;
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
async fn messages_of_an_earlier_attempt_are_dropped() {
    let service = fanned_out().await;
    service.cancel("task_id=large").await.ok();
    service.restart("task_id=large").await.ok();
    service.work_once().await;
    service.wire.calls();
    service.deliver(&CHUNKS).await;
    assert_eq!(service.wire.calls(), [GET_TASK], "one read for all");
    service.work().await;
    assert_exact(&service, "overtaken by a restart").await;
}

#[tokio::test]
async fn a_worker_of_an_earlier_attempt_whose_existence_check_fails_leaves_the_tries_of_a_later_one_alone()
 {
    let service = fanned_out().await;
    let read = service.wire.hold(READ_CHUNKS);
    let late = service.start_delivery(CHUNKS[0]);
    read.reached().await; // it has read the task, and not yet the chunk
    service.cancel("task_id=large").await.ok();
    service.restart("task_id=large").await.ok();
    service.work_once().await;
    service.lose_messages().await;
    service.wire.next_times(4, CHECK, FAILING);
    let second = r#"{"task_id":"large","attempt":2,"chunk":0}"#;
    service.deliver(&[second]).await; // its existence check failed: one try of the second attempt
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
