//! How the worker treats a store that acknowledges a delete and keeps the object, and an object
//! that is inserted again.

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use shared::vector::{AfterDelete, Presence, VectorError, VectorErrorKind, VectorStore};
use std::sync::Arc;
use tests::wire::{
    Fault, THROTTLING,
    call::{CHECK, DELETE, GET_TASK, WRITE_TASK},
};
use tests::{DEMO_INDEX, Service, example, kill, run_body};

const KEPT: &str = "Vector index `embed-456` acknowledged the delete but still has the object: \
    the index kept it, or it was inserted again";

/// The service over an index that is read back, with the example's task.
async fn with_example() -> Arc<Service> {
    let stores = r#"{"*": "s3vectors://demo/{embedding_model_id}?confirm=read-back"}"#;
    let service = Service::start_with(vec![("VECTOR_STORES", stores)]).await;
    service.run(&example()).await.ok();
    service.wire.calls();
    Arc::new(service)
}

fn keep(service: &Service, times: usize) {
    let kept = Fault::Kept(vec!["obj-1".to_owned()]);
    service.wire.next_times(times, DELETE, kept);
}

async fn is_there(service: &Service) -> bool {
    !service.present(DEMO_INDEX, &["obj-1"]).await.is_empty()
}

fn progress(task: &Value) -> &Value {
    &task["progress"]
}

#[tokio::test]
async fn an_object_that_is_kept_gets_one_further_delete_and_is_then_given_up() {
    let service = with_example().await;
    keep(&service, usize::MAX);
    service.work().await;
    let calls = service.wire.calls();
    let (claim, settle) = (WRITE_TASK, WRITE_TASK);
    let expected = [
        GET_TASK, CHECK, claim, DELETE, CHECK, GET_TASK, DELETE, CHECK, settle,
    ];
    assert_eq!(calls, expected, "the task is read before the further call");
    let task = service.task("delete-xyz").await;
    assert_eq!(
        (&task["status"], &task["detail"]),
        (&"failed".into(), &KEPT.into())
    );
    assert_eq!(
        task["failed_item_ids"],
        json!([{"object_id": "obj-1", "detail": KEPT}, {"object_id": "obj-2", "detail": "Object not found in index"}])
    );

    service.wire.heal();
    service.restart("task_id=delete-xyz").await.ok();
    service.work().await;
    service.assert_documented_outcome("kept for a while").await;
}

#[tokio::test]
async fn an_object_that_is_inserted_again_before_the_read_is_deleted_once_more() {
    let service = with_example().await;
    let read = service.wire.hold_response(CHECK);
    let work = service.start_work();
    read.reached().await; // the existence check
    let read_back = service.wire.hold(CHECK);
    read.release();
    read_back.reached().await; // deleted, and not read back
    assert!(!is_there(&service).await);
    service.insert(DEMO_INDEX, &["obj-1"]).await;
    read_back.release();
    work.await.unwrap();
    service.assert_documented_outcome("inserted once").await;
}

#[tokio::test]
async fn after_a_cancel_a_kept_object_gets_no_further_delete_and_remains() {
    for restart in ["", "&scope=all"] {
        let service = with_example().await;
        keep(&service, 1);
        let first_read = service.wire.hold_response(GET_TASK);
        let work = service.start_work();
        first_read.reached().await;
        let read_again = service.wire.hold(GET_TASK);
        first_read.release();
        read_again.reached().await; // kept, and about to be deleted once more
        service.cancel("task_id=delete-xyz").await.ok();
        read_again.release();
        work.await.unwrap();
        let deletes = service.wire.count(DELETE);
        assert_eq!(deletes, 1);
        let task = service.task("delete-xyz").await;
        assert_eq!(task["status"], "canceled");
        assert_eq!(
            progress(&task),
            &json!({"total": 2, "deleted": 0, "failed": 1, "remaining": 1})
        );
        assert!(is_there(&service).await);

        // Somebody else removes it. It was seen and deletes were made, so it counts as deleted.
        service.remove(DEMO_INDEX, &["obj-1"]).await;
        service
            .restart(&format!("task_id=delete-xyz{restart}"))
            .await
            .ok();
        service.work().await;
        service.assert_documented_outcome(restart).await;
    }
}

#[tokio::test]
async fn a_restart_between_the_two_deletes_of_a_kept_object_leaves_it_to_the_new_attempt() {
    let service = with_example().await;
    keep(&service, 1);
    let first_read = service.wire.hold_response(GET_TASK);
    let work = service.start_work();
    first_read.reached().await;
    let read_again = service.wire.hold(GET_TASK);
    first_read.release();
    read_again.reached().await; // kept, and about to be deleted once more
    service.cancel("task_id=delete-xyz").await.ok();
    service.restart("task_id=delete-xyz").await.ok();
    read_again.release();
    work.await.unwrap();
    assert!(is_there(&service).await);
    assert_eq!(service.task("delete-xyz").await["attempt"], 2);
    service.work().await;
    service.assert_documented_outcome("the new attempt").await;
}

#[tokio::test]
async fn a_claim_that_had_no_time_for_the_further_delete_of_a_kept_object_counts_as_a_try() {
    let service = with_example().await;
    let body = run_body(DEMO_INDEX, "t", &["obj-1"]);
    service.run(&body).await.ok();
    keep(&service, 1);
    let first_read = service.wire.hold_response(GET_TASK);
    let work = service.start_delivery(r#"{"task_id":"t","attempt":1}"#);
    first_read.reached().await;
    let read_again = service.wire.hold_response(GET_TASK);
    first_read.release();
    read_again.reached().await; // kept, and about to be deleted once more
    service.pass(TimeDelta::seconds(29)); // of the invocation's 30
    read_again.release();
    work.await.unwrap();
    assert_eq!(service.stored_numbers("tries").await, [1]);
    assert!(is_there(&service).await);
}

#[tokio::test]
async fn a_worker_that_dies_before_it_reads_back_leaves_what_it_saw_on_record() {
    let service = with_example().await;
    let check = service.wire.hold_response(CHECK);
    let work = service.start_work();
    check.reached().await;
    let read_back = service.wire.hold(CHECK);
    check.release();
    read_back.reached().await; // deleted
    kill(work).await;
    service.wire.heal();
    service.pass(TimeDelta::minutes(2));
    assert_eq!(service.sweep().await, 1);
    service.work().await;
    service
        .assert_documented_outcome("seen by the dead worker")
        .await;
}

#[tokio::test]
async fn a_read_back_that_is_throttled_again_and_again_never_fails_a_task() {
    let service = with_example().await;
    for round in 0..6 {
        let check = service.wire.hold_response(CHECK);
        let work = service.start_work();
        check.reached().await;
        service.wire.next_times(usize::MAX, CHECK, THROTTLING);
        keep(&service, usize::MAX);
        check.release();
        work.await.unwrap();
        service.wire.heal();
        let task = service.task("delete-xyz").await;
        assert_eq!(task["status"], "processing", "round {round}: {task}");
        service.pass(TimeDelta::hours(1));
        assert_eq!(service.sweep().await, 1, "round {round}");
    }
    service.work().await;
    service.assert_documented_outcome("throttled").await;
}

#[tokio::test]
async fn what_is_kept_in_one_chunk_fails_the_task_and_no_object_of_another() {
    let stores = r#"{"*": "s3vectors://demo/{embedding_model_id}?confirm=read-back"}"#;
    let service = Service::start_with(vec![("VECTOR_STORES", stores)]).await;
    let objects = tests::ids("o", 1_200);
    service.seed("index", &objects).await;
    service.run(&run_body("index", "t", &objects)).await.ok();
    let kept = Fault::Kept(vec!["o-700".to_owned()]);
    service.wire.next_times(usize::MAX, DELETE, kept);
    service.work().await;
    let task = service.task("t").await;
    assert_eq!(task["status"], "failed");
    assert_eq!(
        progress(&task),
        &json!({"total": 1200, "deleted": 1199, "failed": 1, "remaining": 0})
    );
    assert_eq!(task["failed_item_ids"][0]["object_id"], "o-700");
    assert_eq!(service.present("index", &objects).await, ["o-700"]);
}

/// A store that has all objects. It refuses every delete that contains `o-0`, which it keeps.
/// `others` decides what it does with other deletes.
struct KeepsOne<F>(F);

impl<F: Fn() -> Result<AfterDelete, VectorErrorKind> + Send + Sync> VectorStore for KeepsOne<F> {
    fn present<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Presence>, VectorError>> {
        Box::pin(async { Ok(vec![Presence::Present; ids.len()]) })
    }

    fn delete<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<AfterDelete>, VectorError>> {
        let after = if ids.contains(&"o-0") {
            Err(VectorErrorKind::KeptObject)
        } else {
            (self.0)()
        };
        let error = |kind| VectorError {
            kind,
            detail: "The test keeps it".to_owned(),
            code: "test".to_owned(),
            source: None,
        };
        let after = after.map(|after| vec![after; ids.len()]).map_err(error);
        Box::pin(async { after })
    }

    fn max_delete(&self) -> usize {
        500
    }
}

#[tokio::test]
async fn an_object_that_was_refused_stays_on_record_though_the_next_call_fails_or_the_time_is_up() {
    let mut service = Service::start().await;
    let clock = service.clock.clone();
    let fails = KeepsOne(|| Err(VectorErrorKind::Temporary));
    let takes_all_time = KeepsOne(move || {
        clock.advance(TimeDelta::seconds(29)); // of the invocation's 30
        Ok(AfterDelete::Gone)
    });
    let stores: [(&str, usize, Arc<dyn VectorStore>); 2] = [
        ("fails", 0, Arc::new(fails)),
        ("takes-all-time", 1, Arc::new(takes_all_time)),
    ];
    for (story, deleted, store) in stores {
        service.work_on(store);
        let body = run_body("index", story, &tests::ids("o", 4));
        service.run(&body).await.ok();
        service.work_once().await;
        let task = service.task(story).await;
        assert_eq!(
            progress(&task),
            &json!({"total": 4, "deleted": deleted, "failed": 1, "remaining": 3 - deleted})
        );
        assert_eq!(
            task["failed_item_ids"],
            json!([{"object_id": "o-0", "detail": "The test keeps it"}])
        );
        service.assert_due_in(0, story).await;
        service.lose_messages().await;
    }
}
