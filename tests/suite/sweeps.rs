//! The sweeper: lost messages, waiting work, sweeps in which calls fail or time runs out, and
//! concurrent sweeps.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use local::NAME;
use serde_json::Value;
use std::sync::Arc;
use tests::lines::Lines;
use tests::queue::{Queue, Receive};
use tests::wire::{
    DENIED, Fault, THROTTLING,
    call::{CHECK, DELETE, GET_TASK, QUERY, SEND, SEND_BATCH, WRITE_TASK},
};
use tests::{DEMO_INDEX, Service, example, ids, run_body};

/// A service whose index has one partition for each status, so that the order of the sweeper's
/// queries is known.
async fn with_one_shard() -> Arc<Service> {
    Arc::new(Service::start_with(vec![("LIST_SHARDS", "1")]).await)
}

/// Creates tasks of one object each, and loses their messages.
async fn leave_pending(service: &Service, task_ids: &[impl AsRef<str>]) {
    for id in task_ids {
        let body = run_body(DEMO_INDEX, id.as_ref(), &["obj-1"]);
        service.run(&body).await.ok();
    }
    service.lose_messages().await;
}

/// Creates tasks of one object each, whose deletes are throttled. So they are `processing` and due
/// in a minute.
async fn leave_processing(service: &Service, task_ids: &[impl AsRef<str>]) {
    for id in task_ids {
        let body = run_body(DEMO_INDEX, id.as_ref(), &["obj-3"]);
        service.run(&body).await.ok();
    }
    service.wire.next_times(usize::MAX, DELETE, THROTTLING);
    service.work().await;
    service.wire.heal();
}

/// Takes the messages off the queue. Returns the ids of their tasks, in order.
async fn take_sent(service: &Service) -> Vec<String> {
    let queue = Queue::of(&service.running);
    let messages = queue.receive(Receive::default()).await;
    queue.delete(&messages).await;
    let bodies = messages.iter().map(|message| message.body().unwrap());
    let bodies = bodies.map(|body| serde_json::from_str::<Value>(body).unwrap());
    bodies
        .map(|body| body["task_id"].as_str().unwrap().to_owned())
        .collect()
}

/// Sweeps, and lets this time pass while the first batch is sent. Returns the number of tasks that
/// were sent.
async fn sweep_with_a_send_of(service: &Arc<Service>, seconds: i64) -> usize {
    let sending = service.wire.hold(SEND_BATCH);
    let sweep = service.start_sweep();
    sending.reached().await;
    service.pass(TimeDelta::seconds(seconds));
    sending.release();
    sweep.await.unwrap()
}

#[tokio::test]
async fn a_task_whose_message_could_not_be_sent_is_due_a_minute_after_its_create_or_restart() {
    let service = Service::start().await;
    service.wire.next_times(2, SEND, Fault::Unsent);
    service.run(&example()).await.ok();
    assert_eq!(service.work_once().await, 0);
    service.assert_due_in(60, "created").await;
    assert_eq!(service.sweep().await, 0, "once is enough");
    service.lose_messages().await;
    service.assert_due_in(120, "created, and lost again").await;
    service.work().await;
    service.assert_documented_outcome("send failed").await;

    service.wire.next_times(2, SEND, Fault::Unsent);
    service.restart("task_id=delete-xyz").await.ok();
    service.assert_due_in(60, "restarted").await;
    service.lose_messages().await;
    service
        .assert_due_in(120, "restarted, and lost again")
        .await;
    service.work().await;
    assert_eq!(service.task("delete-xyz").await["status"], "done");
}

#[tokio::test]
async fn a_backlog_is_sent_again_ever_more_slowly_up_to_once_an_hour_and_never_fails() {
    for objects in [2, 7] {
        let story = format!("{objects} objects");
        let service = Service::start_with_chunks_of(2).await;
        service.seed("index", &ids("o", objects)).await;
        let body = run_body("index", "t", &ids("o", objects));
        service.run(&body).await.ok();
        let is_large = objects > 2;
        if is_large {
            service.work_once().await; // it fans out
        }
        service.lose_messages().await;
        for seconds in [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] {
            service.assert_due_in(seconds, &story).await;
            if is_large {
                service.work_once().await;
            }
            let lost = service.lose_messages().await;
            assert_eq!(lost, if is_large { 4 } else { 1 }, "{story}");
        }
        service.assert_due_in(3600, &story).await;
        service.work().await;
        let task = service.task("t").await;
        assert_eq!(task["status"], "done", "{story}");
        assert_eq!(task["progress"]["deleted"], objects, "{story}");

        // A restart resets the delays.
        service.restart("task_id=t&scope=all").await.ok();
        if is_large {
            service.work_once().await;
        }
        service.lose_messages().await;
        for seconds in [60, 120] {
            service.assert_due_in(seconds, &story).await;
            if is_large {
                service.work_once().await;
            }
            service.lose_messages().await;
        }
    }
}

#[tokio::test]
async fn after_progress_the_sweeper_comes_as_soon_as_to_a_new_task() {
    for (objects, due_after_progress) in [(2, 0), (7, 60)] {
        let story = format!("{objects} objects");
        let service = Service::start_with_chunks_of(2).await;
        // One object of the first chunk does not exist. Finding that out is progress.
        service.seed("index", &ids("o", objects)[1..]).await;
        let body = run_body("index", "t", &ids("o", objects));
        service.run(&body).await.ok();
        let message = if objects > 2 {
            service.work_once().await; // it fans out
            r#"{"task_id":"t","attempt":1,"chunk":0}"#
        } else {
            r#"{"task_id":"t","attempt":1}"#
        };
        service.lose_messages().await;
        for seconds in [60, 120, 240] {
            service.assert_due_in(seconds, &story).await;
            service.lose_messages().await;
        }
        service.wire.next_times(usize::MAX, DELETE, THROTTLING);
        service.deliver(&[message]).await;
        service.wire.heal();
        assert_eq!(service.task("t").await["progress"]["failed"], 1, "{story}");
        service.assert_due_in(due_after_progress, &story).await;
        service.lose_messages().await;
        service.assert_due_in(120, &story).await;
    }
}

#[tokio::test]
async fn after_a_try_without_progress_the_sweeper_comes_ever_more_slowly() {
    let service = Service::start().await;
    service.seed("index", &["o"]).await;
    service.run(&run_body("index", "t", &["o"])).await.ok();
    service.lose_messages().await;
    service.assert_due_in(60, "its message was lost").await;
    service.wire.next_times(usize::MAX, DELETE, THROTTLING);
    service.work_once_within(TimeDelta::seconds(4)).await;
    service.wire.heal();
    service.assert_due_in(60, "it was throttled").await;
    service.lose_messages().await;
    service.assert_due_in(240, "it was sent twice before").await;
}

#[tokio::test]
async fn a_large_task_whose_chunks_are_all_throttled_is_tried_again_every_eight_minutes() {
    let service = Service::start_with_chunks_of(2).await;
    let objects = ids("o", 4);
    service.seed("index", &objects).await;
    service.run(&run_body("index", "t", &objects)).await.ok();
    service.wire.next_times(usize::MAX, CHECK, THROTTLING);
    let mut last_try = service.now();
    let mut longest_wait = TimeDelta::zero();
    for _ in 0..45 {
        let began = service.now();
        service.sweep().await;
        service.wire.calls();
        service.work().await;
        if service.wire.calls().iter().any(|call| call == CHECK) {
            longest_wait = longest_wait.max(began - last_try);
            last_try = began;
        }
        // On this clock the worker's backoff takes some of the minute.
        service.pass(began + TimeDelta::seconds(60) - service.now());
    }
    // The eight minutes begin after the backoff, and end before the next sweep.
    assert!(longest_wait <= TimeDelta::minutes(10), "{longest_wait}");
    service.wire.heal();
    for _ in 0..10 {
        service.pass(TimeDelta::seconds(60));
        service.sweep().await;
        service.work().await;
    }
    assert_eq!(service.task("t").await["status"], "done");
}

#[tokio::test]
async fn a_sweep_goes_through_all_pages_of_all_partitions_also_past_those_with_nothing_due() {
    let service = with_one_shard().await;
    leave_pending(&service, &["first"]).await;
    service.assert_due_in(60, "first").await; // and again 120 s later
    service.lose_messages().await;
    leave_processing(&service, &["a", "b", "c"]).await;
    leave_pending(&service, &["d", "e"]).await;
    service.pass(TimeDelta::seconds(60));
    service.wire.next_times(usize::MAX, QUERY, Fault::Paged(1));
    let report = service.sweep_within(TimeDelta::seconds(60)).await;
    assert_eq!((report.due, report.sent), (5, 5));
}

#[tokio::test]
async fn a_query_that_fails_leaves_one_partition_to_the_next_sweep_and_no_other() {
    // A sweep has three queries: for the oldest pending task, for processing tasks and for pending
    // tasks.
    for (before, sent) in [(0, 2), (1, 1), (2, 1)] {
        let service = with_one_shard().await;
        leave_processing(&service, &["a"]).await;
        leave_pending(&service, &["b"]).await;
        service.pass(TimeDelta::seconds(60));
        let succeed = service.wire.hold_times(before, QUERY);
        for _ in 0..before {
            succeed.release();
        }
        service.wire.next(QUERY, DENIED);
        let report = service.sweep_within(TimeDelta::seconds(60)).await;
        assert_eq!((report.errors, report.sent), (1, sent), "query {before}");
        assert_eq!(service.sweep().await, 2 - sent, "the next sweep");
    }
}

#[tokio::test]
async fn a_task_that_cannot_be_taken_over_is_left_to_the_next_sweep_and_no_other() {
    let service = with_one_shard().await;
    leave_pending(&service, &ids("t", 5)).await;
    service.pass(TimeDelta::seconds(60));
    service.wire.next(WRITE_TASK, DENIED);
    let report = service.sweep_within(TimeDelta::seconds(60)).await;
    assert_eq!((report.errors, report.sent), (1, 4));
    assert_eq!(service.sweep().await, 1);
}

#[tokio::test]
async fn more_due_tasks_than_a_batch_holds_are_sent_ten_at_a_time() {
    let service = with_one_shard().await;
    leave_pending(&service, &ids("t", 21)).await;
    service.pass(TimeDelta::seconds(60));
    service.wire.calls();
    assert_eq!(service.sweep().await, 21);
    let calls = service.wire.calls();
    let batches = calls.iter().filter(|call| *call == SEND_BATCH).count();
    assert_eq!(batches, 3);
    assert_eq!(service.lose_messages().await, 21);
}

#[tokio::test]
async fn tasks_that_were_taken_over_and_not_sent_are_due_again_two_minutes_later() {
    for (fault, taken) in [(DENIED, 0), (Fault::OnlyFirst, 1)] {
        let service = with_one_shard().await;
        leave_pending(&service, &ids("t", 12)).await;
        service.pass(TimeDelta::seconds(60));
        // There are two batches. SQS takes this many messages of the first one, and both of the
        // second one.
        service.wire.next(SEND_BATCH, fault);
        let report = service.sweep_within(TimeDelta::seconds(60)).await;
        assert_eq!(report.sent, taken + 2);
        assert!(report.errors > 0);
        service.pass(TimeDelta::seconds(119));
        assert_eq!(service.sweep().await, 0);
        service.pass(TimeDelta::seconds(1));
        assert_eq!(service.sweep().await, 12, "as nobody has worked");
    }
}

#[tokio::test]
async fn a_task_whose_sweeper_dies_before_it_sends_is_due_again_two_minutes_later() {
    let service = with_one_shard().await;
    leave_pending(&service, &["t"]).await;
    service.pass(TimeDelta::seconds(60));
    let send = service.wire.hold(SEND_BATCH);
    let sweep = service.start_sweep();
    send.reached().await;
    sweep.abort();
    let _ = sweep.await;
    service.assert_due_in(120, "its sweeper died").await;
}

#[tokio::test]
async fn with_less_than_33_seconds_left_a_sweep_begins_no_further_batch() {
    let service = with_one_shard().await;
    leave_processing(&service, &ids("t", 21)).await;
    service.pass(TimeDelta::seconds(60));
    let sweep = async |seconds| {
        let report = service.sweep_within(TimeDelta::seconds(seconds)).await;
        report.sent
    };
    assert_eq!(sweep(32).await, 10);
    assert_eq!(sweep(33).await, 11);
}

#[tokio::test]
async fn a_partition_with_much_to_send_leaves_half_of_the_time_to_the_other() {
    let service = with_one_shard().await;
    leave_processing(&service, &ids("a", 21)).await;
    leave_pending(&service, &ids("b", 5)).await;
    service.pass(TimeDelta::seconds(60));
    // This is more than half of the 27 seconds in which the sweep may begin something.
    assert_eq!(sweep_with_a_send_of(&service, 18).await, 10 + 5);
    service.lose_messages().await;
    service.pass(TimeDelta::hours(1)); // what was sent is due again
    assert_eq!(service.sweep().await, 11 + 5, "it goes on where it stopped");
}

#[tokio::test]
async fn when_its_time_is_over_a_sweep_reads_no_further_page() {
    for (seconds, sent) in [(27, 2), (28, 1)] {
        let mut service = Service::start_with(vec![("LIST_SHARDS", "1")]).await;
        service.bound_sweeps(10, 1);
        let service = Arc::new(service);
        leave_pending(&service, &ids("t", 2)).await;
        service.pass(TimeDelta::seconds(60));
        let swept = sweep_with_a_send_of(&service, seconds).await;
        assert_eq!(swept, sent, "after {seconds} s");
    }
}

/// A service with one shard whose sweeps read one row of the processing tasks and one of the
/// pending tasks.
async fn that_reads_one_row() -> Arc<Service> {
    let mut service = Service::start_with(vec![("LIST_SHARDS", "1")]).await;
    service.bound_sweeps(2, 1);
    Arc::new(service)
}

#[tokio::test]
async fn a_sweep_goes_on_where_the_last_one_stopped_until_the_newest_is_sent_though_the_oldest_is_due_again()
 {
    let service = that_reads_one_row().await;
    leave_pending(&service, &ids("t", 4)).await;
    for task in ids("t", 4) {
        // The tasks that were sent before are due again.
        service.pass(TimeDelta::hours(1));
        assert_eq!(service.sweep().await, 1);
        assert_eq!(take_sent(&service).await, [task]);
    }
    service.pass(TimeDelta::hours(1));
    assert_eq!(service.sweep().await, 0, "it comes to the end");
    assert_eq!(service.sweep().await, 1, "and begins anew");
}

#[tokio::test]
async fn neither_what_is_processing_nor_what_is_pending_waits_for_the_other() {
    let service = that_reads_one_row().await;
    leave_processing(&service, &ids("a", 3)).await;
    leave_pending(&service, &ids("b", 3)).await;
    service.pass(TimeDelta::seconds(60));
    for sweep in 0..3 {
        assert_eq!(service.sweep().await, 2, "one of each in sweep {sweep}");
        service.pass(TimeDelta::seconds(1));
    }
}

#[tokio::test]
async fn what_one_partition_does_not_read_is_for_those_after_it() {
    let mut service = Service::start_with(vec![("LIST_SHARDS", "1")]).await;
    service.bound_sweeps(6, 1);
    leave_pending(&service, &ids("t", 7)).await;
    service.pass(TimeDelta::seconds(60));
    // No task is processing, so five pages are left.
    assert_eq!(service.sweep().await, 5);
    assert_eq!(service.sweep().await, 2);

    // At first the sweep does not know that nothing is pending.
    leave_processing(&service, &ids("p", 8)).await;
    service.pass(TimeDelta::seconds(60));
    service.lose_messages().await;
    assert_eq!(service.sweep().await, 3);
    assert_eq!(service.sweep().await, 5);
}

#[tokio::test]
async fn a_sweep_that_comes_to_the_end_of_every_partition_stores_nothing() {
    let service = Service::start().await;
    leave_pending(&service, &["t"]).await;
    service.pass(TimeDelta::seconds(60));
    service.wire.calls();
    assert_eq!(service.sweep().await, 1);
    assert_eq!(service.wire.count(WRITE_TASK), 1, "the task is taken over");
    assert_eq!(service.stored_items().await, 1);
}

#[tokio::test]
async fn a_sweep_that_gets_no_further_stores_nothing() {
    let service = that_reads_one_row().await;
    leave_pending(&service, &ids("t", 3)).await;
    service.pass(TimeDelta::seconds(60));
    assert_eq!(service.sweep().await, 1);
    service.wire.calls();
    service.wire.next_times(usize::MAX, QUERY, DENIED);
    service.sweep_within(TimeDelta::seconds(60)).await;
    assert_eq!(service.wire.count(WRITE_TASK), 0);
}

#[tokio::test]
async fn a_sweeps_line_says_whether_a_part_is_left_to_the_next_sweep() {
    let service = that_reads_one_row().await;
    let lines = Lines::capture();
    let cut_short = || lines.take().pop().unwrap()["cut_short"].clone();
    service.sweep().await;
    assert_eq!(cut_short(), false, "nothing is there");
    leave_pending(&service, &["a"]).await;
    service.sweep().await;
    assert_eq!(cut_short(), true, "there may be more rows");
    service.sweep().await;
    assert_eq!(cut_short(), false, "there are none");

    let service = with_one_shard().await;
    leave_processing(&service, &["a"]).await;
    service.pass(TimeDelta::seconds(60));
    // All of the sweep's time.
    assert_eq!(sweep_with_a_send_of(&service, 28).await, 1);
    assert_eq!(cut_short(), true, "nobody has read the pending tasks");
}

#[tokio::test]
async fn a_sweeper_that_dies_before_it_stores_where_it_stopped_loses_nothing() {
    let service = that_reads_one_row().await;
    leave_pending(&service, &ids("t", 3)).await;
    service.pass(TimeDelta::seconds(60));
    let writes = service.wire.hold_times(2, WRITE_TASK);
    let sweep = service.start_sweep();
    writes.reached().await;
    writes.release(); // the task is taken over, and sent
    writes.reached().await;
    sweep.abort();
    let _ = sweep.await;
    service.wire.heal();
    for sent in [0, 1, 1, 0] {
        assert_eq!(service.sweep().await, sent);
    }
    assert_eq!(service.lose_messages().await, 3);
}

#[tokio::test]
async fn a_sweep_comes_back_to_a_page_that_was_throttled_and_does_not_keep_the_others_from_moving_on()
 {
    let service = that_reads_one_row().await;
    leave_processing(&service, &ids("a", 4)).await;
    leave_pending(&service, &ids("b", 4)).await;
    service.pass(TimeDelta::seconds(60));
    assert_eq!(service.sweep().await, 2);
    let oldest = service.wire.hold(QUERY);
    oldest.release();
    let throttled = Fault::Refused(400, "ProvisionedThroughputExceededException");
    service.wire.next_times(3, QUERY, throttled); // the SDK's tries
    let report = service.sweep_within(TimeDelta::seconds(60)).await;
    assert_eq!((report.errors, report.sent), (1, 2));
    service.lose_messages().await;
    assert_eq!(service.sweep().await, 2);
    let sent = take_sent(&service).await;
    assert_eq!(sent, ["a-1", "b-3"], "the page that was throttled, too");
}

#[tokio::test]
async fn a_slow_sweep_does_not_move_back_where_later_ones_have_stopped() {
    let service = that_reads_one_row().await;
    leave_pending(&service, &ids("t", 3)).await;
    service.pass(TimeDelta::seconds(60));
    let writes = service.wire.hold_times(2, WRITE_TASK);
    let slow = service.start_sweep();
    writes.reached().await;
    writes.release();
    writes.reached().await; // it is about to store that it stopped after the first task
    service.wire.heal();
    assert_eq!(service.sweep().await, 0, "the first was sent");
    assert_eq!(service.sweep().await, 1, "the second");
    writes.release();
    assert_eq!(slow.await.unwrap(), 1);
    assert_eq!(service.sweep().await, 1, "the third");
}

#[tokio::test]
async fn a_sweep_whose_place_cannot_be_read_begins_in_every_partition_and_leaves_the_place_as_it_is()
 {
    let service = that_reads_one_row().await;
    leave_pending(&service, &ids("t", 3)).await;
    service.pass(TimeDelta::seconds(60));
    assert_eq!(service.sweep().await, 1);
    service.pass(TimeDelta::minutes(2)); // the first is due again
    service.wire.next(GET_TASK, DENIED);
    let report = service.sweep_within(TimeDelta::seconds(60)).await;
    assert_eq!((report.errors, report.sent), (1, 1), "the first");
    service.lose_messages().await;
    assert_eq!(service.sweep().await, 1);
    assert_eq!(take_sent(&service).await, ["t-1"]);
}

#[tokio::test]
async fn a_place_that_is_damaged_or_of_no_partition_is_begun_anew_and_one_of_a_deleted_task_is_gone_on_after()
 {
    let list = |entries: &[&str]| {
        let entries = entries.iter().map(|&entry| AttributeValue::S(entry.into()));
        AttributeValue::L(entries.collect())
    };
    let too_long = format!("pending#0 2024-05-21T12:00:00Z#{}", "x".repeat(2000));
    let cases = [
        (list(&["pending#7 2024-05-21T12:00:00Z#t-0"]), 3),
        (list(&["done#0 2024-05-21T12:00:00Z#t-0"]), 3),
        (list(&["pending#0 noon"]), 3),
        (list(&["pending#0"]), 3),
        (list(&[&too_long]), 3),
        (AttributeValue::S("pending#0".to_owned()), 3),
        (
            AttributeValue::L(vec![AttributeValue::N("7".to_owned())]),
            3,
        ),
        (list(&["pending#0 2024-05-21T12:00:00Z#t-00"]), 2),
    ];
    for (stored, sent) in cases {
        let story = format!("{stored:?}");
        let service = with_one_shard().await;
        leave_pending(&service, &ids("t", 3)).await;
        service.pass(TimeDelta::seconds(60));
        let put = service.running.clients.dynamodb.put_item();
        let put = put.table_name(NAME).item("positions", stored);
        let put = put.item("pk", AttributeValue::S("SWEEP".to_owned()));
        put.send().await.unwrap();
        assert_eq!(service.sweep().await, sent, "{story}");
        assert_eq!(service.sweep().await, 3 - sent, "{story}");
    }
}

#[tokio::test]
async fn two_sweepers_at_once_send_a_due_task_once() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    service.lose_messages().await;
    service.pass(TimeDelta::minutes(2));
    let taken = [service.wire.hold(WRITE_TASK), service.wire.hold(WRITE_TASK)];
    let sweeps = [service.start_sweep(), service.start_sweep()];
    for held in &taken {
        held.reached().await; // both have read that it is due
    }
    for held in &taken {
        held.release();
    }
    let mut sent = 0;
    for sweep in sweeps {
        sent += sweep.await.unwrap();
    }
    assert_eq!(sent, 1);
}

#[tokio::test]
async fn a_sweeper_whose_response_was_lost_still_sends() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.lose_messages().await;
    service.pass(TimeDelta::minutes(2));
    service.wire.next(WRITE_TASK, Fault::ResponseLost);
    assert_eq!(service.sweep().await, 1);
    service.work().await;
    service.assert_documented_outcome("swept").await;
}

#[tokio::test]
async fn what_moves_while_the_sweeper_looks_is_left_alone() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    service.pass(TimeDelta::minutes(2));
    let taken = service.wire.hold(WRITE_TASK);
    let sweep = service.start_sweep();
    taken.reached().await; // it has read that the task is due
    service.work().await;
    let done = service.task("delete-xyz").await;
    taken.release();
    assert_eq!(sweep.await.unwrap(), 0);
    assert_eq!(service.task("delete-xyz").await, done);
}
