//! Requests that break a rule. The response is a problem document, and nothing else happens.

use super::{assert_nothing_stored, post};
use serde_json::{Value, json};
use tests::http::Reply;
use tests::{Service, example, ids, run_body};

#[tokio::test]
async fn a_refused_body_is_a_problem_document_and_stores_nothing() {
    let service = Service::start().await;
    let body = r#"{"embedding_model_id":"m","taskId":"t","object_ids":["a",null]}"#;
    let problem = post(&service, body).await.problem(422);
    let expected = json!({
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "The request has 2 validation errors",
        "errors": [
            {"pointer": "/taskId", "detail": "is not known; did you mean `task_id`?"},
            {"pointer": "/object_ids/1", "detail": "must be a string, got null"},
        ],
    });
    assert_eq!(problem, expected);
    for body in [&b"{"[..], b"{\"task_id\":\"\xff\"}"] {
        let problem = post(&service, body).await.problem(400);
        assert_eq!(problem.get("errors"), None);
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn a_refused_query_changes_nothing() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    let before = service.task("delete-xyz").await;
    for wrong in ["attempt=0", "attempt=1&attempt=1", "force=true"] {
        let query = format!("task_id=delete-xyz&{wrong}");
        service.cancel(&query).await.problem(422);
        service.restart(&query).await.problem(422);
    }
    assert_eq!(service.task("delete-xyz").await, before);
    let waiting = service.waiting(&service.running.queue_url).await;
    assert_eq!(waiting, 1, "the restarts have sent nothing");
}

#[tokio::test]
async fn a_cursor_is_good_only_as_it_was_given_and_for_its_own_query() {
    let service = Service::start().await;
    for id in ids("task", 3) {
        service.run(&run_body("m", &id, &["a"])).await.ok();
    }
    let filters = ["", "status=pending", "embedding_model_id=m"];
    let mut cursors = Vec::new();
    for filter in filters {
        let page = service.list(&format!("{filter}&limit=1")).await.ok();
        cursors.push(page["next_cursor"].as_str().unwrap().to_owned());
    }
    for (number, (filter, own)) in filters.iter().zip(&cursors).enumerate() {
        // A query with another limit counts as the same query.
        let good = format!("{filter}&limit=2&cursor={own}");
        service.list(&good).await.ok();
        let damaged = [own[..own.len() - 1].to_owned(), format!("{own}=")];
        let others = [&cursors[..number], &cursors[number + 1..]].concat();
        for bad in damaged.into_iter().chain(others) {
            let reply = service.list(&format!("{filter}&cursor={bad}")).await;
            assert_cursor_refused(reply);
        }
    }
    let of_a_list = format!("task_id=task-1&outcome=all&cursor={}", cursors[0]);
    assert_cursor_refused(service.info(&of_a_list).await);
}

#[track_caller]
fn assert_cursor_refused(reply: Reply) {
    let problem = reply.problem(422);
    let errors: Vec<_> = problem["errors"].as_array().unwrap().iter().collect();
    let parameters: Vec<&Value> = errors.iter().map(|error| &error["parameter"]).collect();
    assert_eq!(parameters, ["cursor"], "{problem}");
}
