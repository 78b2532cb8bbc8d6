//! Tests that the document has the responses that API Gateway itself makes, as configured in
//! `template.yaml`.

use serde_json::Value;
use std::collections::BTreeSet;
use tests::openapi::Document;

/// The problems in the template.
fn in_template() -> Vec<Value> {
    let template = include_str!("../../../template.yaml");
    let bodies = template.lines().filter_map(|line| {
        let body = line.trim().strip_prefix("application/json: '")?;
        let body = body
            .strip_suffix('\'')
            .filter(|body| body.contains("about:blank"))?;
        // This is the only variable. Its value is a string with quotes.
        let body = body.replace("$context.error.messageString", r#""""#);
        Some(serde_json::from_str(&body).unwrap_or_else(|error| panic!("{body}: {error}")))
    });
    bodies.collect()
}

fn kind(problem: &Value) -> (u64, &str) {
    let status = problem["status"].as_u64().unwrap();
    (status, problem["title"].as_str().unwrap())
}

#[test]
fn every_kind_of_response_that_api_gateway_makes_is_documented() {
    let document = Document::read();
    let operations = document.operations();
    let responses = operations.iter().flat_map(|operation| {
        let responses = operation.value["responses"].as_object().unwrap();
        responses.values()
    });
    let documented: BTreeSet<_> = responses
        .flat_map(|response| document.problems(document.resolved(response)))
        .map(kind)
        .collect();
    let made = in_template();
    assert!(!made.is_empty());
    for problem in &made {
        assert!(documented.contains(&kind(problem)), "{problem}");
    }
}

#[test]
fn every_response_that_is_shown_as_api_gateways_is_one_of_the_templates() {
    let (document, made) = (Document::read(), in_template());
    let responses = document.at("/components/responses").as_object().unwrap();
    let from_gateway = |response: &&Value| response["x-sent-by"] == "API Gateway";
    let mut shown = 0;
    for response in responses.values().filter(from_gateway) {
        let examples = &response["content"]["application/problem+json"]["examples"];
        for example in examples.as_object().unwrap().values() {
            assert!(made.contains(&example["value"]), "{}", example["value"]);
            shown += 1;
        }
    }
    assert!(shown > 0);
}
