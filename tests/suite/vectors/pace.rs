//! The pace of S3 Vectors, against a server with the same limit as the real one: 2,500 vectors a
//! second for each index.

use super::open;
use chrono::TimeDelta;
use futures_util::future::join_all;
use local::{Options, Throttle};
use serde_json::{Value, json};
use shared::aws;
use shared::clock::Clock;
use shared::store::{Grant, GrantRequest};
use shared::task::ModelId;
use shared::vector::{Index, Reserved, Services, VectorErrorKind, VectorStore};
use std::sync::Arc;
use std::time::Duration;
use tests::wire::call::{CHECK, DELETE, RETURN};
use tests::wire::{Fault, Wire};
use tests::{DEMO_INDEX, Service, http, ids, run_body};
use tokio::time::{Instant, timeout};

/// The first update of a worker that needs a grant.
const GRANT: &str = "DynamoDB.UpdateItem";
/// The number of deletes of 500 ids that take the server six seconds.
const DELETES: usize = 30;

/// An index, and its server, which enforces its limits.
async fn throttled() -> (Service, Index) {
    let service = Service::start().await;
    service.throttle.turn(true);
    let endpoint = format!("http://{}", service.running.s3vectors);
    let services = Services {
        aws: aws::local_config(&endpoint, None),
        password: None,
        token: None,
        clock: Clock::System,
    };
    let stores = open("s3vectors://demo/{embedding_model_id}", &services);
    let model = ModelId::new(DEMO_INDEX).unwrap();
    let index = stores.for_model(&model, Clock::System.now());
    (service, index.expect("a rule for all models"))
}

/// Makes deletes of 500 ids each. All begin at once, each with its own wait first. Returns how many
/// were throttled.
async fn refused(store: &dyn VectorStore, wait: impl Fn() -> Duration) -> usize {
    let ids = ids("absent", 500);
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let ended = join_all((0..DELETES).map(|_| {
        let (wait, ids) = (wait(), &ids);
        async move {
            tokio::time::sleep(wait).await;
            store.delete(ids).await
        }
    }));
    let errors = ended.await.into_iter().filter_map(Result::err);
    errors
        .inspect(|error| assert_eq!(error.kind, VectorErrorKind::Throttled))
        .count()
}

#[tokio::test]
async fn deletes_that_wait_for_their_turn_are_not_refused() {
    let (_service, index) = throttled().await;
    let turns = index.turns.expect("a limit");
    let now = Clock::System.now();
    // The table is treated as not responding, because there are no other workers.
    turns.unanswered(now);
    let turn = || match turns.reserve(500, Duration::from_secs(60), now) {
        Reserved::Turn(turn) => {
            let wait = turn.wait(now);
            turn.use_for(500);
            wait
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(index.store.as_ref(), turn).await, 0);
}

#[tokio::test]
async fn deletes_that_do_not_wait_are_refused() {
    let (_service, index) = throttled().await;
    let refused = refused(index.store.as_ref(), || Duration::ZERO).await;
    assert!(refused > 0, "the server keeps its rates");
}

#[tokio::test]
async fn an_existence_check_of_more_ids_than_a_second_allows_is_not_throttled() {
    let (_service, index) = throttled().await;
    // This takes 600 calls. The limit is 300 a second.
    let ids = ids("absent", 60_000);
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let began = Instant::now();
    let present = index
        .store
        .present(&ids)
        .await
        .expect("the existence check is slow enough");
    assert!(began.elapsed() > Duration::from_millis(1_900), "it waits");
    assert_eq!(present.len(), ids.len());
}

/// A service with a chunk of 500 objects to delete from the index `slow`, at this many a second.
async fn with_a_chunk(objects_per_second: u32) -> Arc<Service> {
    let url =
        format!("s3vectors://demo/{{embedding_model_id}}?objects_per_second={objects_per_second}");
    let stores = json!({ "*": url }).to_string();
    let service = Arc::new(Service::start_with(vec![("VECTOR_STORES", &stores)]).await);
    let objects = ids("object", 500);
    service.seed("slow", &objects).await;
    service.run(&run_body("slow", "task", &objects)).await.ok();
    service.wire.calls();
    service
}

/// Takes this many seconds of the index's time, as other workers do.
async fn others_take(service: &Service, seconds: i64) -> Grant {
    let now = service.now();
    let request = GrantRequest {
        time: TimeDelta::seconds(seconds),
        earliest: now,
        latest: now + TimeDelta::hours(1),
        is_idle: true,
    };
    let store = &service.running.handlers.store;
    store
        .take_grant("s3vectors://demo/slow", request)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_chunk_whose_turn_is_far_is_handed_back_unclaimed_and_is_no_try() {
    let service = with_a_chunk(2_500).await;
    others_take(&service, 10).await;
    service.wire.calls();
    service.work_once().await;
    let calls = service.wire.calls();
    let expected = ["DynamoDB.GetItem", GRANT, RETURN];
    assert_eq!(calls, expected, "it is not even checked what exists");
    assert_eq!(service.wire.delays(), [1]);
    // After that the worker knows this without another request.
    service
        .deliver(&[r#"{"task_id":"task","attempt":1}"#])
        .await;
    assert_eq!(service.wire.calls(), ["DynamoDB.GetItem"]);
    let task = service.task("task").await;
    assert_eq!(task["status"], "pending");
    assert_eq!(service.stored_numbers("tries").await, [0; 0]);

    service.pass(TimeDelta::seconds(10));
    service
        .deliver(&[r#"{"task_id":"task","attempt":1}"#])
        .await;
    assert_eq!(service.task("task").await["status"], "done");
    assert_eq!(service.stored_numbers("tries").await, [1]);
}

#[tokio::test]
async fn a_chunk_whose_turn_is_near_waits_for_it() {
    let service = with_a_chunk(2_500).await;
    others_take(&service, 1).await;
    let began = service.now();
    service.wire.calls();
    service.work_once().await;
    assert_eq!(service.task("task").await["status"], "done");
    assert_eq!(service.now() - began, TimeDelta::seconds(1));
    // The claim, the settlement, and two writes for the grant: the worker guessed that the index
    // was idle.
    assert_eq!(service.wire.count(GRANT), 4);
}

#[tokio::test]
async fn a_turn_that_has_passed_during_the_existence_check_is_not_used() {
    let service = with_a_chunk(2_500).await;
    let check = service.wire.hold_response(CHECK);
    let work = service.start_work();
    check.reached().await;
    service.pass(TimeDelta::seconds(1));
    check.release();
    work.await.unwrap();
    assert_eq!(service.task("task").await["status"], "done");
    // The claim, the settlement, and two grants.
    assert_eq!(service.wire.count(GRANT), 4);
}

#[tokio::test]
async fn a_lost_response_wastes_a_grant_and_no_more() {
    let service = with_a_chunk(2_500).await;
    service.wire.next(GRANT, Fault::ResponseLost);
    service.work_once().await;
    assert_eq!(service.task("task").await["status"], "done");
    let Grant::Given(next) = others_take(&service, 1).await else {
        panic!("an hour ahead");
    };
    // The lost grant began 200 ms ago, because the index was idle then. If the SDK has sent the
    // request again in time, another 200 ms are taken.
    let ahead = next.start - service.now();
    assert!((0..=200).contains(&ahead.num_milliseconds()), "{ahead}");
}

#[tokio::test]
async fn without_the_tables_response_a_worker_keeps_to_its_own_pace() {
    let service = with_a_chunk(2_500).await;
    // The SDK tries a grant three times.
    service.wire.next_times(3, GRANT, Fault::Unsent);
    service.work_once().await;
    assert_eq!(service.task("task").await["status"], "done");
}

#[tokio::test]
async fn small_deletes_of_one_batch_share_a_grant() {
    let service = with_a_chunk(2_500).await;
    service.work_once().await;
    for number in 0..10 {
        let body = run_body("slow", &format!("task-{number}"), &ids("other", 10));
        service.run(&body).await.ok();
    }
    service.wire.calls();
    assert_eq!(service.work_once().await, 10);
    // Each task has a claim and a settlement. The grant is a quarter of the time that the chunk
    // took: 50 ms. Each of these deletes takes 4 ms.
    assert_eq!(service.wire.count(GRANT), 10 * 2 + 1);
}

#[tokio::test]
async fn a_slow_index_gets_deletes_of_a_second_each() {
    let service = with_a_chunk(100).await;
    let began = service.now();
    service.work_once().await;
    assert_eq!(service.task("task").await["status"], "done");
    let calls = service.wire.calls();
    let deletes = calls.iter().filter(|call| *call == DELETE).count();
    assert_eq!(deletes, 5);
    // An idle index saves a fifth of a second.
    let took = (service.now() - began).num_milliseconds();
    assert!((3_800..4_100).contains(&took), "{took}");
}

#[tokio::test]
async fn a_task_that_is_canceled_while_its_next_delete_waits_for_its_turn_gets_no_other() {
    let service = with_a_chunk(100).await;
    let deleted = service.wire.hold_response(DELETE);
    let work = service.start_work();
    deleted.reached().await;
    service.cancel("task_id=task").await.ok();
    deleted.release();
    work.await.unwrap();

    let calls = service.wire.calls();
    let deletes = calls.iter().filter(|call| *call == DELETE).count();
    assert_eq!(deletes, 1, "{calls:?}");
    let task = service.task("task").await;
    assert_eq!(
        (&task["status"], &task["progress"]["remaining"]),
        (&"canceled".into(), &400.into())
    );
}

#[tokio::test]
async fn others_who_use_up_the_quota_slow_a_task_down_and_do_not_fail_it() {
    // Nobody moves the clock of this service, so its worker really waits for its turns.
    let (wire, throttle) = (Wire::default(), Throttle::default());
    throttle.turn(true);
    let options = Options {
        http_client: Some(wire.http_client()),
        throttle,
        ..Options::default()
    };
    let running = local::start(options).await.expect("the service starts");
    // Like the worker's client, this client does not retry.
    let endpoint = format!("http://{}", running.s3vectors);
    let s3vectors = aws::s3vectors_client(&aws::local_config(&endpoint, None));
    let use_up = async move || {
        let delete = s3vectors.delete_vectors().vector_bucket_name("demo");
        let delete = delete.index_name(DEMO_INDEX);
        delete.set_keys(Some(ids("other", 500))).send().await
    };
    while use_up().await.is_ok() {}
    let rival = tokio::spawn(async move {
        loop {
            // Most of these calls are refused. Together they take the whole quota.
            let _ = use_up().await;
        }
    });

    let all: Vec<_> = (1..=1_000).map(|number| format!("obj-{number}")).collect();
    let body = run_body(DEMO_INDEX, "slow", &all).to_string();
    let call = async |method, path: &str, body: String| -> Value {
        let path = format!("/internal/deletion-tasks/{path}");
        let json = Some("application/json");
        http::send(running.api, method, &path, json, body)
            .await
            .ok()
    };
    call("POST", "run", body).await;
    // The task needs two deletes. If there are more, one was refused.
    let refused = async {
        let mut deletes = 0;
        while deletes <= 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            deletes += wire.calls().iter().filter(|call| *call == DELETE).count();
        }
    };
    let refused = timeout(Duration::from_secs(60), refused).await;
    refused.expect("a delete is refused");
    rival.abort();
    let task = loop {
        let task = call("GET", "info?task_id=slow", String::new()).await;
        if !["pending", "processing"].contains(&task["status"].as_str().unwrap_or_default()) {
            break task;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(task["status"], "done", "{task}");
    assert_eq!(task["progress"]["deleted"], 999, "{task}");
    running.shutdown().await;
}
