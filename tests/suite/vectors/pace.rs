//! The pace of S3 Vectors, against a server that keeps the real one's rates: 2,500 vectors a second for each index.

use super::{of, open};
use futures_util::future::join_all;
use local::{Options, Throttle};
use serde_json::{Value, json};
use shared::aws;
use shared::vector::{Services, VectorErrorKind, VectorStore};
use std::sync::Arc;
use std::time::Duration;
use tests::wire::Wire;
use tests::{DEMO_INDEX, Service, http, ids, run_body};
use tokio::time::{Instant, timeout};

const DELETE: &str = "S3Vectors.DeleteVectors";
/// As many deletes of 500 as take the server six seconds.
const DELETES: usize = 30;

/// An index, and the server that it is in, which keeps its rates.
async fn throttled() -> (Service, Arc<dyn VectorStore>) {
    let service = Service::start().await;
    service.throttle.turn(true);
    let endpoint = format!("http://{}", service.running.s3vectors);
    let services = Services {
        aws: aws::local_config(&endpoint, None),
        password: None,
    };
    let stores = open("s3vectors://demo/{embedding_model_id}", &services);
    (service, of(&stores, DEMO_INDEX))
}

/// Deletes of 500 ids each, all begun at once, each after its wait.
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
    let (_service, store) = throttled().await;
    let turn = || store.turn(500, Duration::from_secs(60)).expect("a turn");
    assert_eq!(refused(store.as_ref(), turn).await, 0);
}

#[tokio::test]
async fn deletes_that_do_not_wait_are_refused() {
    let (_service, store) = throttled().await;
    let refused = refused(store.as_ref(), || Duration::ZERO).await;
    assert!(refused > 0, "the server keeps its rates");
}

#[tokio::test]
async fn an_existence_check_of_more_ids_than_a_second_allows_is_not_throttled() {
    let (_service, store) = throttled().await;
    // 600 calls, where a second has 300.
    let ids = ids("absent", 60_000);
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let began = Instant::now();
    let present = store
        .present(&ids)
        .await
        .expect("the existence check is slow enough");
    assert!(began.elapsed() > Duration::from_millis(1_900), "it waits");
    assert_eq!(present.len(), ids.len());
}

/// A service at so many vectors a second, on whose index two deletes of 500 have used up what an idle index has saved. The
/// task `third` waits to be carried out.
async fn used_up(vectors_per_second: u32) -> Arc<Service> {
    let url =
        format!("s3vectors://demo/{{embedding_model_id}}?vectors_per_second={vectors_per_second}");
    let stores = json!({ "*": url }).to_string();
    let service = Arc::new(Service::start_with(vec![("VECTOR_STORES", &stores)]).await);
    let objects = ids("object", 1_500);
    service.seed("slow", &objects).await;
    for (task, objects) in ["first", "second", "third"].iter().zip(objects.chunks(500)) {
        let body = run_body("slow", task, objects);
        service.run(&body).await.ok();
        if *task != "third" {
            service.work().await;
        }
    }
    service.wire.calls();
    service
}

#[tokio::test]
async fn a_delete_whose_turn_comes_too_late_is_put_off_and_is_no_try() {
    // The turn comes in 50 seconds, and an invocation has 30.
    let service = used_up(10).await;
    service.work().await;
    let calls = service.wire.calls();
    assert!(!calls.iter().any(|call| call == DELETE), "{calls:?}");
    let task = service.task("third").await;
    assert_eq!(
        (&task["status"], &task["progress"]["remaining"]),
        (&"processing".into(), &500.into())
    );
    let mut tries = service.stored_numbers("tries").await;
    tries.sort_unstable();
    assert_eq!(tries, [0, 1, 1], "those who had their turn needed one try");
}

#[tokio::test]
async fn a_task_that_is_canceled_while_its_delete_waits_for_its_turn_loses_nothing() {
    // The turn comes in 10 seconds.
    let service = used_up(50).await;
    let claimed = service.wire.hold_response("DynamoDB.UpdateItem");
    let work = service.start_work();
    claimed.reached().await;
    service.cancel("task_id=third").await.ok();
    claimed.release();
    work.await.unwrap();

    let calls = service.wire.calls();
    assert!(!calls.iter().any(|call| call == DELETE), "{calls:?}");
    let task = service.task("third").await;
    assert_eq!(
        (&task["status"], &task["progress"]["remaining"]),
        (&"canceled".into(), &500.into())
    );
}

#[tokio::test]
async fn others_who_use_up_the_quota_slow_a_task_down_and_do_not_fail_it() {
    // Nobody moves this service's clock: its worker waits for its turns.
    let (wire, throttle) = (Wire::default(), Throttle::default());
    throttle.turn(true);
    let options = Options {
        http_client: Some(wire.http_client()),
        throttle,
        ..Options::default()
    };
    let running = local::start(options).await.expect("the service starts");
    // As the worker's client, it sends nothing again by itself.
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
            // It is refused most of the time, and takes all there is.
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
    // The task has two deletes to make: whatever is above was refused.
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
