//! Fence and lease: who may work on a task, and whose result counts.

use chrono::TimeDelta;
use shared::store::{Deferral, Written};
use shared::task::{Outcome, Reason, TaskId, TaskStatus};
use std::sync::Arc;
use tests::wire::Fault;
use tests::{DEMO_INDEX, Service, example, run_body};

const GET_TASK: &str = "DynamoDB.GetItem";
const WRITE_TASK: &str = "DynamoDB.UpdateItem";
const DELETE: &str = "S3Vectors.DeleteVectors";
const MESSAGE: &str = r#"{"task_id":"delete-xyz","attempt":1}"#;
const FAILING: Fault = Fault::Refused(503, "ServiceUnavailableException");

async fn with_example() -> Arc<Service> {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.wire.calls();
    Arc::new(service)
}

fn deletes(service: &Service) -> usize {
    let calls = service.wire.calls();
    calls.into_iter().filter(|call| call == DELETE).count()
}

#[tokio::test]
async fn two_workers_with_one_message_claim_once_and_delete_once() {
    let service = with_example().await;
    let claims = [service.wire.hold(WRITE_TASK), service.wire.hold(WRITE_TASK)];
    let works: Vec<_> = (0..2).map(|_| service.start_delivery(MESSAGE)).collect();
    for claim in &claims {
        claim.reached().await; // both have read, looked, and are about to claim
    }
    for claim in &claims {
        claim.release();
    }
    for work in works {
        assert_eq!(work.await.unwrap(), 0);
    }
    assert_eq!(deletes(&service), 1);
    let progress = &service.task("delete-xyz").await["progress"];
    assert_eq!(
        (&progress["deleted"], &progress["failed"]),
        (&1.into(), &1.into())
    );
}

#[tokio::test]
async fn while_a_claim_is_in_force_nobody_else_works() {
    let service = with_example().await;
    let delete = service.wire.hold(DELETE);
    let work = service.start_work();
    delete.reached().await;
    service.wire.calls();
    service.pass(TimeDelta::seconds(39)); // the invocation's 30 s, and not yet the 10 s more
    assert_eq!(service.deliver(&[MESSAGE]).await, 0);
    assert_eq!(service.wire.calls(), [GET_TASK]);
    delete.release();
    work.await.unwrap();
}

#[tokio::test]
async fn a_stale_worker_changes_nothing() {
    let service = with_example().await;
    let read = service.wire.hold_answer(DELETE);
    let work = service.start_work();
    read.reached().await;
    let settle = service.wire.hold(WRITE_TASK);
    read.release();
    settle.reached().await; // it has deleted and stands still before it settles

    service.pass(TimeDelta::seconds(41));
    assert_eq!(service.sweep().await, 1);
    service.work().await;
    let task = service.task("delete-xyz").await;
    assert_eq!(
        (&task["status"], &task["progress"]["deleted"]),
        (&"done".into(), &1.into())
    );

    settle.release();
    work.await.unwrap();
    assert_eq!(service.task("delete-xyz").await, task);
}

#[tokio::test]
async fn a_claim_on_what_was_read_before_another_claim_came_and_went_is_lost() {
    let service = with_example().await;
    let claim = service.wire.hold(WRITE_TASK);
    let work = service.start_work();
    claim.reached().await; // it has looked: obj-1 is there
    assert_eq!(service.deliver(&[MESSAGE]).await, 0);
    service.restart("task_id=delete-xyz&scope=all").await.ok();
    service.insert(DEMO_INDEX, &["obj-1"]).await;
    service.wire.calls();
    claim.release();
    work.await.unwrap();
    assert!(
        !service.wire.calls().iter().any(|call| call == DELETE),
        "a late delete"
    );
    assert_eq!(service.present(DEMO_INDEX, &["obj-1"]).await, ["obj-1"]);
}

#[tokio::test]
async fn a_claim_on_what_was_read_before_another_worker_tried_and_gave_back_is_lost() {
    for claims_before in [0, 1] {
        let service = with_example().await;
        for _ in 0..claims_before {
            service.wire.next_times(4, DELETE, FAILING);
            assert_eq!(service.deliver(&[MESSAGE]).await, 0);
        }
        let claim = service.wire.hold(WRITE_TASK);
        let work = service.start_delivery(MESSAGE);
        claim.reached().await; // it has looked
        service.wire.next_times(4, DELETE, FAILING);
        assert_eq!(service.deliver(&[MESSAGE]).await, 0); // another claims, fails, and hands back
        let handed_back = service.task("delete-xyz").await;
        assert_eq!(handed_back["status"], "processing");
        assert_eq!(handed_back["progress"]["failed"], 1);
        deletes(&service);
        claim.release();
        work.await.unwrap();
        assert_eq!(deletes(&service), 0, "after {claims_before} claims");
        assert_eq!(service.task("delete-xyz").await, handed_back);
    }
}

#[tokio::test]
async fn a_claim_on_a_lease_that_was_over_is_lost_if_its_holder_settles_first() {
    let service = with_example().await;
    service.wire.next_times(4, DELETE, FAILING);
    let claimed = service.wire.hold(WRITE_TASK);
    let slow = service.start_delivery(MESSAGE);
    claimed.reached().await;
    let settle = service.wire.hold(WRITE_TASK);
    claimed.release();
    settle.reached().await; // its deletes have failed; it stands still before it hands back
    service.pass(TimeDelta::seconds(41));
    let claim = service.wire.hold(WRITE_TASK);
    let next = service.start_delivery(MESSAGE);
    claim.reached().await; // the lease was over, so the next worker has looked
    settle.release();
    slow.await.unwrap();
    let handed_back = service.task("delete-xyz").await;
    deletes(&service);
    claim.release();
    next.await.unwrap();
    assert_eq!(deletes(&service), 0);
    assert_eq!(service.task("delete-xyz").await, handed_back);
}

#[tokio::test]
async fn a_claim_on_a_task_that_expired_and_was_created_anew_is_lost() {
    let service = with_example().await;
    let claim = service.wire.hold(WRITE_TASK);
    let work = service.start_delivery(MESSAGE);
    claim.reached().await; // it has looked for obj-1
    service.pass(TimeDelta::days(91));
    let anew = run_body("embed-456", "delete-xyz", &["obj-3"]);
    let created = service.run(&anew).await;
    assert_eq!(created.header("idempotent-replayed"), None);
    let created = created.ok();
    claim.release();
    work.await.unwrap();
    assert_eq!(deletes(&service), 0);
    assert_eq!(service.task("delete-xyz").await, created);
}

#[tokio::test]
async fn no_lease_outlives_its_task() {
    let service = with_example().await;
    service.pass(TimeDelta::days(90) - TimeDelta::seconds(39));
    assert_eq!(service.deliver(&[MESSAGE]).await, 0);
    assert_eq!(
        deletes(&service),
        0,
        "the lease would end after the task does"
    );
    assert_eq!(service.task("delete-xyz").await["status"], "pending");
}

#[tokio::test]
async fn a_stale_settlement_does_not_end_the_work_of_a_newer_claim() {
    let service = with_example().await;
    let deleted = service.wire.hold_answer(DELETE);
    let stale = service.start_delivery(MESSAGE);
    deleted.reached().await;
    let settle = service.wire.hold(WRITE_TASK);
    deleted.release();
    settle.reached().await;
    service.pass(TimeDelta::seconds(41));
    service.insert(DEMO_INDEX, &["obj-1"]).await;
    let delete = service.wire.hold(DELETE);
    let newest = service.start_delivery(MESSAGE);
    delete.reached().await; // a newer claim is at work
    let at_work = service.task("delete-xyz").await;
    settle.release();
    stale.await.unwrap();
    assert_eq!(service.task("delete-xyz").await, at_work);
    delete.release();
    newest.await.unwrap();
    service
        .assert_documented_outcome("by the newer claim")
        .await;
}

#[tokio::test]
async fn a_settlement_sent_again_by_the_sdk_is_recognized_as_its_own() {
    let service = with_example().await;
    let store = &service.running.handlers.store;
    let id = TaskId::new("delete-xyz").unwrap();
    let read = store.load(&id).await.unwrap().unwrap();
    let read = store.load_chunk(read, None).await.unwrap().unwrap();
    let claim = read.claim([0], service.now() + TimeDelta::seconds(40));
    let claimed = store.claim_if_unmoved(read, claim, service.now());
    let Written::Applied(claimed) = claimed.await.unwrap() else {
        panic!("nothing has moved");
    };
    service.wire.next(WRITE_TASK, Fault::AnswerLost);
    let results = [
        (0, Outcome::Deleted),
        (1, Outcome::Failed(Reason::NotFound)),
    ];
    let settled = store.settle_if_newest(claimed, &results, Deferral::Failed, service.now());
    let Written::Applied(settled) = settled.await.unwrap() else {
        panic!("its own settlement is not recognized");
    };
    assert_eq!(settled.chunk.task.status, TaskStatus::Done);
}

#[tokio::test]
async fn a_settlement_of_a_part_sent_again_by_the_sdk_counts_once() {
    let service = with_example().await;
    service.wire.next_times(4, DELETE, FAILING);
    let claim = service.wire.hold(WRITE_TASK);
    let work = service.start_delivery(MESSAGE);
    claim.reached().await;
    service.wire.next(WRITE_TASK, Fault::AnswerLost);
    claim.release();
    assert_eq!(work.await.unwrap(), 0);
    let progress = &service.task("delete-xyz").await["progress"];
    assert_eq!(
        (&progress["failed"], &progress["remaining"]),
        (&1.into(), &1.into()),
        "obj-2 is absent, obj-1 remains"
    );
}

#[tokio::test]
async fn the_fence_grows_with_every_claim_and_no_restart_resets_it() {
    let service = with_example().await;
    let id = TaskId::new("delete-xyz").unwrap();
    for (claims, scope) in [(1, ""), (2, "&scope=all"), (3, "")] {
        service.work().await;
        let store = &service.running.handlers.store;
        let read = store.load(&id).await.unwrap().unwrap();
        let work = store.load_chunk(read, None).await.unwrap().unwrap();
        assert_eq!(work.chunk.state.fence, claims);
        service
            .restart(&format!("task_id=delete-xyz{scope}"))
            .await
            .ok();
    }
}
