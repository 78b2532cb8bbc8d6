//! Bodies of `/run` that are refused.

use super::{assert_faults, assert_nothing_stored, brief, post};
use serde_json::{Value, json};
use shared::api::MAX_BODY_BYTES;
use tests::{Service, ids};

/// A good body with one field set to something else.
fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut body = json!({"embedding_model_id": "m", "task_id": "t", "object_ids": ["a"]});
    body[field] = value.into();
    body
}

/// A good body with these members written before its own.
fn with_text(members: &str) -> String {
    format!(r#"{{{members},"embedding_model_id":"m","object_ids":["a"]}}"#)
}

#[tokio::test]
async fn what_is_not_json_is_a_bad_request_that_says_why() {
    let service = Service::start().await;
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let bodies: Vec<(Vec<u8>, &str)> = vec![
        (b"".into(), "empty"),
        (b" \r\n".into(), "not JSON"),
        (b"{".into(), "not JSON"),
        (b"nonsense".into(), "not JSON"),
        (b"{'task_id':'t'}".into(), "not JSON"),
        (b"[1,]".into(), "not JSON"),
        (b"NaN".into(), "not JSON"),
        (b"a=1&b=2".into(), "not JSON"),
        (with_text(r#""a":}"#).into(), "not JSON"),
        (
            format!("{} {{}}", with("task_id", "t")).into(),
            "not JSON: trailing",
        ),
        (
            format!("\u{feff}{}", with("task_id", "t")).into(),
            "not JSON",
        ),
        (with_text(r#""task_id":"\ud800""#).into(), "not JSON"),
        (
            with_text("\"task_id\":\"a\nb\"").into(),
            "control character",
        ),
        (vec![b'['; MAX_BODY_BYTES], "nested too deeply"),
        (nested(100_000).into(), "nested too deeply"),
        (
            format!(r#"{{"object_ids":{}}}"#, nested(1000)).into(),
            "nested too deeply",
        ),
        (
            with_text(&format!(r#""unknown":{}"#, nested(1000))).into(),
            "nested too deeply",
        ),
        (
            format!("{}1{}", r#"{"a":"#.repeat(1000), "}".repeat(1000)).into(),
            "nested too deeply",
        ),
        (b"{\"task_id\":\"\xff\"}".into(), "not UTF-8, from byte 12"),
        (b"\xff\xfe{\0}\0".into(), "not UTF-8, from byte 0"),
        (b"{\"task_id\":\"\xed\xa0\x80\"}".into(), "not UTF-8"),
    ];
    for (body, word) in bodies {
        let story = brief(&body);
        let problem = post(&service, body).await.problem(400);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(word), "{story}: {detail}");
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn json_that_is_no_object_says_what_it_is_instead() {
    let service = Service::start().await;
    for (body, word) in [
        ("[]", "an array"),
        (
            r#"[{"embedding_model_id":"m","object_ids":["a"]}]"#,
            "an array",
        ),
        ("1", "a number"),
        ("-1.5e3", "a number"),
        ("null", "null"),
        ("true", "a boolean"),
        (r#""text""#, "a string"),
    ] {
        let problem = post(&service, body).await.problem(422);
        let detail = format!("must be a JSON object, and is {word}");
        assert_faults(&problem, "pointer", &[("", &detail)], body);
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn a_fault_names_its_field_and_the_rule_it_breaks() {
    let service = Service::start().await;
    let objects = |list: Value| with("object_ids", list);
    let bodies = [
        (
            with("embedding_model_id", Value::Null),
            "/embedding_model_id",
            "is null",
        ),
        (
            with("embedding_model_id", 1),
            "/embedding_model_id",
            "string",
        ),
        (
            with("embedding_model_id", json!(["m"])),
            "/embedding_model_id",
            "string",
        ),
        (
            with("embedding_model_id", ""),
            "/embedding_model_id",
            "empty",
        ),
        (
            with("embedding_model_id", "m".repeat(129)),
            "/embedding_model_id",
            "128 bytes",
        ),
        (
            with("embedding_model_id", "é".repeat(65)),
            "/embedding_model_id",
            "is 130",
        ),
        (
            with("embedding_model_id", "m\u{7}"),
            "/embedding_model_id",
            "U+0007",
        ),
        (with("task_id", 1), "/task_id", "string"),
        (with("task_id", false), "/task_id", "string"),
        (with("task_id", json!({"id": "t"})), "/task_id", "string"),
        (with("task_id", ""), "/task_id", "empty"),
        (with("task_id", "t".repeat(256)), "/task_id", "255 bytes"),
        (with("task_id", "🗑".repeat(64)), "/task_id", "is 256"),
        (with("task_id", "a b"), "/task_id", "white space"),
        (with("task_id", " a"), "/task_id", "white space"),
        (with("task_id", "a\u{a0}"), "/task_id", "U+00A0"),
        (with("task_id", "a\u{2028}b"), "/task_id", "white space"),
        (with("task_id", "a\u{3000}b"), "/task_id", "white space"),
        (with("task_id", "a\nb"), "/task_id", "control"),
        (with("task_id", "\0"), "/task_id", "control"),
        (with("task_id", "\u{85}"), "/task_id", "control"),
        (objects(Value::Null), "/object_ids", "is null"),
        (objects(json!("a")), "/object_ids", "list of strings"),
        (objects(json!({"0": "a"})), "/object_ids", "list of strings"),
        (objects(json!(1)), "/object_ids", "list of strings"),
        (objects(json!([])), "/object_ids", "empty"),
        (objects(json!(["a", ""])), "/object_ids/1", "empty"),
        (objects(json!(["a", null])), "/object_ids/1", "is null"),
        (objects(json!([1])), "/object_ids/0", "string"),
        (objects(json!([["a"]])), "/object_ids/0", "string"),
        (objects(json!(["a", "b", {}])), "/object_ids/2", "string"),
        (
            objects(json!(["o".repeat(1025)])),
            "/object_ids/0",
            "1024 bytes",
        ),
        (objects(json!(["a\tb"])), "/object_ids/0", "control"),
        (objects(json!(["\u{7f}"])), "/object_ids/0", "U+007F"),
        (with("taskId", "t"), "/taskId", "did you mean `task_id`"),
        (
            with("TASK_ID", Value::Null),
            "/TASK_ID",
            "did you mean `task_id`",
        ),
        (
            with("objects", json!([])),
            "/objects",
            "embedding_model_id, task_id, object_ids",
        ),
        (with("", 1), "/", "not known"),
        (with("a/b~c", 1), "/a~1b~0c", "not known"),
    ];
    for (body, pointer, word) in bodies {
        let body = body.to_string();
        let problem = post(&service, body.clone()).await.problem(422);
        assert_faults(
            &problem,
            "pointer",
            &[(pointer, word)],
            &brief(body.as_bytes()),
        );
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn what_is_missing_or_given_twice_is_named() {
    let service = Service::start().await;
    let required = "is required";
    let twice = "more than once";
    for (body, expected) in [
        (
            "{}",
            vec![("/embedding_model_id", required), ("/object_ids", required)],
        ),
        (
            r#"{"object_ids":["a"]}"#,
            vec![("/embedding_model_id", required)],
        ),
        (
            r#"{"embedding_model_id":"m"}"#,
            vec![("/object_ids", required)],
        ),
        (
            &with_text(r#""task_id":"t","task_id":"t""#),
            vec![("/task_id", twice)],
        ),
        (
            &with_text(r#""task_id":"t","task_id":null"#),
            vec![("/task_id", twice)],
        ),
        // Two spellings of one key.
        (
            &with_text(r#""task_id":"t","task\u005fid":"u""#),
            vec![("/task_id", twice)],
        ),
        (
            &with_text(r#""object_ids":["b"]"#),
            vec![("/object_ids", twice)],
        ),
        (
            &with_text(r#""embedding_model_id":"n""#),
            vec![("/embedding_model_id", twice)],
        ),
    ] {
        let problem = post(&service, body.to_owned()).await.problem(422);
        assert_faults(&problem, "pointer", &expected, body);
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn every_fault_is_named_at_once_and_at_most_twenty() {
    let service = Service::start().await;
    let body = json!({
        "embedding_model_id": "",
        "task_id": "a b",
        "object_ids": ["fine", "", 7, null, "fine", "\u{0}"],
        "taskId": "t",
    });
    let expected = [
        ("/embedding_model_id", "empty"),
        ("/task_id", "white space"),
        ("/object_ids/1", "empty"),
        ("/object_ids/2", "a number"),
        ("/object_ids/3", "null"),
        ("/object_ids/5", "control"),
        ("/taskId", "did you mean"),
    ];
    let problem = post(&service, body.to_string()).await.problem(422);
    assert_faults(&problem, "pointer", &expected, "seven faults");
    assert!(problem["detail"].as_str().unwrap().contains("7 faults"));

    for count in [20, 21, 1_000_000] {
        let empty = vec![r#""""#; count].join(",");
        let body = format!(r#"{{"embedding_model_id":"m","object_ids":[{empty}]}}"#);
        let problem = post(&service, body).await.problem(422);
        let expected: Vec<_> = (0..20).map(|at| format!("/object_ids/{at}")).collect();
        let expected: Vec<_> = expected.iter().map(|at| (at.as_str(), "empty")).collect();
        assert_faults(&problem, "pointer", &expected, "many faults");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("{count} faults")), "{detail}");
        assert_eq!(detail.contains("first 20"), count > 20, "{detail}");
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn the_answer_to_absurdly_long_names_fits_in_a_response() {
    let service = Service::start().await;
    let one = format!(r#"{{"{}":1}}"#, "~".repeat(5_000_000));
    let many: Vec<_> = (0..20)
        .map(|i| format!(r#""{i}{}":1"#, "/".repeat(200_000)))
        .collect();
    for body in [one, format!("{{{}}}", many.join(","))] {
        let reply = post(&service, body).await;
        let bytes = reply.text.len();
        reply.problem(422);
        assert!(bytes < MAX_BODY_BYTES, "an answer of {bytes} bytes");
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn what_no_longer_fits_in_one_chunk_is_taken_as_several() {
    let service = Service::start().await;
    let most_bytes: Vec<String> = (0..128).map(|i| format!("{i:0>1024}")).collect();
    let mut too_many_bytes = most_bytes.clone();
    too_many_bytes.push("x".to_owned());
    let mut repeated = ids("o", 500);
    repeated.extend(ids("o", 500));
    // The task, and the ids of each of its chunks where they do not fit in it.
    for (id, objects, total, items) in [
        ("most", &ids("o", 500), 500, 1),
        ("repeated", &repeated, 500, 1),
        ("longest", &most_bytes, 128, 1),
        ("one-more", &ids("o", 501), 501, 3),
        ("one-byte-more", &too_many_bytes, 129, 3),
    ] {
        let before = service.stored_items().await;
        let body = json!({"embedding_model_id": "m", "task_id": id, "object_ids": objects});
        let task = service.run(&body).await.ok();
        assert_eq!(task["progress"]["total"], total, "{id}");
        assert_eq!(service.stored_items().await - before, items, "{id}");
    }
}
