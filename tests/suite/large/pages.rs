//! What `/info` shows of large tasks.

use super::*;
use tests::wire::{
    Fault,
    call::{GET_TASK, PUT_IDS, READ_CHUNKS},
};

#[tokio::test]
async fn outcomes_are_paged_in_the_order_of_the_request_whatever_is_asked_for() {
    let service = Service::start_with_chunks_of(20).await;
    let objects = ids("o", 2500);
    let there: Vec<_> = objects.iter().step_by(3).cloned().collect();
    service.seed("big", &there).await;
    service.run(&run_body("big", "large", &objects)).await.ok();
    let remaining = service.outcomes_of("large", "remaining").await;
    assert_eq!(remaining.len(), 2500);
    service.work().await;
    let all = service.outcomes("large").await;
    let named: Vec<_> = all.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(named, objects);
    for outcome in ["deleted", "failed", "remaining"] {
        let expected: Vec<_> = all
            .iter()
            .filter(|(_, is)| is == outcome)
            .cloned()
            .collect();
        assert_eq!(
            service.outcomes_of("large", outcome).await,
            expected,
            "{outcome}"
        );
    }
    let task = service.task("large").await;
    assert_eq!(progress(&task), (834, 1666, 0));
    let first: Vec<_> = all
        .iter()
        .filter(|(_, is)| is == "failed")
        .take(1000)
        .collect();
    let shown = task["failed_item_ids"].as_array().unwrap();
    assert_eq!(shown.len(), 1000);
    assert!(
        shown
            .iter()
            .zip(first)
            .all(|(item, (id, _))| item["object_id"] == **id)
    );
}

#[tokio::test]
async fn a_task_without_failures_is_shown_in_one_call_and_a_page_costs_two_more_wherever_it_begins()
{
    let service = Service::start_with_chunks_of(500).await;
    let objects = ids("o", 4000);
    service.seed("big", &objects).await;
    service.run(&run_body("big", "large", &objects)).await.ok();
    service.work().await;
    service.wire.calls();
    service.task("large").await;
    assert_eq!(service.wire.calls(), [GET_TASK]);
    service.outcomes("large").await;
    // The calls read the states of the chunks from there on, and the ids of the chunks on the page.
    let page = [GET_TASK, READ_CHUNKS, READ_CHUNKS];
    assert_eq!(service.wire.calls(), page.repeat(4));
    service.outcomes("large").await;
    // A third chunk says whether another page follows.
    assert_eq!(items_read(&service), [8, 3, 6, 3, 4, 3, 2, 2]);
}

/// How many items each read of chunks was for.
fn items_read(service: &Service) -> Vec<usize> {
    let keys = |table: &Value| table["Keys"].as_array().unwrap().len();
    let tables = |read: &Value| {
        read["RequestItems"]
            .as_object()
            .unwrap()
            .values()
            .map(keys)
            .sum()
    };
    let reads = service.wire.requests(READ_CHUNKS);
    reads.iter().map(tables).collect()
}

#[tokio::test]
async fn ids_are_read_only_of_chunks_that_have_something_to_show() {
    let service = Service::start_with_chunks_of(2).await;
    let objects = ids("o", 90);
    service.seed("big", &objects[..89]).await;
    service.run(&run_body("big", "large", &objects)).await.ok();
    service.work().await;
    service.wire.calls();
    let query = "task_id=large&outcome=failed";
    let page = service.info(query).await.ok();
    assert_eq!(page["items"][0]["object_id"], "o-89");
    // The failures, which every response has, and the page.
    assert_eq!(items_read(&service), [45, 1, 45, 1]);
}

#[tokio::test]
async fn objects_that_are_spread_thinly_are_found_page_by_page() {
    let service = Service::start_with_chunks_of(2).await;
    let objects = ids("o", 300);
    let there: Vec<_> = objects.iter().step_by(2).cloned().collect();
    service.seed("big", &there).await;
    service.run(&run_body("big", "large", &objects)).await.ok();
    service.work().await;
    let query = "task_id=large&outcome=deleted";
    let page = service.info(query).await.ok();
    assert_eq!(
        page["items"].as_array().unwrap().len(),
        40,
        "of as many chunks"
    );
    let found = service.outcomes_of("large", "deleted").await;
    let names: Vec<_> = found.into_iter().map(|(id, _)| id).collect();
    assert_eq!(names, there);
    let failed = service.task("large").await;
    assert_eq!(failed["failed_item_ids"].as_array().unwrap().len(), 150);
}

#[tokio::test]
async fn a_page_of_ids_that_are_long_however_they_are_escaped_fits_in_a_response() {
    let service = Service::start().await;
    let objects: Vec<_> = (0..1500)
        .map(|i| format!("{i}{}", "\"".repeat(1000)))
        .collect();
    service
        .run(&run_body("nowhere", "large", &objects))
        .await
        .ok();
    service.work().await;
    let reply = service.info("task_id=large&outcome=all").await;
    // The function passes the body to Lambda as a JSON string.
    let bytes = serde_json::to_string(&reply.text).unwrap().len();
    assert!(bytes < 6_000_000, "{bytes} bytes");
    reply.ok();
    let all = service.outcomes("large").await;
    assert!(all.iter().map(|(id, _)| id).eq(&objects));
}

#[tokio::test]
async fn items_that_dynamodb_leaves_out_of_a_batch_are_asked_for_again() {
    let service = with_large_task().await;
    service.wire.next_times(2, READ_CHUNKS, Fault::Unprocessed);
    service.wire.next_times(2, PUT_IDS, Fault::Unprocessed);
    let body = run_body("big", "other", &ids("o", 7));
    service.run(&body).await.ok();
    assert_eq!(service.outcomes("other").await.len(), 7);
    service.work().await;
    assert_exact(&service, "left out").await;
}

#[tokio::test]
async fn a_response_that_a_restart_overtakes_shows_counters_and_objects_of_one_attempt() {
    for query in ["task_id=large", "task_id=large&outcome=all"] {
        let service = with_large_task().await;
        service.work().await; // `o-1` and `o-6` do not exist
        let read = service.wire.hold(READ_CHUNKS);
        let info = tokio::spawn({
            let service = Arc::clone(&service);
            async move { service.info(query).await.ok() }
        });
        read.reached().await; // it has read the task, and none of its chunks
        service.insert("big", &["o-1"]).await;
        service.restart("task_id=large").await.ok();
        service.work().await;
        read.release();
        let shown = info.await.unwrap();
        assert_eq!(shown, service.info(query).await.ok(), "{query}");
        assert_eq!(
            (&shown["attempt"], progress(&shown)),
            (&2.into(), (6, 1, 0))
        );
    }
}
