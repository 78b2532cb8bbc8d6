//! What `/run` takes and refuses, as tables.

use super::*;

fn faults(body: &str) -> Vec<(String, String)> {
    let problem = RunRequest::parse(body.as_bytes()).unwrap_err();
    assert_eq!(problem.kind.status(), 422, "{body}");
    let body = serde_json::to_value(problem.body()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let errors = body["errors"].as_array().unwrap().iter();
    errors
        .map(|error| (text(&error["pointer"]), text(&error["detail"])))
        .collect()
}

fn pointers(body: &str) -> Vec<String> {
    faults(body)
        .into_iter()
        .map(|(pointer, _)| pointer)
        .collect()
}

fn with(field: &str) -> String {
    format!(r#"{{"embedding_model_id":"m","object_ids":["a"],{field}}}"#)
}

#[test]
fn the_documented_request_is_taken() {
    let body = br#"{"embedding_model_id":"embed-456","task_id":"delete-xyz","object_ids":["obj-1","obj-2"]}"#;
    let request = RunRequest::parse(body).unwrap();
    assert_eq!(request.model.as_str(), "embed-456");
    assert_eq!(request.task_id.unwrap().as_str(), "delete-xyz");
    let ids = request.object_ids.into_ids();
    assert_eq!(ids.iter().collect::<Vec<_>>(), ["obj-1", "obj-2"]);
}

#[test]
fn an_absent_and_a_null_task_id_are_the_same() {
    for body in [
        with(r#""task_id":null"#),
        r#"{"object_ids":["a"],"embedding_model_id":"m"}"#.into(),
    ] {
        assert!(
            RunRequest::parse(body.as_bytes())
                .unwrap()
                .task_id
                .is_none()
        );
    }
}

#[test]
fn a_repeated_id_counts_once_and_keeps_its_first_place() {
    let body = br#"{"embedding_model_id":"m","object_ids":["b","a","b","c","a"]}"#;
    let ids = RunRequest::parse(body).unwrap().object_ids;
    assert_eq!(ids.into_ids().iter().collect::<Vec<_>>(), ["b", "a", "c"]);
}

#[test]
fn what_is_not_json_is_a_bad_request() {
    let deep = format!(
        r#"{{"object_ids":{}{}}}"#,
        "[".repeat(1000),
        "]".repeat(1000)
    );
    let six_megabytes = "[".repeat(6 * 1024 * 1024);
    for body in [
        "",
        " ",
        "{",
        "{}x",
        "nonsense",
        "{'a':1}",
        r#"{"a":}"#,
        r#"{"task_id":"\ud800"}"#,
        "[1,]",
        "NaN",
        &deep,
        &six_megabytes,
    ] {
        let problem = RunRequest::parse(body.as_bytes()).unwrap_err();
        assert_eq!(
            problem.kind.status(),
            400,
            "{}",
            body.chars().take(40).collect::<String>()
        );
    }
    let problem = RunRequest::parse(b"{\"task_id\":\"\xff\"}").unwrap_err();
    assert_eq!(problem.kind.status(), 400);
    assert!(problem.detail.contains("byte 12"), "{}", problem.detail);
}

#[test]
fn json_that_is_not_an_object_says_what_it_is() {
    for (body, kind) in [
        ("[]", "an array"),
        ("1", "a number"),
        ("-1", "a number"),
        ("1.5", "a number"),
        ("null", "null"),
        ("true", "a boolean"),
        ("\"x\"", "a string"),
        ("[[1],{}]", "an array"),
    ] {
        let detail = format!("must be a JSON object, and is {kind}");
        assert_eq!(faults(body), [(String::new(), detail)], "{body}");
    }
}

#[test]
fn every_fault_is_named_where_it_stands() {
    let long = "x".repeat(1025);
    let body = format!(
        r#"{{"embedding_model_id":"","task_id":"a b","object_ids":["ok","",1,null,"a\u0000","{long}",["x"],{{}}],"taskId":"t","a/b~c":1}}"#
    );
    let mut found = pointers(&body);
    found.sort();
    let expected = [
        "/a~1b~0c",
        "/embedding_model_id",
        "/object_ids/1",
        "/object_ids/2",
        "/object_ids/3",
        "/object_ids/4",
        "/object_ids/5",
        "/object_ids/6",
        "/object_ids/7",
        "/taskId",
        "/task_id",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_misspelt_field_never_loses_idempotency_in_silence() {
    let found = faults(&with(r#""taskId":"x""#));
    assert_eq!(
        found,
        [(
            "/taskId".into(),
            "is not known; did you mean `task_id`?".into()
        )]
    );
}

#[test]
fn a_repeated_key_is_refused() {
    assert_eq!(pointers(&with(r#""object_ids":["b"]"#)), ["/object_ids"]);
    assert_eq!(
        pointers(&with(r#""task_id":"a","task_id":"a""#)),
        ["/task_id"]
    );
}

#[test]
fn wrong_types_nulls_and_absences_are_named() {
    for (body, pointer) in [
        (r#"{"object_ids":["a"]}"#, "/embedding_model_id"),
        (r#"{"embedding_model_id":"m"}"#, "/object_ids"),
        (
            r#"{"embedding_model_id":null,"object_ids":["a"]}"#,
            "/embedding_model_id",
        ),
        (
            r#"{"embedding_model_id":["m"],"object_ids":["a"]}"#,
            "/embedding_model_id",
        ),
        (
            r#"{"embedding_model_id":"m","object_ids":null}"#,
            "/object_ids",
        ),
        (
            r#"{"embedding_model_id":"m","object_ids":"a"}"#,
            "/object_ids",
        ),
        (
            r#"{"embedding_model_id":"m","object_ids":{"a":1}}"#,
            "/object_ids",
        ),
        (
            r#"{"embedding_model_id":"m","object_ids":true}"#,
            "/object_ids",
        ),
        (
            r#"{"embedding_model_id":"m","object_ids":-1}"#,
            "/object_ids",
        ),
        (
            r#"{"embedding_model_id":"m","object_ids":[]}"#,
            "/object_ids",
        ),
        (
            r#"{"embedding_model_id":"m","object_ids":["a"],"task_id":1}"#,
            "/task_id",
        ),
        (
            r#"{"embedding_model_id":"m","object_ids":["a"],"task_id":""}"#,
            "/task_id",
        ),
    ] {
        assert_eq!(pointers(body), [pointer], "{body}");
    }
    assert_eq!(pointers("{}"), ["/embedding_model_id", "/object_ids"]);
}

#[test]
fn of_many_faults_twenty_are_listed_and_all_are_counted() {
    let body = format!(
        r#"{{"embedding_model_id":"m","object_ids":[{}1]}}"#,
        "1,".repeat(44)
    );
    let problem = RunRequest::parse(body.as_bytes()).unwrap_err();
    assert_eq!(problem.errors.len(), 20);
    assert!(problem.detail.contains("45 faults"), "{}", problem.detail);
}

#[test]
fn as_many_objects_are_taken_as_fit_in_a_body() {
    let ids: Vec<_> = (0..150_000).map(|i| format!("\"{i:0>36}\"")).collect();
    let ids = ids.join(",");
    let body = format!(r#"{{"embedding_model_id":"m","object_ids":[{ids}]}}"#);
    let request = RunRequest::parse(body.as_bytes()).unwrap();
    assert_eq!(request.object_ids.into_ids().len(), 150_000);
}
