//! What a row of a list shows.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{DEMO_INDEX, Service, as_listed, example, ids, run_body};

/// The maximum size of a row's `failed_item_ids` in bytes of JSON.
const MAX_FAILED_BYTES: usize = 1024;

/// This task's row.
async fn row(service: &Service, id: &str) -> Value {
    let page = service.list("").await.ok();
    let row = page["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == id);
    row.unwrap_or_else(|| panic!("{id} is not listed")).clone()
}

/// Fails the test unless a list shows the task as `/info` does, without `reason`, `created_by` and
/// `changed_by`. Returns its row.
async fn assert_same(service: &Service, id: &str) -> Value {
    let row = row(service, id).await;
    assert_eq!(row, as_listed(service.task(id).await));
    row
}

#[tokio::test]
async fn a_row_shows_a_task_as_info_does() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    assert_same(&service, "delete-xyz").await;
    service.pass(TimeDelta::seconds(1));
    service.work().await;
    assert_same(&service, "delete-xyz").await;
    service.pass(TimeDelta::seconds(1));
    service.restart("task_id=delete-xyz").await.ok();
    assert_same(&service, "delete-xyz").await;
    service.pass(TimeDelta::seconds(1));
    service.cancel("task_id=delete-xyz").await.ok();
    assert_same(&service, "delete-xyz").await;

    service
        .run(&run_body("no-such-index", "failed", &ids("o", 3)))
        .await
        .ok();
    service.work().await;
    let row = assert_same(&service, "failed").await;
    assert!(row["detail"].is_string(), "{row}");
}

#[tokio::test]
async fn a_row_shows_at_most_ten_failures_in_a_kilobyte_and_their_true_number() {
    let long = |length: usize, count: usize| -> Vec<String> {
        let each = (0..count).map(|i| format!("{i:0>length$}"));
        each.collect()
    };
    let stories = [
        ("ten", ids("o", 10), 10),
        ("eleven", ids("o", 11), 10),
        ("five-hundred", ids("o", 500), 10),
        // If the first failure is so long that it costs a write unit, it is shown alone.
        ("long", long(400, 20), 1),
        ("quotes", ids(&"\"".repeat(250), 9), 1),
        ("backslashes", ids(&"\\".repeat(250), 9), 1),
        ("emoji", ids(&"🗑️".repeat(50), 9), 1),
        ("longest", long(1024, 2), 0),
    ];
    let service = Service::start().await;
    for (id, objects, _) in &stories {
        let body = run_body(DEMO_INDEX, id, objects);
        service.run(&body).await.ok();
    }
    service.work().await;
    for (id, objects, shown) in stories {
        let row = row(&service, id).await;
        assert_eq!(row["progress"]["failed"], objects.len(), "{id}");
        let task = service.task(id).await;
        let all = task["failed_item_ids"].as_array().unwrap();
        assert_eq!(all.len(), objects.len(), "{id}");
        let head = row["failed_item_ids"].as_array().unwrap();
        assert_eq!(head.len(), shown, "{id}");
        assert!(head.iter().all(|item| all.contains(item)), "{id}: {row}");
        let bytes = row["failed_item_ids"].to_string().len();
        assert!(bytes <= MAX_FAILED_BYTES, "{id}: {bytes} bytes");
    }
}

#[tokio::test]
async fn the_kilobyte_of_a_row_is_not_passed_by_a_byte() {
    let service = Service::start().await;
    // Without its id, a failure takes about 50 bytes.
    for length in 960..985 {
        let id = format!("one-of-{length}");
        let body = run_body(DEMO_INDEX, &id, &["x".repeat(length)]);
        service.run(&body).await.ok();
    }
    service.work().await;
    let mut shown = Vec::new();
    for length in 960..985 {
        let row = row(&service, &format!("one-of-{length}")).await;
        let bytes = row["failed_item_ids"].to_string().len();
        assert!(
            bytes <= MAX_FAILED_BYTES,
            "{bytes} bytes for an id of {length}"
        );
        shown.push(row["failed_item_ids"] != json!([]));
    }
    assert!(
        shown[0] && !shown[24],
        "the lengths are on both sides of a kilobyte"
    );
}

#[tokio::test]
async fn failures_of_an_earlier_attempt_are_not_shown() {
    let service = Service::start().await;
    service
        .run(&run_body(DEMO_INDEX, "t", &ids("o", 3)))
        .await
        .ok();
    service.work().await;
    let before = row(&service, "t").await;
    assert_eq!(before["failed_item_ids"].as_array().unwrap().len(), 3);
    service.restart("task_id=t").await.ok();
    let after = row(&service, "t").await;
    assert_eq!(
        (&after["failed_item_ids"], &after["progress"]["failed"]),
        (&json!([]), &json!(0))
    );
}
