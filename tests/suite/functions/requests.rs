//! Valid and invalid requests in the forms that API Gateway gives them.

use super::{CREATOR, example, received, services, stored, timeless};
use serde_json::{Value, json};
use tests::runtime_api::{Function, event};

/// A task id whose characters have a meaning in a URL, in a form and in JSON.
const ODD_ID: &str = r#"a/b%41+c&task_id=d?#\"é🦀"#;

/// Names and values, as a REST API passes them on: decoded.
type Query<'a> = &'a [(&'a str, &'a str)];

/// The event with this body.
fn with_body(name: &str, body: impl Into<Value>) -> Value {
    let mut event = event(name);
    event["body"] = body.into();
    event
}

/// The event with this query.
fn with_query(name: &str, query: Query) -> Value {
    let mut event = event(name);
    let (mut last, mut all) = (json!({}), json!({}));
    for (name, value) in query {
        last[name] = (*value).into();
        match all[name].as_array_mut() {
            Some(values) => values.push((*value).into()),
            None => all[name] = json!([value]),
        }
    }
    event["queryStringParameters"] = last;
    event["multiValueQueryStringParameters"] = all;
    event
}

/// The same request from an HTTP API (payload format 2.0), with headers in lower case and the query
/// as it was sent.
fn of_http_api(event: &Value, raw_query: &str) -> Value {
    let headers = event["headers"].as_object().unwrap().iter();
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.clone()));
    let path = &event["requestContext"]["path"];
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": raw_query,
        "headers": headers.collect::<serde_json::Map<_, _>>(),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "authorizer": {"iam": {"userArn": event["requestContext"]["identity"]["userArn"]}},
            "domainName": "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "a1b2c3d4e5",
            "http": {
                "method": event["httpMethod"],
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "deletion-client/1.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "live",
            "time": "21/May/2024:12:00:00 +0000",
            "timeEpoch": 1_716_292_800_000_u64,
        },
        "body": event["body"],
        "isBase64Encoded": false,
    });
    // An HTTP API leaves out empty fields.
    event
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    event
}

#[tokio::test]
async fn a_body_in_base64_is_accepted() {
    let running = services().await;
    let mut create = Function::start("create-deletion-task", &running).await;
    // {"embedding_model_id":"embed-456","task_id":"delete-xyz","object_ids":["obj-1","ö"]}
    let mut event = with_body(
        "create-deletion-task",
        "eyJlbWJlZGRpbmdfbW9kZWxfaWQiOiJlbWJlZC00NTYiLCJ0YXNrX2lkIjoiZGVsZXRlLXh5eiIsIm9iamVjdF9pZHMiOlsib2JqLTEiLCLDtiJdfQ==",
    );
    event["isBase64Encoded"] = true.into();
    let created = create.call(&event).await.ok();
    assert_eq!(timeless(created), example("pending", 1, &[], [0, 0, 2]));
}

#[tokio::test]
async fn an_http_api_may_stand_in_for_the_rest_api() {
    let running = services().await;
    let calls = [
        ("create-deletion-task", "", "pending"),
        ("get-deletion-task", "task_id=delete-xyz", "pending"),
        ("cancel-deletion-task", "task_id=delete-xyz", "canceled"),
        (
            "restart-deletion-task",
            "task_id=delete-xyz&attempt=1",
            "pending",
        ),
    ];
    for (name, query, status) in calls {
        let mut function = Function::start(name, &running).await;
        let task = function.call(&of_http_api(&event(name), query)).await.ok();
        assert_eq!(task["created_by"], CREATOR);
        assert_eq!(
            (&task["id"], &task["status"]),
            (&json!("delete-xyz"), &json!(status))
        );
    }
    let mut list = Function::start("list-deletion-tasks", &running).await;
    let listed = of_http_api(&event("list-deletion-tasks"), "status=pending&limit=10");
    assert_eq!(
        list.call(&listed).await.ok()["tasks"][0]["id"],
        "delete-xyz"
    );
}

#[tokio::test]
async fn any_task_id_survives_the_way_through_both_kinds_of_api() {
    let running = services().await;
    let body = json!({"embedding_model_id": "m", "task_id": ODD_ID, "object_ids": ["o"]});
    let mut create = Function::start("create-deletion-task", &running).await;
    let created = with_body("create-deletion-task", body.to_string());
    assert_eq!(create.call(&created).await.ok()["id"], ODD_ID);

    let mut get = Function::start("get-deletion-task", &running).await;
    let rest = with_query("get-deletion-task", &[("task_id", ODD_ID)]);
    assert_eq!(get.call(&rest).await.ok()["id"], ODD_ID);
    let encoded: String = ODD_ID.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let http = of_http_api(&rest, &format!("task_id={encoded}"));
    assert_eq!(get.call(&http).await.ok()["id"], ODD_ID);
}

#[tokio::test]
async fn a_bad_body_is_refused_with_every_error_and_creates_nothing() {
    let running = services().await;
    let mut create = Function::start("create-deletion-task", &running).await;
    for body in [
        json!(null),
        json!(""),
        json!("{"),
        json!("[1,]"),
        json!("{} {}"),
    ] {
        let event = with_body("create-deletion-task", body);
        create.call(&event).await.problem(400);
    }
    let body = r#"{"embedding_model_id":"","taskId":"delete-xyz","object_ids":["obj-1",2]}"#;
    let problem = create
        .call(&with_body("create-deletion-task", body))
        .await
        .problem(422);
    let errors = problem["errors"].as_array().unwrap().iter();
    let pointers: Vec<_> = errors
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    for pointer in ["/embedding_model_id", "/taskId", "/object_ids/1"] {
        assert!(pointers.contains(&pointer), "{problem}");
    }
    let mut text = event("create-deletion-task");
    text["headers"]["Content-Type"] = "text/plain".into();
    text["multiValueHeaders"]["Content-Type"] = json!(["text/plain"]);
    create.call(&text).await.problem(415);
    assert_eq!(stored(&running).await, Vec::<String>::new());
    assert!(received(&running).await.is_empty());
}

#[tokio::test]
async fn a_bad_query_is_refused_with_every_error() {
    let running = services().await;
    let cases: [(&str, Query, &[&str]); 6] = [
        ("get-deletion-task", &[], &["task_id"]),
        (
            "get-deletion-task",
            &[("task_id", "a"), ("task_id", "b")],
            &["task_id"],
        ),
        (
            "list-deletion-tasks",
            &[("limit", "0"), ("status", "gone")],
            &["limit", "status"],
        ),
        ("list-deletion-tasks", &[("page", "2")], &["page"]),
        (
            "restart-deletion-task",
            &[("task_id", "a"), ("attempt", "-1")],
            &["attempt"],
        ),
        ("cancel-deletion-task", &[("id", "a")], &["id", "task_id"]),
    ];
    for (name, query, wrong) in cases {
        let mut function = Function::start(name, &running).await;
        let problem = function.call(&with_query(name, query)).await.problem(422);
        let errors = problem["errors"].as_array().unwrap().iter();
        let mut named: Vec<_> = errors
            .map(|error| error["parameter"].as_str().unwrap())
            .collect();
        named.sort_unstable();
        assert_eq!(named, wrong, "{name}: {problem}");
    }
}

#[tokio::test]
async fn a_task_that_does_not_exist_is_not_found_by_any_function() {
    let running = services().await;
    for name in [
        "get-deletion-task",
        "restart-deletion-task",
        "cancel-deletion-task",
    ] {
        let mut function = Function::start(name, &running).await;
        let problem = function.call(&event(name)).await.problem(404);
        assert_eq!(problem["detail"], "Task with ID `delete-xyz` not found");
    }
}
