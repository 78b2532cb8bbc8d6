//! Task ids: every allowed id works in the body and in every query, and an unknown id gets a 404.

use super::{RUN, assert_nothing_stored, post};
use std::collections::BTreeSet;
use std::fmt::Write;
use tests::{Service, run_body};

/// Ids that are allowed but awkward in JSON, in queries and in keys.
fn awkward() -> Vec<String> {
    let mut ids: Vec<String> = [
        "🗑️",
        "a/b",
        "/",
        "..",
        ".",
        "%",
        "100%25",
        "%2e%2e",
        "%00",
        "a+b",
        "+",
        "a#b",
        "#",
        "a&task_id=b",
        "=",
        "?",
        "a;b",
        "\"",
        "\\",
        "\\u0041",
        "'",
        "<script>",
        "{}",
        "[0]",
        "null",
        "T#x",
        "pending#0",
        "日本語",
        "e\u{301}",
        "é",
        "\u{200b}",
        "\u{feff}",
        "\u{fffe}\u{ffff}",
        "\u{202e}abc",
        "-",
        "0",
        "$ref",
        "a:b",
        "a,b",
        "a|b",
    ]
    .map(str::to_owned)
    .to_vec();
    ids.push("t".repeat(255));
    ids.push(format!("{}x", "é".repeat(127)));
    ids.push(format!("🗑️{}", "/".repeat(248)));
    ids
}

/// Every byte percent-encoded.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").unwrap();
        encoded
    })
}

#[tokio::test]
async fn every_allowed_task_id_works_in_every_call() {
    let service = Service::start().await;
    for id in awkward() {
        let query = format!("task_id={}", encoded(&id));
        assert!(id.len() <= 255, "{id}");
        for reply in [
            service.run(&run_body("m", &id, &["a"])).await,
            service.info(&query).await,
            service.cancel(&query).await,
            service.restart(&query).await,
        ] {
            assert_eq!(reply.ok()["id"], id.as_str());
        }
        let replayed = service.run(&run_body("m", &id, &["a"])).await;
        assert_eq!(replayed.header("idempotent-replayed"), Some("true"), "{id}");
        assert_eq!(replayed.ok()["attempt"], 2, "{id}");
    }
    let listed = service.list("limit=1000").await.ok();
    let listed = listed["tasks"].as_array().unwrap().iter();
    let listed: BTreeSet<_> = listed
        .map(|task| task["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, awkward().into_iter().collect());
}

#[tokio::test]
async fn every_allowed_task_id_is_carried_out() {
    let service = Service::start().await;
    for id in awkward() {
        service
            .run(&run_body("embed-456", &id, &["obj-2"]))
            .await
            .ok();
    }
    service.work().await;
    for id in awkward() {
        let query = format!("task_id={}&outcome=all", encoded(&id));
        assert_eq!(service.info(&query).await.ok()["status"], "done", "{id}");
    }
}

#[tokio::test]
async fn an_id_that_needs_no_encoding_may_be_sent_as_it_is() {
    let service = Service::start().await;
    for id in ["a/b", "..", "a=b", "a:b", "a?b", "a,b", "a;b", "~"] {
        service.run(&run_body("m", id, &["a"])).await.ok();
        assert_eq!(service.task(id).await["id"], id);
    }
}

#[tokio::test]
async fn ids_that_only_look_alike_are_different_tasks() {
    let service = Service::start().await;
    let alike = ["é", "e\u{301}", "É", "A", "a", "%61", "a/", "a\u{200b}"];
    for id in alike {
        let reply = service.run(&run_body("m", id, &["a"])).await;
        assert_eq!(reply.header("idempotent-replayed"), None, "{id}");
        reply.ok();
    }
    assert_eq!(service.stored_items().await, alike.len());
}

#[tokio::test]
async fn an_absent_task_is_not_found_in_just_these_words() {
    let service = Service::start().await;
    for id in awkward() {
        let query = format!("task_id={}", encoded(&id));
        for reply in [
            service.info(&query).await,
            service.info(&format!("{query}&outcome=failed")).await,
            service.restart(&query).await,
            service
                .restart(&format!("{query}&scope=all&attempt=1"))
                .await,
            service.cancel(&query).await,
            service.cancel(&format!("{query}&attempt=4294967295")).await,
        ] {
            let problem = reply.problem(404);
            assert_eq!(problem["detail"], format!("Task with ID `{id}` not found"));
        }
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn a_task_without_an_id_or_with_none_gets_one() {
    let service = Service::start().await;
    for body in [
        r#"{"embedding_model_id":"m","object_ids":["a"]}"#,
        r#"{"embedding_model_id":"m","task_id":null,"object_ids":["a"]}"#,
    ] {
        let task = post(&service, body).await.ok();
        let id = task["id"].as_str().unwrap();
        assert_eq!(service.task(id).await, task, "{RUN} {body}");
    }
}
