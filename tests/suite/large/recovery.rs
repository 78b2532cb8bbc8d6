//! Lost messages of large tasks, and fan-outs that die.

use super::*;
use chrono::TimeDelta;
use tests::kill;
use tests::wire::call::{GET_TASK, READ_CHUNKS, SEND_BATCH, WRITE_TASK};

#[tokio::test]
async fn a_fan_out_that_dies_at_any_call_is_made_again() {
    let first = [GET_TASK, WRITE_TASK, SEND_BATCH].map(|call| (call, false));
    // A later fan-out first reads the states of the chunks.
    let later = [GET_TASK, READ_CHUNKS, WRITE_TASK, SEND_BATCH].map(|call| (call, true));
    for (call, is_later) in first.into_iter().chain(later) {
        for after in [false, true] {
            let story = format!("{call}, after it: {after}, a later fan-out: {is_later}");
            let service = if is_later {
                fanned_out().await
            } else {
                with_large_task().await
            };
            service.pass(TimeDelta::seconds(60));
            let held = if after {
                service.wire.hold_response(call)
            } else {
                service.wire.hold(call)
            };
            let work = service.start_delivery(WHOLE);
            held.reached().await;
            kill(work).await;
            service.lose_messages().await;
            let is_begun = call == SEND_BATCH || (call == WRITE_TASK && after);
            let due_in = match (is_begun, is_later) {
                (false, _) => 0,
                (true, false) => 60,
                (true, true) => 120,
            };
            service.assert_due_in(due_in, &story).await;
            service.work().await;
            assert_exact(&service, &story).await;
        }
    }
}

#[tokio::test]
async fn only_chunks_that_are_due_are_sent_again() {
    let service = fanned_out().await; // all four messages are lost
    service.deliver(&CHUNKS[..2]).await;
    service
        .assert_due_in(60, "a minute after the last progress")
        .await;
    assert_eq!(service.work_once().await, 1);
    assert_eq!(service.waiting(&service.running.queue_url).await, 2);
    assert_eq!(service.lose_messages().await, 2);
    // A message that nobody has received may still be on the queue, so the second wait is longer.
    assert_eq!(service.deliver(&[WHOLE]).await, 0);
    assert_eq!(service.waiting(&service.running.queue_url).await, 0);
    service.assert_due_in(120, "sent twice").await;
    service.work().await;
    assert_exact(&service, "sent again").await;
}

#[tokio::test]
async fn a_task_that_a_worker_has_begun_since_the_sweeper_found_it_is_left_alone() {
    // Nothing is left to delete, so the task's due time does not change when a worker begins it.
    let service = restarted_with_nothing_left().await;
    service.pass(TimeDelta::minutes(2));
    let taken = service.wire.hold(WRITE_TASK);
    let sweep = service.start_sweep();
    taken.reached().await; // the sweeper has read that the task is due
    let reads = service.wire.hold_times(2, GET_TASK);
    let work = service.start_delivery(WHOLE_AGAIN);
    reads.reached().await;
    reads.release();
    reads.reached().await; // the worker has begun the task, and reads it to end it
    kill(work).await;
    taken.release();
    assert_eq!(sweep.await.unwrap(), 0);
    for (status, tasks) in [("pending", 0), ("processing", 1)] {
        let list = service.list(&format!("status={status}")).await.ok();
        assert_eq!(list["tasks"].as_array().unwrap().len(), tasks, "{status}");
    }
    assert_eq!(service.sweep().await, 1);
    service.work().await;
    assert_eq!(service.task("large").await["status"], "done");
}
