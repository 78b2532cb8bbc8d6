//! Which chunks a fan-out sends, and when.

use super::*;
use chrono::TimeDelta;
use tests::kill;
use tests::lines::Lines;
use tests::wire::{
    DENIED, FAILING, Fault,
    call::{CHECK, DELETE, GET_TASK, READ_CHUNKS, SEND_BATCH, WRITE_TASK},
};

async fn on_the_queue(service: &Service) -> usize {
    service.waiting(&service.running.queue_url).await
}

#[tokio::test]
async fn two_fan_outs_at_once_send_the_chunks_once() {
    // The first fan-out of the task, and one of its second attempt.
    for attempts in [1, 2] {
        let service = with_large_task().await;
        let message: &'static str = match attempts {
            1 => WHOLE,
            _ => {
                service.work().await;
                service.restart("task_id=large&scope=all").await.ok();
                WHOLE_AGAIN
            }
        };
        service.lose_messages().await;
        let writes = service.wire.hold_times(2, WRITE_TASK);
        let works: Vec<_> = (0..2).map(|_| service.start_delivery(message)).collect();
        for _ in 0..2 {
            writes.reached().await; // both have read which chunks are open
        }
        writes.release();
        writes.release();
        for work in works {
            assert_eq!(work.await.unwrap(), 0);
        }
        assert_eq!(service.waiting(&service.running.queue_url).await, 4);
    }
}

#[tokio::test]
async fn a_fan_out_whose_response_was_lost_still_sends() {
    let service = with_large_task().await;
    service.wire.next(WRITE_TASK, Fault::ResponseLost);
    assert_eq!(service.work_once().await, 1);
    assert_eq!(on_the_queue(&service).await, 4);
}

#[tokio::test]
async fn a_fan_out_of_an_earlier_attempt_sends_nothing_and_begins_nothing() {
    let service = with_large_task().await;
    let write = service.wire.hold(WRITE_TASK);
    let work = service.start_work();
    write.reached().await; // it has read the first attempt
    service.cancel("task_id=large").await.ok();
    service.restart("task_id=large").await.ok();
    write.release();
    work.await.unwrap();
    assert_eq!(service.task("large").await["status"], "pending");
    assert_eq!(
        on_the_queue(&service).await,
        1,
        "the message of the restart"
    );
}

#[tokio::test]
async fn a_chunk_that_is_claimed_is_not_sent_in_a_new_attempt_either() {
    let service = fanned_out().await;
    let delete = service.wire.hold(DELETE);
    let work = service.start_delivery(CHUNKS[1]);
    delete.reached().await;
    service.cancel("task_id=large").await.ok();
    service.restart("task_id=large").await.ok();
    assert_eq!(service.work_once().await, 1);
    assert_eq!(on_the_queue(&service).await, 3);
    delete.release();
    work.await.unwrap();
    service.work().await;
    assert_exact(&service, "by both attempts").await;
}

#[tokio::test]
async fn a_chunk_that_was_put_off_is_sent_when_its_time_has_come_and_again_eight_minutes_later() {
    let service = fanned_out().await;
    service.wire.next_times(4, CHECK, FAILING);
    service.deliver(&[CHUNKS[1]]).await;
    service.deliver(&[CHUNKS[0], CHUNKS[2], CHUNKS[3]]).await;
    service.deliver(&[WHOLE]).await;
    assert_eq!(on_the_queue(&service).await, 0);
    for due_in in [60, 480] {
        service
            .assert_due_in(due_in, "put off, or sent and lost")
            .await;
        service.lose_messages().await;
        service.deliver(&[WHOLE]).await;
        assert_eq!(service.lose_messages().await, 1);
    }
    service.deliver(&[CHUNKS[1]]).await;
    assert_exact(&service, "put off").await;
}

#[tokio::test]
async fn a_chunk_whose_worker_died_is_sent_a_second_after_its_lease() {
    let service = fanned_out().await;
    service.deliver(&[CHUNKS[0], CHUNKS[2], CHUNKS[3]]).await;
    let delete = service.wire.hold(DELETE);
    let work = service.start_delivery(CHUNKS[1]);
    delete.reached().await;
    kill(work).await;
    service.deliver(&[WHOLE]).await;
    assert_eq!(on_the_queue(&service).await, 0);
    // The invocation's 30 s, the lease's 10 s more, and that second.
    service.assert_due_in(41, "its worker died").await;
    service.work().await;
    assert_exact(&service, "after the lease").await;
}

/// A task of this many chunks of two objects. None of the objects exists.
async fn with_chunks(count: usize) -> Arc<Service> {
    let service = Service::start_with_chunks_of(2).await;
    service.seed("big", &["another"]).await;
    let body = run_body("big", "large", &ids("o", 2 * count));
    service.run(&body).await.ok();
    service.lose_messages().await;
    Arc::new(service)
}

#[tokio::test]
async fn all_chunks_are_sent_ten_at_a_time_however_many_there_are() {
    let service = with_chunks(121).await;
    for (fan_out, due_in) in [("the first", 60), ("a later one", 120)] {
        service.wire.calls();
        service.deliver(&[WHOLE]).await;
        assert_eq!(service.wire.count(SEND_BATCH), 13, "{fan_out}");
        assert_eq!(service.lose_messages().await, 121, "{fan_out}");
        service.assert_due_in(due_in, fan_out).await;
        service.lose_messages().await;
    }
    service.deliver(&[WHOLE]).await;
    service.work().await;
    let task = service.task("large").await;
    assert_eq!(
        (&task["status"], progress(&task)),
        (&"done".into(), (0, 242, 0))
    );
}

#[tokio::test]
async fn chunks_that_the_queue_does_not_take_or_for_which_there_is_no_time_are_sent_in_a_minute() {
    // What goes wrong once the fan-out is stored, how many messages the queue takes, and after how
    // many seconds the rest is sent.
    type Trouble = fn(&Service);
    let troubles: [(&str, Trouble, usize, i64); 4] = [
        (
            "a batch is refused",
            |service| service.wire.next(SEND_BATCH, DENIED),
            2,
            60,
        ),
        (
            "a batch is taken in part",
            |service| service.wire.next(SEND_BATCH, Fault::OnlyFirst),
            3,
            60,
        ),
        (
            "no batch arrives",
            |service| {
                service
                    .wire
                    .next_times(usize::MAX, SEND_BATCH, Fault::Unsent)
            },
            0,
            60,
        ),
        (
            "no time",
            |service| service.pass(TimeDelta::seconds(29)), // of the invocation's 30
            0,
            31,
        ),
    ];
    for (story, trouble, taken, due_in) in troubles {
        let service = with_chunks(12).await;
        let written = service.wire.hold_response(WRITE_TASK);
        let work = service.start_delivery(WHOLE);
        written.reached().await;
        trouble(&service);
        let lines = Lines::capture();
        written.release();
        assert_eq!(work.await.unwrap(), 0, "{story}: acknowledged");
        let line = &lines.take()[0];
        assert_eq!(
            (&line["sent"], &line["unsent"]),
            (&taken.into(), &(12 - taken).into())
        );
        service.wire.heal();
        let sent = service.lose_messages().await;
        assert_eq!(sent, taken, "{story}");
        service.assert_due_in(due_in, story).await;
        service.work_once().await;
        assert_eq!(service.lose_messages().await, 12, "{story}");
    }
}

#[tokio::test]
async fn a_task_whose_chunks_were_all_sent_lately_is_read_and_not_written() {
    let service = fanned_out().await;
    assert_eq!(service.deliver(&[WHOLE]).await, 0);
    assert_eq!(service.wire.calls(), [GET_TASK, READ_CHUNKS]);
}

#[tokio::test]
async fn a_task_that_is_restarted_while_a_fan_out_ends_it_is_not_ended() {
    let service = restarted_with_nothing_left().await;
    let reads = service.wire.hold_times(2, GET_TASK);
    let work = service.start_delivery(WHOLE_AGAIN);
    reads.reached().await;
    reads.release();
    reads.reached().await; // the worker has begun the task, and reads it to end it
    service.cancel("task_id=large").await.ok();
    service.restart("task_id=large&scope=all").await.ok();
    service.wire.calls();
    reads.release();
    assert_eq!(work.await.unwrap(), 0);
    assert!(service.wire.calls().is_empty(), "nothing is written");
    service.work().await;
    assert_eq!(progress(&service.task("large").await), (0, 7, 0));
}
