//! Tasks of several chunks. The chunks are small here, so that large tasks have few objects.

mod claims;
mod control;
mod create;
mod fan_out;
mod pages;
mod recovery;

use serde_json::Value;
use std::sync::Arc;
use tests::{Service, ids, run_body};

const WHOLE: &str = r#"{"task_id":"large","attempt":1}"#;
const WHOLE_AGAIN: &str = r#"{"task_id":"large","attempt":2}"#;
const CHUNKS: [&str; 4] = [
    r#"{"task_id":"large","attempt":1,"chunk":0}"#,
    r#"{"task_id":"large","attempt":1,"chunk":1}"#,
    r#"{"task_id":"large","attempt":1,"chunk":2}"#,
    r#"{"task_id":"large","attempt":1,"chunk":3}"#,
];

/// A service with the task `large`, which has the objects `o-0` to `o-6` in chunks of two. The
/// index `big` has all of them except `o-1` and `o-6`.
async fn with_large_task() -> Arc<Service> {
    let service = Service::start_with_chunks_of(2).await;
    service
        .seed("big", &["o-0", "o-2", "o-3", "o-4", "o-5"])
        .await;
    let body = run_body("big", "large", &ids("o", 7));
    service.run(&body).await.ok();
    service.wire.calls();
    Arc::new(service)
}

/// As [`with_large_task`], but fanned out. The messages of the chunks were sent and are lost.
async fn fanned_out() -> Arc<Service> {
    let service = with_large_task().await;
    assert_eq!(service.work_once().await, 1);
    assert_eq!(service.lose_messages().await, 4);
    service.wire.calls();
    service
}

/// A service with the task `large` in its second attempt, with no object left to try. The message
/// of the attempt was sent and is lost.
async fn restarted_with_nothing_left() -> Arc<Service> {
    let service = Service::start_with_chunks_of(2).await;
    service.seed("big", &ids("o", 7)).await;
    let body = run_body("big", "large", &ids("o", 7));
    service.run(&body).await.ok();
    service.work().await;
    service.restart("task_id=large").await.ok();
    service.lose_messages().await;
    service.wire.calls();
    Arc::new(service)
}

fn progress(task: &Value) -> (u64, u64, u64) {
    let number = |name: &str| task["progress"][name].as_u64().unwrap();
    (number("deleted"), number("failed"), number("remaining"))
}

/// Fails the test unless the outcome of every object matches what the index held at the start.
async fn assert_exact(service: &Service, story: &str) {
    let task = service.task("large").await;
    assert_eq!(task["status"], "done", "{story}");
    assert_eq!(progress(&task), (5, 2, 0), "{story}");
    let outcomes = service.outcomes("large").await;
    let expected = ids("o", 7).into_iter().map(|id| {
        let outcome = match id.as_str() {
            "o-1" | "o-6" => "failed",
            _ => "deleted",
        };
        (id, outcome.to_owned())
    });
    assert_eq!(outcomes, expected.collect::<Vec<_>>(), "{story}");
    for item in task["failed_item_ids"].as_array().unwrap() {
        assert_eq!(item["detail"], "Object not found in index", "{story}");
    }
    assert!(service.present("big", &ids("o", 7)).await.is_empty());
}
