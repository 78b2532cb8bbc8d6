//! Lost messages and dead workers of large tasks.

use super::*;
use chrono::TimeDelta;
use tests::wire::Fault;

/// Time passes, the sweeper runs, the worker works: what happens by itself once faults stop.
async fn recover(service: &Service) {
    service.wire.heal();
    for _ in 0..12 {
        service.pass(TimeDelta::hours(1));
        service.sweep().await;
        service.work().await;
        if service.task("large").await["status"] == "done" {
            return;
        }
    }
}

#[tokio::test]
async fn a_worker_that_dies_at_any_call_of_a_chunk_loses_nothing_and_counts_nothing_twice() {
    let calls = [
        (GET_TASK, 1),
        (READ_CHUNKS, 1),
        ("S3Vectors.GetVectors", 1),
        (CLAIM, 1),
        (DELETE, 1),
        (SETTLE, 2),
    ];
    for (call, time) in calls {
        for after in [false, true] {
            let story = format!("{call} {time}, after it: {after}");
            let service = fanned_out().await;
            let first = (time > 1).then(|| service.wire.hold(call));
            let held = match after {
                false => service.wire.hold(call),
                true => service.wire.hold_answer(call),
            };
            let work = service.start_delivery(CHUNKS[0]);
            if let Some(first) = first {
                first.reached().await;
                first.release();
            }
            held.reached().await;
            work.abort();
            let _ = work.await;
            recover(&service).await;
            assert_exact(&service, &story).await;
        }
    }
}

#[tokio::test]
async fn a_fan_out_that_dies_at_any_call_is_made_again() {
    let first = [GET_TASK, WRITE_TASK, SEND_CHUNKS].map(|call| (call, false));
    // One that is not the first reads how far the chunks have come.
    let later = [GET_TASK, READ_CHUNKS, WRITE_TASK, SEND_CHUNKS].map(|call| (call, true));
    for (call, is_later) in first.into_iter().chain(later) {
        for after in [false, true] {
            let service = match is_later {
                false => with_large_task().await,
                true => fanned_out().await,
            };
            service.pass(TimeDelta::seconds(61));
            let held = match after {
                false => service.wire.hold(call),
                true => service.wire.hold_answer(call),
            };
            let work = service.start_delivery(WHOLE);
            held.reached().await;
            work.abort();
            let _ = work.await;
            service.lose_messages().await;
            recover(&service).await;
            assert_exact(&service, call).await;
        }
    }
}

#[tokio::test]
async fn chunks_that_could_not_be_sent_are_sent_when_the_task_is_due() {
    let service = with_large_task().await;
    service.wire.next_times(2, SEND_CHUNKS, Fault::Unsent);
    service.work().await;
    assert_eq!(service.task("large").await["status"], "processing");
    service.pass(TimeDelta::seconds(61));
    assert_eq!(service.sweep().await, 1);
    service.work().await;
    assert_exact(&service, "sent late").await;
}

#[tokio::test]
async fn only_chunks_that_are_due_are_sent_again() {
    let service = fanned_out().await; // all four messages are lost
    service.deliver(&CHUNKS[..2]).await;
    // The sweeper looks a minute after the last progress.
    service.pass(TimeDelta::seconds(61));
    assert_eq!(service.sweep().await, 1);
    assert_eq!(service.work_once().await, 1);
    assert_eq!(service.waiting(&service.running.queue_url).await, 2);
    assert_eq!(service.lose_messages().await, 2);
    // What nobody has taken up may well be on the queue: the second time it waits longer.
    assert_eq!(service.deliver(&[WHOLE]).await, 0);
    assert_eq!(service.waiting(&service.running.queue_url).await, 0);
    service.pass(TimeDelta::seconds(121));
    assert_eq!(service.sweep().await, 1);
    service.work().await;
    assert_exact(&service, "sent again").await;
}

#[tokio::test]
async fn a_long_backlog_is_sent_again_ever_more_slowly_and_never_fails() {
    let service = fanned_out().await;
    let mut sent = 0;
    for _ in 0..24 * 6 {
        service.pass(TimeDelta::minutes(10));
        service.sweep().await;
        service.work_once().await;
        sent += service.lose_messages().await; // the chunks' messages
    }
    assert!((80..160).contains(&sent), "{sent} messages in a day");
    service.pass(TimeDelta::hours(2));
    recover(&service).await;
    assert_exact(&service, "a day late").await;
}

#[tokio::test]
async fn throttled_chunks_wait_and_never_fail() {
    let service = fanned_out().await;
    for _ in 0..7 {
        let throttling = Fault::Refused(429, "TooManyRequestsException");
        service.wire.next_times(usize::MAX, DELETE, throttling);
        service.deliver(&[CHUNKS[1]]).await;
        service.wire.heal();
        service.pass(TimeDelta::minutes(20));
    }
    let task = service.task("large").await;
    assert_eq!(
        (&task["status"], progress(&task)),
        (&"processing".into(), (0, 0, 7))
    );
    recover(&service).await;
    assert_exact(&service, "throttled").await;
}
