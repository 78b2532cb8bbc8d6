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
