//! Lost messages, lost answers, dead workers, and stores that fail.

use chrono::TimeDelta;
use std::sync::Arc;
use tests::wire::Fault;
use tests::{DEMO_INDEX, Service, example, ids, run_body};

const PUT_TASK: &str = "DynamoDB.PutItem";
const GET_TASK: &str = "DynamoDB.GetItem";
const WRITE_TASK: &str = "DynamoDB.UpdateItem";
const SEND: &str = "SQS.SendMessage";
const LOOK: &str = "S3Vectors.GetVectors";
const DELETE: &str = "S3Vectors.DeleteVectors";

const FAILING: Fault = Fault::Refused(503, "ServiceUnavailableException");
const THROTTLING: Fault = Fault::Refused(429, "TooManyRequestsException");

/// Time passes, the sweeper runs, the worker works: what happens by itself once faults stop.
async fn recover(service: &Service) {
    service.wire.heal();
    for _ in 0..12 {
        service.pass(TimeDelta::hours(1));
        service.sweep().await;
        service.work().await;
    }
}

async fn assert_documented_outcome(service: &Service, story: &str) {
    let task = service.task("delete-xyz").await;
    assert_eq!(task["status"], "done", "{story}");
    assert_eq!(task["progress"]["deleted"], 1, "{story}");
    assert_eq!(task["failed_item_ids"][0]["object_id"], "obj-2", "{story}");
    assert_eq!(
        task["failed_item_ids"][0]["detail"], "Object not found in index",
        "{story}"
    );
    assert!(
        service.present(DEMO_INDEX, &["obj-1"]).await.is_empty(),
        "{story}"
    );
}

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
    assert_documented_outcome(&service, "send failed").await;
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
    assert_documented_outcome(&service, "a day late").await;
}

#[tokio::test]
async fn a_worker_that_dies_at_any_call_loses_nothing_and_counts_nothing_twice() {
    let moments = [
        (GET_TASK, 1),
        (LOOK, 1),
        (WRITE_TASK, 1),
        (DELETE, 1),
        (WRITE_TASK, 2),
    ];
    for (call, time) in moments {
        for after in [false, true] {
            let story = format!(
                "dies {} call {time} of {call}",
                if after { "after" } else { "before" }
            );
            let service = Arc::new(Service::start().await);
            service.run(&example()).await.ok();
            let hold = || match after {
                false => service.wire.hold(call),
                true => service.wire.hold_answer(call),
            };
            let first = (time > 1).then(|| service.wire.hold(call));
            let last = hold();
            let work = tokio::spawn({
                let service = Arc::clone(&service);
                async move {
                    service
                        .deliver(&[r#"{"task_id":"delete-xyz","attempt":1}"#])
                        .await
                }
            });
            if let Some(first) = first {
                first.reached().await;
                first.release();
            }
            last.reached().await;
            work.abort();
            assert!(work.await.unwrap_err().is_cancelled(), "{story}");
            service.lose_messages().await;
            recover(&service).await;
            assert_documented_outcome(&service, &story).await;
        }
    }
}

#[tokio::test]
async fn what_a_dead_worker_saw_and_deleted_stays_deleted_across_cancel_and_restart() {
    for scope in ["", "&scope=all"] {
        let service = Arc::new(Service::start().await);
        service.run(&example()).await.ok();
        let deleted = service.wire.hold_answer(DELETE);
        let work = tokio::spawn({
            let service = Arc::clone(&service);
            async move { service.work_once().await }
        });
        deleted.reached().await;
        work.abort();
        service.cancel("task_id=delete-xyz").await.ok();
        assert_eq!(service.task("delete-xyz").await["progress"]["remaining"], 2);
        service
            .restart(&format!("task_id=delete-xyz{scope}"))
            .await
            .ok();
        recover(&service).await;
        assert_documented_outcome(&service, scope).await;
    }
}

#[tokio::test]
async fn an_object_that_somebody_puts_back_after_a_crash_is_deleted_again() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    let deleted = service.wire.hold_answer(DELETE);
    let work = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.work_once().await }
    });
    deleted.reached().await;
    work.abort();
    service.insert(DEMO_INDEX, &["obj-1"]).await;
    recover(&service).await;
    assert_documented_outcome(&service, "put back").await;
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_counts_once() {
    for call in [PUT_TASK, WRITE_TASK, SEND] {
        let service = Service::start().await;
        service.wire.next(call, Fault::AnswerLost);
        let created = service.run(&example()).await;
        assert_eq!(
            created.header("idempotent-replayed"),
            None,
            "{call}: it was this call"
        );
        created.ok();
        service.work().await;
        assert_documented_outcome(&service, call).await;
        assert_eq!(service.work_once().await, 0);
    }
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.wire.next_times(2, WRITE_TASK, Fault::AnswerLost); // the claim's, and then the settlement's
    let claim_and_settle = service.work_once().await;
    assert_eq!(claim_and_settle, 1);
    assert_documented_outcome(&service, "claim sent again").await;
}

#[tokio::test]
async fn a_settlement_whose_answer_was_lost_is_success() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    let delete = service.wire.hold(DELETE);
    let work = tokio::spawn({
        let service = Arc::clone(&service);
        async move {
            service
                .deliver(&[r#"{"task_id":"delete-xyz","attempt":1}"#])
                .await
        }
    });
    delete.reached().await;
    service.wire.next(WRITE_TASK, Fault::AnswerLost);
    delete.release();
    assert_eq!(work.await.unwrap(), 0, "acknowledged");
    assert_documented_outcome(&service, "settlement sent again").await;
}

#[tokio::test]
async fn a_restart_or_cancel_whose_answer_was_lost_acts_once_and_succeeds() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.wire.next(WRITE_TASK, Fault::AnswerLost);
    assert_eq!(
        service.cancel("task_id=delete-xyz").await.ok()["status"],
        "canceled"
    );
    service.wire.next(WRITE_TASK, Fault::AnswerLost);
    let restarted = service.restart("task_id=delete-xyz&attempt=1").await.ok();
    assert_eq!(
        (&restarted["status"], &restarted["attempt"]),
        (&"pending".into(), &2.into())
    );
}

#[tokio::test]
async fn a_restart_sent_again_after_its_task_has_ended_does_not_restart_it_twice() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    service.work().await;
    // The SDK's second send of the same restart is held until the worker has carried out the first.
    service.wire.next(WRITE_TASK, Fault::AnswerLost);
    let again = service.wire.hold(WRITE_TASK);
    let restart = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.restart("task_id=delete-xyz").await.ok() }
    });
    again.reached().await;
    assert_eq!(
        service
            .deliver(&[r#"{"task_id":"delete-xyz","attempt":2}"#])
            .await,
        0
    );
    assert_eq!(service.task("delete-xyz").await["status"], "done");
    again.release();
    assert_eq!(restart.await.unwrap()["attempt"], 2);
    assert_eq!(service.task("delete-xyz").await["attempt"], 2);
}

#[tokio::test]
async fn a_throttling_store_delays_a_task_and_never_fails_it() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    for call in [LOOK, DELETE].into_iter().cycle().take(7) {
        service.wire.next_times(usize::MAX, call, THROTTLING);
        service.work().await;
        service.wire.heal();
        service.pass(TimeDelta::hours(1));
        assert_eq!(service.sweep().await, 1, "{call}");
    }
    service.work().await;
    assert_documented_outcome(&service, "throttled seven times").await;
}

#[tokio::test]
async fn a_store_that_keeps_failing_fails_the_task_with_a_reason_and_a_restart_mends_it() {
    // The first claim finds out that obj-2 is not there: that is progress, and its try does not count.
    for (call, claims) in [(LOOK, 5), (DELETE, 6)] {
        let service = Service::start().await;
        service.run(&example()).await.ok();
        service.wire.next_times(usize::MAX, call, FAILING);
        let mut rounds = 0;
        while !matches!(
            service.task("delete-xyz").await["status"].as_str(),
            Some("failed")
        ) {
            rounds += 1;
            assert!(rounds < 10, "{call}: never failed");
            service.work().await;
            service.pass(TimeDelta::hours(1));
            service.sweep().await;
        }
        assert_eq!(rounds, claims, "{call}");
        let task = service.task("delete-xyz").await;
        let detail = task["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("Gave up after 5 tries: The vector store"),
            "{call}: {detail}"
        );
        assert_eq!(task["progress"]["remaining"], 0, "{call}");
        let failed = task["failed_item_ids"].as_array().unwrap();
        assert!(
            failed.iter().any(|item| item["object_id"] == "obj-1"),
            "{call}: {failed:?}"
        );

        service.wire.heal();
        service.restart("task_id=delete-xyz").await.ok();
        service.work().await;
        assert_documented_outcome(&service, call).await;
    }
}

#[tokio::test]
async fn a_delete_that_was_carried_out_though_its_answer_failed_counts_as_deleted() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service
        .wire
        .next_times(usize::MAX, DELETE, Fault::AnswerLost);
    service.work().await;
    assert_documented_outcome(&service, "answers to deletes are lost").await;
}

#[tokio::test]
async fn a_missing_index_and_a_model_without_a_store_fail_at_once_and_say_so() {
    let stores = r#"{"embed*": "s3vectors://demo/{embedding_model_id}"}"#;
    let service = Service::start_with(vec![("VECTOR_STORES", stores)]).await;
    for (model, detail) in [
        ("embed-999", "Vector index `embed-999` does not exist"),
        (
            "embed no index",
            "Vector index `embed no index` does not exist",
        ),
        (
            "other",
            "No vector store is configured for embedding model `other`",
        ),
    ] {
        let id = model.replace(' ', "-");
        service.run(&run_body(model, &id, &["a", "b"])).await.ok();
        service.work().await;
        let task = service.task(&id).await;
        assert_eq!(
            (&task["status"], &task["detail"]),
            (&"failed".into(), &detail.into())
        );
        assert_eq!(task["progress"]["failed"], 2);
        assert_eq!(task["failed_item_ids"][1]["detail"], detail);
    }
    service.seed("embed-999", &["a"]).await;
    service.restart("task_id=embed-999").await.ok();
    service.work().await;
    let task = service.task("embed-999").await;
    assert_eq!(
        (&task["status"], &task["progress"]["deleted"]),
        (&"done".into(), &1.into())
    );
    assert_eq!(task["detail"], serde_json::Value::Null);
}

#[tokio::test]
async fn denied_access_fails_the_task_without_naming_our_insides() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service
        .wire
        .next(LOOK, Fault::Refused(403, "AccessDeniedException"));
    service.work().await;
    let task = service.task("delete-xyz").await;
    assert_eq!(task["status"], "failed");
    assert_eq!(
        task["detail"],
        "Access to vector index `embed-456` is denied"
    );
}

#[tokio::test]
async fn a_batch_the_store_refuses_is_split_until_the_bad_id_stands_alone() {
    let service = Service::start().await;
    let objects = ids("o", 4);
    service.seed("index", &objects).await;
    service.run(&run_body("index", "t", &objects)).await.ok();
    // All four are refused, then the first two, then the first: it is the bad one.
    service
        .wire
        .next_times(3, DELETE, Fault::Refused(400, "ValidationException"));
    service.work().await;
    let task = service.task("t").await;
    assert_eq!(task["status"], "done", "a refusal is definite");
    assert_eq!(task["failed_item_ids"].as_array().unwrap().len(), 1);
    assert_eq!(task["failed_item_ids"][0]["object_id"], "o-0");
    assert_eq!(
        task["failed_item_ids"][0]["detail"],
        "The vector store refuses this id as invalid"
    );
    assert_eq!(service.present("index", &objects).await, ["o-0"]);
}

#[tokio::test]
async fn what_is_not_a_message_goes_back_and_all_beside_it_is_carried_out() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    let good = r#"{"task_id":"delete-xyz","attempt":1}"#;
    let bad = [
        "",
        "nonsense",
        "[]",
        r#"{"task_id":"a b","attempt":1}"#,
        r#"{"attempt":1}"#,
        r#"{"task_id":"t","attempt":-1}"#,
    ];
    for bad in bad {
        assert_eq!(service.deliver(&[bad, good]).await, 1, "{bad}");
    }
    assert_documented_outcome(&service, "beside nonsense").await;
    let strangers = [
        r#"{"task_id":"nobody","attempt":1}"#,
        r#"{"task_id":"delete-xyz","attempt":1,"chunk":7}"#,
    ];
    assert_eq!(
        service.deliver(&strangers).await,
        0,
        "acknowledged and dropped"
    );
}

#[tokio::test]
async fn a_task_store_out_of_reach_is_a_503_with_retry_after_and_a_message_that_comes_back() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    let throttled = Fault::Refused(400, "ThrottlingException");
    for call in [PUT_TASK, GET_TASK, WRITE_TASK] {
        service.wire.next_times(usize::MAX, call, throttled.clone());
    }
    service
        .wire
        .next_times(usize::MAX, "DynamoDB.Query", Fault::Unsent);
    for answer in [
        service.run(&example()).await,
        service.info("task_id=delete-xyz").await,
        service.list("status=done").await,
        service.restart("task_id=delete-xyz").await,
        service.cancel("task_id=delete-xyz").await,
    ] {
        assert!(
            answer
                .header("retry-after")
                .is_some_and(|s| s.parse::<u32>().is_ok())
        );
        answer.problem(503);
    }
    assert_eq!(
        service
            .deliver(&[r#"{"task_id":"delete-xyz","attempt":1}"#])
            .await,
        1
    );
    service.wire.heal();
    service.work().await;
    assert_documented_outcome(&service, "after the outage").await;
}

#[tokio::test]
async fn a_fault_of_ours_is_a_500_that_says_nothing_about_us() {
    let service = Service::start().await;
    let denied = Fault::Refused(400, "AccessDeniedException");
    service.wire.next(GET_TASK, denied);
    let problem = service.info("task_id=x").await.problem(500);
    assert_eq!(problem["detail"], "Something went wrong on our side");
    assert!(problem.get("errors").is_none());
}
