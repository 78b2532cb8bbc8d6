//! Lists of the tasks that were created within a period.

use super::{store, walk};
use chrono::{SecondsFormat, TimeDelta};
use tests::wire::call::QUERY;
use tests::{DEMO_INDEX, Service};

/// Ten tasks, one created each minute; `minute-0` is the newest.
async fn with_tasks() -> Service {
    let service = Service::start().await;
    for minute in 0..10 {
        let id = format!("minute-{minute}");
        store(&service, &id, DEMO_INDEX, "obj-1", minute * 60).await;
    }
    service
}

/// The time this many milliseconds ago, for a query.
fn ago(service: &Service, millis: i64) -> String {
    let time = service.now() - TimeDelta::milliseconds(millis);
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The tasks of these minutes.
fn minutes(minutes: impl IntoIterator<Item = i64>) -> Vec<String> {
    let minutes = minutes.into_iter();
    minutes.map(|minute| format!("minute-{minute}")).collect()
}

#[tokio::test]
async fn the_first_moment_is_in_the_time_and_the_last_is_not() {
    let service = with_tasks().await;
    for (after, before, expected) in [
        (Some(180_000), None, 0..4),
        (Some(180_001), None, 0..4),
        (Some(179_999), None, 0..3),
        (None, Some(180_000), 4..10),
        (None, Some(180_001), 4..10),
        (None, Some(179_999), 3..10),
        (Some(420_000), Some(180_000), 4..8),
        (Some(900_000), Some(0), 1..10),
        (Some(0), Some(-1), 0..1),
        (Some(-1), None, 0..0),
        (None, Some(3_600_000), 0..0),
    ] {
        let after = after.map(|millis| format!("created_after={}", ago(&service, millis)));
        let before = before.map(|millis| format!("created_before={}", ago(&service, millis)));
        let bounds: Vec<_> = after.into_iter().chain(before).collect();
        let bounds = bounds.join("&");
        for status in ["", "&status=pending"] {
            for limit in [1, 3, 100] {
                let query = format!("{bounds}{status}");
                let listed = walk(&service, &query, limit).await.concat();
                assert_eq!(listed, minutes(expected.clone()), "{query}, {limit}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_of_a_time_reads_no_more_than_one_without() {
    let service = Service::start_with(vec![("LIST_SHARDS", "1")]).await;
    for second in 0..300 {
        let id = format!("second-{second}");
        store(&service, &id, DEMO_INDEX, "obj-1", second).await;
    }
    service.list("status=pending&limit=50").await.ok();
    let without = service.wire.count(QUERY);
    let query = format!(
        "status=pending&limit=50&created_before={}&created_after={}",
        ago(&service, 200_000),
        ago(&service, 249_000)
    );
    let page = service.list(&query).await.ok();
    assert_eq!((without, service.wire.count(QUERY)), (1, 1));
    assert_eq!(page["tasks"].as_array().unwrap().len(), 49);
    assert_eq!(page["next_cursor"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_cursor_belongs_to_its_time() {
    let service = with_tasks().await;
    let after = format!("created_after={}", ago(&service, 300_000));
    let page = service.list(&format!("{after}&limit=2")).await.ok();
    let cursor = page["next_cursor"].as_str().unwrap();
    for other in [
        String::new(),
        format!("created_after={}", ago(&service, 60_000)),
    ] {
        let query = format!("{other}&limit=2&cursor={cursor}");
        service.list(&query).await.problem(422);
    }
}
