//! The order of lists, and their pages.

use super::{cancel, carry_out, store, walk};
use serde_json::json;
use tests::wire::call::DELETE;
use tests::{DEMO_INDEX, Service};

const NO_INDEX: &str = "no-such-index";

/// Tasks of every status and model, in the order of lists: newest first, and within a second by the
/// bytes of the id. The fields are: id, age in seconds, status, model.
const TASKS: [(&str, i64, &str, &str); 14] = [
    ("0-newest", 0, "done", DEMO_INDEX),
    ("🗑️", 2, "pending", DEMO_INDEX), // in UTF-16 it would come after the next one
    ("\u{fb00}", 2, "canceled", DEMO_INDEX),
    ("é", 2, "pending", NO_INDEX),
    ("~", 2, "done", DEMO_INDEX),
    ("b", 2, "failed", NO_INDEX),
    ("a/", 2, "processing", DEMO_INDEX),
    ("a#", 2, "canceled", NO_INDEX),
    ("a", 2, "pending", DEMO_INDEX),
    ("B", 2, "done", DEMO_INDEX),
    ("10", 2, "failed", NO_INDEX),
    ("1", 2, "pending", DEMO_INDEX),
    ("zzz", 3, "canceled", DEMO_INDEX),
    ("oldest", 86_400, "pending", NO_INDEX),
];

/// The service with all of [`TASKS`].
async fn with_tasks(shards: &str) -> Service {
    let service = Service::start_with(vec![("LIST_SHARDS", shards)]).await;
    // They are created in an order that no list has.
    for number in 0..TASKS.len() {
        let number = (number * 5 + 3) % TASKS.len();
        let (id, seconds_ago, status, model) = TASKS[number];
        let object = format!("obj-{}", 100 + number);
        store(&service, id, model, &object, seconds_ago).await;
        match status {
            "canceled" => cancel(&service, id).await,
            "processing" => leave_half_way(&service, id).await,
            "done" | "failed" => carry_out(&service, id).await,
            _ => {}
        }
    }
    service
}

/// A worker claims this task and dies.
async fn leave_half_way(service: &Service, id: &str) {
    let message = json!({"task_id": id, "attempt": 1}).to_string();
    let delete = service.wire.hold(DELETE);
    let message = [message.as_str()];
    tokio::select! {
        _ = service.deliver(&message) => panic!("it was held"),
        () = delete.reached() => {}
    }
}

/// The ids of the tasks that a list must show, in order.
fn expected(status: Option<&str>, model: Option<&str>) -> Vec<String> {
    let wanted = TASKS.iter().filter(|(_, _, of_status, of_model)| {
        status.is_none_or(|status| status == *of_status)
            && model.is_none_or(|model| model == *of_model)
    });
    wanted.map(|(id, ..)| (*id).to_owned()).collect()
}

fn query(status: Option<&str>, model: Option<&str>) -> String {
    let status = status.map(|status| format!("status={status}"));
    let model = model.map(|model| format!("embedding_model_id={model}"));
    let both: Vec<_> = status.into_iter().chain(model).collect();
    both.join("&")
}

const STATUSES: [&str; 5] = ["pending", "processing", "done", "failed", "canceled"];

/// Fails the test unless pages of each of these sizes show exactly the expected tasks.
async fn assert_pages(
    service: &Service,
    status: Option<&str>,
    model: Option<&str>,
    limits: &[usize],
) {
    let (query, expected) = (query(status, model), expected(status, model));
    for limit in limits {
        let mut pages = walk(service, &query, *limit).await;
        // If only rows that the filter leaves out follow a full page, the last page is empty.
        if model.is_some() && pages.len() > 1 && pages.last().is_some_and(Vec::is_empty) {
            pages.pop();
        }
        let mut full: Vec<_> = expected.chunks(*limit).map(<[_]>::to_vec).collect();
        if expected.is_empty() {
            full.push(Vec::new());
        }
        assert_eq!(pages, full, "`{query}` in pages of {limit}");
    }
}

#[tokio::test]
async fn tasks_come_newest_first_and_within_a_second_by_id_whatever_their_status() {
    let service = with_tasks("4").await;
    assert_eq!(walk(&service, "", 100).await, [expected(None, None)]);
    let statuses = service.list("").await.ok();
    for (task, (id, _, status, model)) in statuses["tasks"].as_array().unwrap().iter().zip(TASKS) {
        assert_eq!((&task["id"], &task["status"]), (&json!(id), &json!(status)));
        assert_eq!(task["embedding_model_id"], model);
    }
}

#[tokio::test]
async fn pages_of_every_size_walk_each_task_exactly_once() {
    let service = with_tasks("4").await;
    let limits: Vec<_> = (1..=TASKS.len() + 1).collect();
    assert_pages(&service, None, None, &limits).await;
}

#[tokio::test]
async fn pages_of_every_size_walk_each_task_of_a_status_exactly_once() {
    let service = with_tasks("4").await;
    for status in STATUSES {
        let count = expected(Some(status), None).len();
        let limits: Vec<_> = (1..=count + 1).collect();
        assert_pages(&service, Some(status), None, &limits).await;
    }
}

#[tokio::test]
async fn pages_of_every_size_walk_each_task_of_a_model_exactly_once() {
    let service = with_tasks("4").await;
    for model in [DEMO_INDEX, NO_INDEX] {
        assert_pages(&service, None, Some(model), &[1, 2, 3, 5, 9, 100]).await;
        for status in STATUSES {
            assert_pages(&service, Some(status), Some(model), &[1, 2]).await;
        }
    }
    assert_pages(&service, None, Some("unused"), &[1]).await;
}

#[tokio::test]
async fn one_shard_and_seven_give_the_same_lists_as_four() {
    for shards in ["1", "7"] {
        let service = with_tasks(shards).await;
        assert_pages(&service, None, None, &[2, 5, TASKS.len()]).await;
        assert_pages(&service, None, Some(NO_INDEX), &[2, 100]).await;
        for status in STATUSES {
            assert_pages(&service, Some(status), None, &[1, 3]).await;
            assert_pages(&service, Some(status), Some(DEMO_INDEX), &[2]).await;
        }
    }
}

#[tokio::test]
async fn as_many_shards_as_there_can_be_give_the_same_lists() {
    let service = with_tasks("64").await;
    assert_pages(&service, None, None, &[5]).await;
    assert_pages(&service, Some("pending"), None, &[1, 2]).await;
}

#[tokio::test]
async fn a_list_of_nothing_is_one_empty_page() {
    let service = Service::start().await;
    let nothing = json!({"tasks": [], "next_cursor": null});
    for query in [
        "",
        "status=done",
        "embedding_model_id=m",
        "status=failed&embedding_model_id=m&limit=1",
    ] {
        assert_eq!(service.list(query).await.ok(), nothing, "{query}");
    }
}
