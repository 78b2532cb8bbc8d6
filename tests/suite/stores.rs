//! Vector stores that fail, throttle or refuse.

use chrono::TimeDelta;
use std::sync::Arc;
use tests::wire::Fault;
use tests::{Service, example, ids, run_body};

const LOOK: &str = "S3Vectors.GetVectors";
const DELETE: &str = "S3Vectors.DeleteVectors";

const FAILING: Fault = Fault::Refused(503, "ServiceUnavailableException");
const THROTTLING: Fault = Fault::Refused(429, "TooManyRequestsException");

/// Work that is throttled again and again, more often than a failing one is tried.
async fn throttled_seven_times(call: &str) {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    for round in 0..7 {
        service.wire.next_times(usize::MAX, call, THROTTLING);
        service.work().await;
        service.wire.heal();
        service.pass(TimeDelta::hours(1));
        assert_eq!(service.sweep().await, 1, "{call}, round {round}");
    }
    service.work().await;
    service.assert_documented_outcome(call).await;
}

#[tokio::test]
async fn a_store_that_throttles_looks_delays_a_task_and_never_fails_it() {
    throttled_seven_times(LOOK).await;
}

#[tokio::test]
async fn a_store_that_throttles_deletes_delays_a_task_and_never_fails_it() {
    throttled_seven_times(DELETE).await;
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
        service.assert_documented_outcome(call).await;
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
    service
        .assert_documented_outcome("answers to deletes are lost")
        .await;
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
    service.wire.next_times(3, DELETE, Fault::InvalidKeys);
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
async fn a_store_that_refuses_the_request_itself_fails_the_task_and_blames_no_object() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service
        .wire
        .next(LOOK, Fault::Refused(400, "ValidationException"));
    service.work().await;
    let task = service.task("delete-xyz").await;
    assert_eq!(task["status"], "failed");
    assert_eq!(
        task["detail"],
        "Vector index `embed-456` refuses the request as invalid"
    );
    service.restart("task_id=delete-xyz").await.ok();
    service.work().await;
    service.assert_documented_outcome("mended").await;
}

#[tokio::test]
async fn progress_in_a_last_try_gives_the_rest_more_tries() {
    let service = Service::start().await;
    let objects = ids("o", 4);
    service.seed("index", &objects).await;
    service.run(&run_body("index", "t", &objects)).await.ok();
    for round in 0..5 {
        // Before the fifth look one object has gone.
        if round == 4 {
            service.remove("index", &["o-0"]).await;
        }
        service.wire.next_times(usize::MAX, DELETE, FAILING);
        service.work().await;
        service.wire.heal();
        service.pass(TimeDelta::hours(1));
        service.sweep().await;
    }
    let task = service.task("t").await;
    assert_eq!(task["status"], "processing");
    assert_eq!(
        task["progress"]["deleted"], 1,
        "seen there by a claim, and gone"
    );
    service.work().await;
    assert_eq!(service.task("t").await["progress"]["deleted"], 4);
}

#[tokio::test]
async fn a_store_that_throttles_puts_a_task_off_by_one_two_four_minutes_and_so_on() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.wire.next_times(usize::MAX, LOOK, THROTTLING);
    for minutes in [1, 2, 4, 8] {
        service.work().await;
        service.pass(TimeDelta::minutes(minutes) - TimeDelta::seconds(1));
        assert_eq!(service.sweep().await, 0, "{minutes}");
        service.pass(TimeDelta::seconds(1));
        assert_eq!(service.sweep().await, 1, "{minutes}");
    }
}

#[tokio::test]
async fn a_worker_whose_time_is_up_after_its_look_hands_the_message_back_and_no_try_counts() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    for round in 0..6 {
        let look = service.wire.hold_answer(LOOK);
        let work = service.start_delivery(r#"{"task_id":"delete-xyz","attempt":1}"#);
        look.reached().await;
        service.pass(TimeDelta::seconds(29)); // of the invocation's 30
        look.release();
        assert_eq!(
            work.await.unwrap(),
            1,
            "round {round}: to be delivered again"
        );
        assert_eq!(service.task("delete-xyz").await["status"], "pending");
    }
    service.work().await;
    service.assert_documented_outcome("in time").await;
}
