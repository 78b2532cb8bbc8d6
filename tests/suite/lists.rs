//! Lists: their order, their pages, what a row shows, and walks while tasks are created and change.

mod changes;
mod many;
mod paging;
mod rows;
mod times;

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::store::{NewTask, Written};
use shared::task::{Fingerprint, ModelId, ObjectIds, TaskId};
use tests::Service;

/// Stores a task that was created this many seconds ago, without HTTP or a queue.
async fn store(service: &Service, id: &str, model: &str, object: &str, seconds_ago: i64) {
    let model = ModelId::new(model).unwrap();
    let mut object_ids = ObjectIds::default();
    object_ids.push(object).unwrap();
    let object_ids = object_ids.distinct();
    let new = NewTask {
        id: TaskId::new(id).unwrap(),
        fingerprint: Fingerprint::of(&model, &object_ids),
        model,
        object_ids: object_ids.into_ids(),
        reason: None,
        created_by: None,
        retention: TimeDelta::days(90),
    };
    let created_at = service.now() - TimeDelta::seconds(seconds_ago);
    let created = service
        .running
        .handlers
        .store
        .create_if_absent(new, created_at);
    assert!(matches!(created.await.unwrap(), Written::Applied(_)));
}

/// Cancels a task, whatever its id.
async fn cancel(service: &Service, id: &str) {
    let id = TaskId::new(id).unwrap();
    let store = &service.running.handlers.store;
    let canceled = store.cancel_if_open(&id, None, None, service.now());
    assert!(matches!(canceled.await.unwrap(), Written::Applied(_)));
}

/// Passes this task's message to the worker.
async fn carry_out(service: &Service, id: &str) {
    let message = json!({"task_id": id, "attempt": 1}).to_string();
    assert_eq!(service.deliver(&[&message]).await, 0);
}

/// The ids of a page's tasks.
fn ids_of(page: &Value) -> Vec<String> {
    let tasks = page["tasks"].as_array().unwrap().iter();
    tasks
        .map(|task| task["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The page after `cursor`, or the first one. Returns its tasks' ids and the next cursor.
async fn page(
    service: &Service,
    filter: &str,
    limit: usize,
    cursor: Option<&str>,
) -> (Vec<String>, Option<String>) {
    let cursor = cursor
        .map(|cursor| format!("&cursor={cursor}"))
        .unwrap_or_default();
    let page = service
        .list(&format!("{filter}&limit={limit}{cursor}"))
        .await
        .ok();
    let next = &page["next_cursor"];
    assert!(next.is_string() || next.is_null(), "{next}");
    let ids = ids_of(&page);
    assert!(
        ids.len() <= limit,
        "{} tasks on a page of {limit}",
        ids.len()
    );
    (ids, next.as_str().map(str::to_owned))
}

/// Walks a listing from its first page to its last.
async fn walk(service: &Service, filter: &str, limit: usize) -> Vec<Vec<String>> {
    walk_from(service, filter, limit, None).await
}

/// Walks a listing from the page after this cursor to the last.
async fn walk_from(
    service: &Service,
    filter: &str,
    limit: usize,
    mut cursor: Option<String>,
) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let (ids, next) = page(service, filter, limit, cursor.as_deref()).await;
        pages.push(ids);
        cursor = next;
        if cursor.is_none() {
            return pages;
        }
        assert!(pages.len() < 100, "the walk does not end");
    }
}
