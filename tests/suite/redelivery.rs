//! Messages that the worker does not finish: when they come back, and that the work can then
//! continue.

use aws_sdk_sqs::types::QueueAttributeName;
use chrono::TimeDelta;
use std::sync::Arc;
use tests::wire::Fault;
use tests::wire::call::{DELETE, GET_TASK, RETURN, WRITE_TASK};
use tests::{Service, example};

const FIRST_ATTEMPT: &str = r#"{"task_id":"delete-xyz","attempt":1}"#;
const THROTTLED: Fault = Fault::Refused(400, "ThrottlingException");

async fn with_a_task() -> Arc<Service> {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    service
}

#[tokio::test]
async fn work_that_there_was_no_time_to_begin_comes_back_in_seconds() {
    let service = with_a_task().await;
    service.work_once_within(TimeDelta::seconds(1)).await;
    let delays = service.wire.delays();
    assert!(matches!(delays[..], [1..=5]), "{delays:?}");
    service.deliver(&[FIRST_ATTEMPT]).await;
    service.assert_documented_outcome("handed back").await;
}

#[tokio::test]
async fn a_task_that_cannot_be_read_comes_back_when_dynamodb_had_time_to_recover() {
    let service = with_a_task().await;
    service.wire.next_times(usize::MAX, GET_TASK, THROTTLED);
    service.work_once().await;
    let delays = service.wire.delays();
    assert!(matches!(delays[..], [5..=15]), "{delays:?}");
}

#[tokio::test]
async fn a_message_whose_claim_was_not_settled_comes_back_when_its_lease_is_over() {
    let service = with_a_task().await;
    let delete = service.wire.hold(DELETE);
    let work = service.start_work();
    delete.reached().await;
    service.wire.next_times(usize::MAX, WRITE_TASK, THROTTLED);
    delete.release();
    work.await.unwrap();
    service.wire.heal();
    // The invocation has 30 seconds, the lease ten more.
    assert_eq!(service.wire.delays(), [41]);

    service.pass(TimeDelta::seconds(39));
    service.deliver(&[FIRST_ATTEMPT]).await;
    let task = service.task("delete-xyz").await;
    assert_eq!(task["status"], "processing", "the lease is in force");
    service.pass(TimeDelta::seconds(2));
    service.deliver(&[FIRST_ATTEMPT]).await;
    service.assert_documented_outcome("after the lease").await;
}

#[tokio::test]
async fn a_claim_whose_response_was_lost_counts_as_one_that_was_made() {
    let service = with_a_task().await;
    service.wire.next_times(usize::MAX, WRITE_TASK, THROTTLED);
    service.work_once().await;
    assert_eq!(service.wire.delays(), [41]);
}

#[tokio::test]
async fn messages_that_end_together_are_returned_by_one_call() {
    let service = Service::start().await;
    for number in 0..4 {
        let mut body = example();
        body["task_id"] = format!("task-{number}").into();
        service.run(&body).await.ok();
    }
    service.wire.calls();
    service.wire.next_times(
        usize::MAX,
        GET_TASK,
        Fault::Refused(400, "AccessDeniedException"),
    );
    assert_eq!(service.work_once().await, 4);
    assert_eq!(service.wire.delays().len(), 4);
    let calls = service.wire.count(RETURN);
    assert!(calls < 4, "{calls}");
}

#[tokio::test]
async fn a_message_that_cannot_be_told_when_to_come_back_is_not_acknowledged() {
    let service = with_a_task().await;
    service.wire.next_times(usize::MAX, GET_TASK, THROTTLED);
    service.wire.next_times(usize::MAX, RETURN, Fault::Unsent);
    assert_eq!(service.work_once().await, 1);
    let name = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
    let ask = service.running.clients.sqs.get_queue_attributes();
    let ask = ask.queue_url(&service.running.queue_url);
    let found = ask.attribute_names(name.clone()).send().await.unwrap();
    assert_eq!(found.attributes.unwrap()[&name], "1");
}
