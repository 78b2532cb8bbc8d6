//! Tests that the service sends every example response of the document, byte for byte, for the
//! example's request.

use chrono::TimeDelta;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tests::http::Reply;
use tests::openapi::{Document, Example};
use tests::wire::Fault;
use tests::{Service, example, run_body};

/// Headers that belong to HTTP itself.
const OF_HTTP: [&str; 4] = ["connection", "content-length", "content-type", "date"];

/// A service in the state that the document's words describe.
async fn given(words: Option<&str>) -> Arc<Service> {
    let settings = match words {
        Some("`delete-xyz` is pending, and the deployment has `TASK_ID_REUSE=reject`") => {
            vec![("TASK_ID_REUSE", "reject")]
        }
        _ => Vec::new(),
    };
    let service = Arc::new(Service::start_with(settings).await);
    let Some(words) = words else {
        return service;
    };
    match words {
        "DynamoDB is throttling" => return broken(service, "ThrottlingException"),
        "DynamoDB refuses the service's calls" => return broken(service, "AccessDeniedException"),
        "`delete-abc` and `delete-xyz` are pending" => {
            service
                .run(&run_body("embed-456", "delete-abc", &["obj-3"]))
                .await
                .ok();
        }
        _ => {}
    }
    let model = match words {
        "`delete-xyz` has failed" => "embed-457",
        _ => "embed-456",
    };
    let mut body = example();
    body["embedding_model_id"] = model.into();
    service.run(&body).await.ok();
    match words {
        "`delete-xyz` is pending"
        | "`delete-xyz` is pending, and the deployment has `TASK_ID_REUSE=reject`"
        | "`delete-abc` and `delete-xyz` are pending" => {}
        "`delete-xyz` is processing" => {
            let delete = service.wire.hold("S3Vectors.DeleteVectors");
            service.start_work();
            delete.reached().await;
        }
        "`delete-xyz` is done" | "`delete-xyz` has failed" => service.work().await,
        "`delete-xyz` was done, and is restarted" => {
            service.work().await;
            service.restart("task_id=delete-xyz").await.ok();
        }
        "`delete-xyz` is done, and 89 days and a half have passed" => {
            service.work().await;
            service.pass(TimeDelta::days(89) + TimeDelta::hours(12));
        }
        "`delete-xyz` is done, and 90 days have passed" => {
            service.work().await;
            service.pass(TimeDelta::days(90));
        }
        _ => panic!("say here how this comes about: {words}"),
    }
    service
}

fn broken(service: Arc<Service>, error: &'static str) -> Arc<Service> {
    for call in ["UpdateItem", "Query"] {
        let call = format!("DynamoDB.{call}");
        service
            .wire
            .next_times(100, &call, Fault::Refused(400, error));
    }
    service
}

async fn send(service: &Service, example: &Example) -> Reply {
    let headers = example
        .content_headers
        .iter()
        .filter(|_| example.body.is_some());
    let headers: Vec<_> = headers
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let body = example.body.clone().unwrap_or_default();
    service
        .send_with(&example.method, &example.target, &headers, body)
        .await
}

/// Replaces the id that the service made for a task by the document's id.
fn with_made_up_id(mut sent: Value, example: &Example) -> Value {
    let body = example.body.as_deref().map(serde_json::from_slice::<Value>);
    if let Some(Ok(body)) = body
        && example.answer.0 == 200
        && body["task_id"].is_null()
    {
        let (made, shown) = (
            sent["id"].as_str().unwrap(),
            example.value["id"].as_str().unwrap(),
        );
        // Both are UUIDs of the same version and time.
        assert_eq!(
            (made.len(), &made[..15]),
            (shown.len(), &shown[..15]),
            "{}",
            example.place
        );
        sent["id"] = shown.into();
    }
    sent
}

#[tokio::test]
async fn every_response_that_is_shown_is_what_the_service_sends() {
    let examples = Document::read().examples();
    assert!(examples.len() > 30, "{}", examples.len());
    for example in examples {
        let service = given(example.given.as_deref()).await;
        let reply = send(&service, &example).await;
        let place = &example.place;
        assert_eq!(reply.status, example.answer.0, "{place}: {}", reply.text);
        assert_eq!(
            reply.header("content-type"),
            Some(example.answer.1.as_str()),
            "{place}"
        );
        let sent = with_made_up_id(reply.json.clone(), &example);
        assert_eq!(sent, example.value, "{place}: {}", reply.text);
        assert_headers(&reply, &example);
    }
}

/// Fails the test unless the response has the headers of its example, and otherwise only the
/// headers that all responses of its kind have.
fn assert_headers(reply: &Reply, example: &Example) {
    let place = &example.place;
    for (name, value) in &example.headers {
        assert_eq!(reply.header(name), value.as_str(), "{place}: {name}");
    }
    let shown = example.headers.keys().map(|name| name.to_lowercase());
    let expected: BTreeSet<_> = shown.chain(["cache-control".to_owned()]).collect();
    let sent = reply.headers.keys().map(|name| name.to_string());
    let sent: BTreeSet<_> = sent.filter(|name| !OF_HTTP.contains(&&**name)).collect();
    assert_eq!(sent, expected, "{place}");
    for name in &sent {
        let known = example.known_headers.get(name);
        let known = known.unwrap_or_else(|| panic!("{place}: {name} is not documented"));
        let (schema, value) = (&known["schema"], reply.header(name).unwrap());
        if let (Some(least), Some(most)) = (schema["minimum"].as_u64(), schema["maximum"].as_u64())
        {
            let value: u64 = value.parse().expect("a number");
            assert!((least..=most).contains(&value), "{place}: {name}: {value}");
            continue;
        }
        let allowed = schema["enum"].as_array().cloned();
        let allowed = allowed.unwrap_or_else(|| vec![schema["const"].clone()]);
        // A header's value is text, even if it is a number.
        let allowed = allowed.iter().map(|allowed| match allowed.as_str() {
            Some(text) => text.to_owned(),
            None => allowed.to_string(),
        });
        assert!(
            allowed.into_iter().any(|allowed| allowed == value),
            "{place}: {name}: {value}"
        );
    }
    for (name, known) in &example.known_headers {
        let required = known["required"] == true;
        assert!(!required || sent.contains(name), "{place}: no {name}");
    }
}

#[test]
fn the_responses_that_the_service_makes_are_all_shown() {
    let document = Document::read();
    let shown: BTreeSet<_> = document
        .examples()
        .iter()
        .map(|example| example.answer.0)
        .collect();
    let documented: BTreeSet<_> = document
        .operations()
        .iter()
        .flat_map(|operation| document.statuses(operation))
        .collect();
    assert_eq!(shown, documented);
}
