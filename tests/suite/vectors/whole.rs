//! The whole service over PostgreSQL and over the store protocol: what a caller sees.

use super::contract::{Breakable, Fixture};
use super::embedding_studio::collection;
use super::postgres::table;
use chrono::TimeDelta;
use serde_json::json;
use shared::clock::Clock;
use tests::bridge::{Bridge, Instead};
use tests::wire::call::{GET_TASK, RETURN};
use tests::{Service, ids, run_body};

/// The service over these stores, in this order.
async fn over(stores: &[(&str, &str)]) -> Service {
    let rules = stores
        .iter()
        .map(|(pattern, url)| format!("{}: {}", json!(pattern), json!(url)));
    let rules = rules.collect::<Vec<_>>().join(", ");
    Service::start_with(vec![("VECTOR_STORES", &format!("{{{rules}}}"))]).await
}

#[tokio::test]
async fn a_task_over_several_stores_chooses_by_model_and_says_what_became_of_each_object() {
    let (rows, numbers, studio) = (
        table("text").await,
        table("bigint").await,
        collection().await,
    );
    let parameters = "table=items&id_column=object_id";
    let service = over(&[
        ("embed*", "s3vectors://demo/{embedding_model_id}"),
        ("numbers", &numbers.database.url(parameters)),
        ("model-*", &studio.database.url("layout=embedding-studio")),
        ("*", &rows.database.url(parameters)),
    ])
    .await;
    let here = ids("object", 1_200);
    rows.seed(&here).await;
    numbers.seed(&["7".to_owned(), "8".to_owned()]).await;
    studio.insert(&["a", "b", "c"]).await;

    // The list is large enough for several chunks.
    let mut listed = here.clone();
    listed.insert(700, "absent".to_owned());
    service.run(&run_body("items", "rows", &listed)).await.ok();
    service
        .run(&run_body("numbers", "numbers", &["7", "007", "seven", "9"]))
        .await
        .ok();
    service
        .run(&run_body("model-1", "studio", &["a", "x", "b"]))
        .await
        .ok();
    service
        .run(&run_body("embed-456", "s3", &["obj-1", "obj-2"]))
        .await
        .ok();
    service.work().await;

    let task = service.task("rows").await;
    assert_eq!(
        (&task["status"], &task["progress"]["deleted"]),
        (&"done".into(), &1_200.into())
    );
    let absent = json!([{"object_id": "absent", "detail": "Object not found in index"}]);
    assert_eq!(task["failed_item_ids"], absent);
    assert!(rows.left().await.is_empty());

    let task = service.task("numbers").await;
    let refused = "The vector store's ids are whole numbers of 64 bits, in plain digits";
    assert_eq!(
        task["status"], "done",
        "an id that cannot be one fails no task"
    );
    let failed = json!([
        {"object_id": "007", "detail": refused},
        {"object_id": "seven", "detail": refused},
        {"object_id": "9", "detail": "Object not found in index"},
    ]);
    assert_eq!(task["failed_item_ids"], failed);
    assert_eq!(numbers.left().await.into_iter().collect::<Vec<_>>(), ["8"]);

    let task = service.task("studio").await;
    assert_eq!(
        (&task["status"], &task["progress"]["deleted"]),
        (&"done".into(), &2.into())
    );
    assert_eq!(task["failed_item_ids"][0]["object_id"], "x");
    assert_eq!(studio.left().await.into_iter().collect::<Vec<_>>(), ["c"]);
    assert_eq!(service.task("s3").await["progress"]["deleted"], 1);
}

#[tokio::test]
async fn a_database_is_not_asked_for_more_objects_a_second_than_its_url_says() {
    let rows = table("text").await;
    let parameters = "table=items&id_column=object_id&objects_per_second=100";
    let service = over(&[("*", &rows.database.url(parameters))]).await;
    let here = ids("object", 500);
    rows.seed(&here).await;
    service.run(&run_body("items", "rows", &here)).await.ok();
    let began = service.now();
    service.work_once().await;
    assert_eq!(service.task("rows").await["progress"]["deleted"], 500);
    // There are five deletes of a second each. The first begins at once, and an idle database has
    // saved a fifth of a second.
    let took = (service.now() - began).num_milliseconds();
    assert!((3_800..4_100).contains(&took), "{took}");
}

#[tokio::test]
async fn a_missing_table_and_denied_access_fail_the_task_and_say_why() {
    let rows = table("text").await;
    let url = rows
        .database
        .url("table={embedding_model_id}&id_column=object_id");
    let service = over(&[("*", &url)]).await;
    rows.seed(&["a".to_owned()]).await;
    service
        .run(&run_body("nothing", "missing", &["a"]))
        .await
        .ok();
    service.work().await;
    let task = service.task("missing").await;
    assert_eq!(task["status"], "failed");
    assert_eq!(task["detail"], "Table `nothing` does not exist");

    rows.deny().await;
    service.run(&run_body("items", "denied", &["a"])).await.ok();
    service.work().await;
    let task = service.task("denied").await;
    assert_eq!(task["status"], "failed");
    assert_eq!(
        task["detail"],
        "Access to table `items` is denied: the role lacks SELECT on `items`, DELETE on `items`"
    );
    rows.heal().await;
    service.restart("task_id=denied").await.ok();
    service.work().await;
    assert_eq!(service.task("denied").await["progress"]["deleted"], 1);
}

#[tokio::test]
async fn a_task_over_the_store_protocol_says_of_each_object_what_its_store_says() {
    let bridge = Bridge::start(&["my-index"]).await;
    let service = over(&[("*", &bridge.url())]).await;
    bridge.go_by(Clock::Manual(service.clock.clone()));
    let here = ids("object", 1_200);
    bridge.put("my-index", &here);
    bridge.keep(&[&here[3]]);
    let long = "x".repeat(513);
    let mut listed = here.clone();
    listed.extend(["absent".to_owned(), long.clone()]);
    service.run(&run_body("my-index", "t", &listed)).await.ok();
    service.work().await;

    let task = service.task("t").await;
    let kept = "The vector store still has the object after the delete: it kept it, or it was inserted again";
    assert_eq!(
        (&task["status"], &task["detail"]),
        (&json!("failed"), &json!(kept))
    );
    assert_eq!(task["progress"]["deleted"], 1_199);
    let failed = json!([
        {"object_id": here[3], "detail": kept},
        {"object_id": "absent", "detail": "Object not found in index"},
        {"object_id": long, "detail": "The store says: ids have at most 512 bytes"},
    ]);
    assert_eq!(task["failed_item_ids"], failed);
    assert_eq!(
        bridge.left("my-index").into_iter().collect::<Vec<_>>(),
        [here[3].clone()]
    );

    bridge.keep(&[]);
    service.restart("task_id=t").await.ok();
    service.work().await;
    let task = service.task("t").await;
    assert_eq!(
        (&task["status"], &task["progress"]["deleted"]),
        (&json!("done"), &json!(1_200))
    );
}

#[tokio::test]
async fn a_store_that_is_not_there_or_has_no_such_index_fails_the_task_and_says_so() {
    let bridge = Bridge::start(&["my-index"]).await;
    let service = over(&[("*", &bridge.url())]).await;
    bridge.go_by(Clock::Manual(service.clock.clone()));
    service
        .run(&run_body("other", "no-index", &["a"]))
        .await
        .ok();
    service.work().await;
    assert_eq!(
        service.task("no-index").await["detail"],
        "Vector index `other` does not exist"
    );

    let not_found = Instead::Response(404, "text/html", "<html>".to_owned());
    bridge.respond(Some(not_found));
    service
        .run(&run_body("my-index", "no-store", &["a"]))
        .await
        .ok();
    service.work().await;
    let task = service.task("no-store").await;
    assert_eq!(task["status"], "failed");
    let detail = "There is no vector store at the URL that VECTOR_STORES names for this model";
    assert_eq!(task["detail"], detail);
}

/// A store behind the protocol with two objects, and a task `t` that deletes them.
async fn with_a_task(parameters: &str) -> (Bridge, Service) {
    let bridge = Bridge::start(&["index"]).await;
    let url = format!("{}?{parameters}", bridge.url());
    let service = over(&[("*", &url)]).await;
    bridge.go_by(Clock::Manual(service.clock.clone()));
    let objects = ids("object", 2);
    bridge.put("index", &objects);
    service.run(&run_body("index", "t", &objects)).await.ok();
    (bridge, service)
}

/// The operations of the calls to a store since this function was last called.
fn operations(bridge: &Bridge) -> Vec<String> {
    let calls = bridge.calls().into_iter();
    calls.map(|call| call.operation).collect()
}

#[tokio::test]
async fn work_on_a_store_that_asks_for_a_long_pause_is_handed_back_until_it_is_over() {
    let (bridge, service) = with_a_task("objects_per_second=10").await;
    let began = service.now();
    bridge.throttle_next("present", "20");
    service.work_once().await;
    assert_eq!(operations(&bridge), ["present"]);
    let delays = service.wire.delays();
    assert!(matches!(delays[..], [21..=25]), "{delays:?}");
    assert_eq!(service.now(), began, "nobody waits for it");

    // The work on another task of this index does not call the store either, and takes no turn.
    let other = run_body("index", "other", &ids("other", 2));
    service.run(&other).await.ok();
    service.pass(TimeDelta::seconds(10));
    service.wire.calls();
    service.work_once().await;
    assert_eq!(operations(&bridge), [""; 0]);
    assert_eq!(service.wire.calls(), [GET_TASK, RETURN]);
    let delays = service.wire.delays();
    assert!(matches!(delays[..], [11..=15]), "{delays:?}");
    assert_eq!(service.task("t").await["status"], "pending");
    assert_eq!(service.stored_numbers("tries").await, [0; 0]);

    service.pass(TimeDelta::seconds(10));
    service.deliver(&[r#"{"task_id":"t","attempt":1}"#]).await;
    assert_eq!(service.task("t").await["progress"]["deleted"], 2);
    assert_eq!(operations(&bridge), ["present", "delete"]);
}

#[tokio::test]
async fn a_short_pause_that_a_store_asks_for_is_waited_for() {
    for (operation, calls) in [
        ("present", ["present", "present", "delete"]),
        ("delete", ["present", "delete", "delete"]),
    ] {
        let (bridge, service) = with_a_task("").await;
        let began = service.now();
        bridge.throttle_next(operation, "4");
        service.work_once().await;
        assert_eq!(service.task("t").await["progress"]["deleted"], 2);
        assert_eq!(operations(&bridge), calls);
        let waited = (service.now() - began).num_milliseconds();
        assert!((4_000..5_000).contains(&waited), "{waited}");
    }
}

#[tokio::test]
async fn a_delete_of_a_store_that_asks_for_a_long_pause_is_put_off_and_is_no_try() {
    let (bridge, service) = with_a_task("").await;
    let began = service.now();
    bridge.throttle_next("delete", "90");
    service.work_once().await;
    assert_eq!(operations(&bridge), ["present", "delete"]);
    assert_eq!(service.now(), began, "nobody waits for it");
    assert_eq!(service.task("t").await["status"], "processing");
    assert_eq!(service.stored_numbers("tries").await, [0]);

    // The sweeper sends the task again before the pause is over.
    service.assert_due_in(60, "throttled").await;
    service.work_once().await;
    assert_eq!(operations(&bridge), [""; 0]);
    let delays = service.wire.delays();
    assert!(matches!(delays[..], [31..=35]), "{delays:?}");
    service.pass(TimeDelta::seconds(30));
    service.deliver(&[r#"{"task_id":"t","attempt":1}"#]).await;
    assert_eq!(service.task("t").await["progress"]["deleted"], 2);
}
