//! The sweeper: messages that were lost, work that waits, sweepers that meet.

use chrono::TimeDelta;
use std::sync::Arc;
use tests::wire::Fault;
use tests::{Service, example};

const WRITE_TASK: &str = "DynamoDB.UpdateItem";
const SEND: &str = "SQS.SendMessage";

#[tokio::test]
async fn a_task_whose_message_could_not_be_sent_is_created_and_swept_up() {
    let service = Service::start().await;
    service.wire.next_times(2, SEND, Fault::Unsent);
    service.run(&example()).await.ok();
    assert_eq!(service.work_once().await, 0);
    assert_eq!(service.sweep().await, 0, "it is not due yet");
    service.pass(TimeDelta::seconds(61));
    assert_eq!(service.sweep().await, 1);
    assert_eq!(service.sweep().await, 0, "once is enough");
    service.work().await;
    service.assert_documented_outcome("send failed").await;
}

#[tokio::test]
async fn a_backlog_is_sent_again_ever_more_slowly_and_never_fails() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    let mut sent = 0;
    for _ in 0..24 * 6 {
        service.pass(TimeDelta::minutes(10));
        sent += service.sweep().await;
    }
    assert!(
        (20..40).contains(&sent),
        "{sent} messages in a day without a worker"
    );
    service.work().await;
    service.assert_documented_outcome("a day late").await;
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
async fn a_sweeper_whose_answer_was_lost_still_sends() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.lose_messages().await;
    service.pass(TimeDelta::minutes(2));
    service.wire.next(WRITE_TASK, Fault::AnswerLost);
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
