//! Lost messages and dead workers of large tasks.

use super::*;
use chrono::TimeDelta;
use tests::wire::{
    Fault,
    call::{CHECK, DELETE, GET_TASK, READ_CHUNKS, SEND_BATCH, WRITE_CHUNK, WRITE_TASK},
};

#[tokio::test]
async fn a_worker_that_dies_at_any_call_of_a_chunk_loses_nothing_and_counts_nothing_twice() {
    let calls = [
        (GET_TASK, 1),
        (READ_CHUNKS, 1),
        (CHECK, 1),
        (WRITE_CHUNK, 1),
        (DELETE, 1),
        (WRITE_CHUNK, 2),
    ];
    for (call, time) in calls {
        for after in [false, true] {
            let story = format!("{call} {time}, after it: {after}");
            let service = fanned_out().await;
            let first = (time > 1).then(|| service.wire.hold(call));
            let held = match after {
                false => service.wire.hold(call),
                true => service.wire.hold_response(call),
            };
            let work = service.start_delivery(CHUNKS[0]);
            if let Some(first) = first {
                first.reached().await;
                first.release();
            }
            held.reached().await;
            work.abort();
            let _ = work.await;
            // A minute after the fan-out, and the last one's progress does not put that off.
            service.assert_due_in(60, &story).await;
            service.work().await;
            assert_exact(&service, &story).await;
        }
    }
}

#[tokio::test]
async fn a_chunk_whose_worker_died_is_sent_when_its_lease_is_over() {
    let service = fanned_out().await;
    service.deliver(&[CHUNKS[0], CHUNKS[2], CHUNKS[3]]).await;
    let delete = service.wire.hold(DELETE);
    let work = service.start_delivery(CHUNKS[1]);
    delete.reached().await;
    work.abort();
    let _ = work.await;
    // The invocation's 30 s, 10 s more, and a second since whole ones are stored.
    service.pass(TimeDelta::seconds(40));
    service.deliver(&[WHOLE]).await;
    assert_eq!(service.lose_messages().await, 0);
    service.pass(TimeDelta::seconds(1));
    service.deliver(&[WHOLE]).await;
    service.work().await;
    assert_exact(&service, "its worker died").await;
}

#[tokio::test]
async fn a_fan_out_that_dies_at_any_call_is_made_again() {
    let first = [GET_TASK, WRITE_TASK, SEND_BATCH].map(|call| (call, false));
    // One that is not the first reads how far the chunks have come.
    let later = [GET_TASK, READ_CHUNKS, WRITE_TASK, SEND_BATCH].map(|call| (call, true));
    for (call, is_later) in first.into_iter().chain(later) {
        for after in [false, true] {
            let story = format!("{call}, after it: {after}, a later fan-out: {is_later}");
            let service = match is_later {
                false => with_large_task().await,
                true => fanned_out().await,
            };
            service.pass(TimeDelta::seconds(60));
            let held = match after {
                false => service.wire.hold(call),
                true => service.wire.hold_response(call),
            };
            let work = service.start_delivery(WHOLE);
            held.reached().await;
            work.abort();
            let _ = work.await;
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
async fn chunks_that_could_not_be_sent_are_sent_when_the_task_is_due() {
    let service = with_large_task().await;
    service.wire.next_times(2, SEND_BATCH, Fault::Unsent);
    service.work().await;
    assert_eq!(service.task("large").await["status"], "processing");
    service.assert_due_in(60, "not sent").await;
    service.work().await;
    assert_exact(&service, "sent late").await;
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
    // What nobody has taken up may well be on the queue: the second time it waits longer.
    assert_eq!(service.deliver(&[WHOLE]).await, 0);
    assert_eq!(service.waiting(&service.running.queue_url).await, 0);
    service.assert_due_in(120, "sent twice").await;
    service.work().await;
    assert_exact(&service, "sent again").await;
}
