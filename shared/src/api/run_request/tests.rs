//! The rules for requests of `/run`, as tables.

use super::*;
use lambda_http::{Body, http};

/// Returns the validation errors of a body: pointer and detail of each.
#[track_caller]
fn errors(body: &str) -> Vec<(String, String)> {
    let problem = RunRequest::parse(body.as_bytes()).unwrap_err();
    assert_eq!(problem.kind.status(), 422, "{body}");
    let errors = serde_json::to_value(&problem.errors).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let errors = errors.as_array().unwrap().iter();
    errors
        .map(|error| (text(&error["pointer"]), text(&error["detail"])))
        .collect()
}

/// Fails the test unless a body has exactly this validation error.
#[track_caller]
fn assert_refused(body: &str, pointer: &str, detail: &str) {
    let expected = [(pointer.to_owned(), detail.to_owned())];
    assert_eq!(errors(body), expected, "{body}");
}

/// Returns a valid body with this member added.
fn with(member: &str) -> String {
    format!(r#"{{"embedding_model_id":"m","object_ids":["a"],{member}}}"#)
}

/// A body with this model.
fn model(value: &str) -> String {
    format!(r#"{{"embedding_model_id":{value},"object_ids":["a"]}}"#)
}

/// A body with these objects.
fn objects(value: &str) -> String {
    format!(r#"{{"embedding_model_id":"m","object_ids":{value}}}"#)
}

/// A body with this task id.
fn task(value: &str) -> String {
    with(&format!(r#""task_id":{value}"#))
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
fn a_reason_is_any_text_of_up_to_256_bytes() {
    for text in ["Art. 17 GDPR, ticket 4711", "🗑️ ", &"é".repeat(128)] {
        let body = with(&format!(r#""reason":{}"#, serde_json::json!(text)));
        let request = RunRequest::parse(body.as_bytes()).unwrap();
        assert_eq!(request.reason.unwrap().as_str(), text);
    }
    for body in [objects(r#"["a"]"#), with(r#""reason":null"#)] {
        let request = RunRequest::parse(body.as_bytes()).unwrap();
        assert!(request.reason.is_none(), "{body}");
    }
    let long = "r".repeat(257);
    for (text, detail) in [
        ("", "must not be empty"),
        (&long, "must be at most 256 bytes of UTF-8, got 257"),
        ("a\nb", "must not contain control characters, got U+000A"),
    ] {
        let body = with(&format!(r#""reason":{}"#, serde_json::json!(text)));
        assert_refused(&body, "/reason", detail);
    }
}

#[test]
fn an_absent_and_a_null_task_id_are_the_same() {
    for body in [objects(r#"["a"]"#), task("null")] {
        let request = RunRequest::parse(body.as_bytes()).unwrap();
        assert!(request.task_id.is_none(), "{body}");
    }
}

#[test]
fn a_repeated_id_counts_once_and_keeps_its_first_place() {
    let body = objects(r#"["b","a","b","c","a"]"#);
    let ids = RunRequest::parse(body.as_bytes()).unwrap().object_ids;
    assert_eq!(ids.into_ids().iter().collect::<Vec<_>>(), ["b", "a", "c"]);
}

#[test]
fn what_is_not_json_is_a_bad_request_that_says_why() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let bodies: Vec<(Vec<u8>, &str)> = vec![
        (b"".into(), "is empty: send a JSON object"),
        (b" \r\n".into(), "not JSON"),
        (b"{".into(), "not JSON"),
        (b"nonsense".into(), "not JSON"),
        (b"{'task_id':'t'}".into(), "not JSON"),
        (b"[1,]".into(), "not JSON"),
        (b"NaN".into(), "not JSON"),
        (b"a=1&b=2".into(), "not JSON"),
        (with(r#""a":"#).into(), "not JSON"),
        (format!("{} {{}}", task("1")).into(), "not JSON: trailing"),
        (task("1e400,").into(), "not JSON: trailing"),
        (task("1e400.5").into(), "not JSON"),
        (task("-01e400").into(), "not JSON"),
        (task(r#""\ud800""#).into(), "not JSON"),
        (task("\"a\nb\"").into(), "control character"),
        (vec![b'['; MAX_BODY_BYTES], "nested too deeply"),
        (nested(100_000).into(), "nested too deeply"),
        (objects(&nested(1000)).into(), "nested too deeply"),
        (
            with(&format!(r#""unknown":{}"#, nested(1000))).into(),
            "nested too deeply",
        ),
        (
            format!("{}1{}", r#"{"a":"#.repeat(1000), "}".repeat(1000)).into(),
            "nested too deeply",
        ),
        (
            b"{\"task_id\":\"\xff\"}".into(),
            "not valid UTF-8 from byte 12 on",
        ),
        (b"\xff\xfe{\0}\0".into(), "not valid UTF-8 from byte 0 on"),
        (b"{\"task_id\":\"\xed\xa0\x80\"}".into(), "not valid UTF-8"),
    ];
    for (body, part) in bodies {
        let problem = RunRequest::parse(&body).unwrap_err();
        assert_eq!(problem.kind.status(), 400, "{}", problem.detail);
        assert!(problem.detail.starts_with("The body is "), "{part}");
        assert!(problem.detail.contains(part), "{part}: {}", problem.detail);
    }
}

#[test]
fn a_byte_order_mark_is_named() {
    for body in ["\u{feff}{}", "\u{feff}", "\u{feff}nonsense"] {
        let problem = RunRequest::parse(body.as_bytes()).unwrap_err();
        assert_eq!(problem.kind.status(), 400);
        let detail = "The body begins with a byte order mark (U+FEFF): send UTF-8 without it";
        assert_eq!(problem.detail, detail);
    }
    // Elsewhere it is a character like any other.
    let body = objects("[\"\u{feff}\"]");
    assert!(RunRequest::parse(body.as_bytes()).is_ok());
}

#[test]
fn a_number_of_any_size_is_a_number() {
    let large = ["1e400", "-1.5E+99999999999", &"9".repeat(400), "10.0e308"];
    let detail = "must be a string, got a number";
    for number in large {
        let as_is = serde_json::from_str::<serde_json::Value>(number).unwrap_err();
        assert!(is_out_of_range(&as_is), "{number}: {as_is}");
        assert_refused(number, "", "must be a JSON object, got a number");
        assert_refused(&model(number), "/embedding_model_id", detail);
        assert_refused(&task(number), "/task_id", detail);
        let list = "must be a list of strings, got a number";
        assert_refused(&objects(number), "/object_ids", list);
        let ids = format!(r#"["a\\",{number} ,"1e400\"",{number}]"#);
        let at = ["/object_ids/1", "/object_ids/3"];
        let expected = at.map(|at| (at.to_owned(), detail.to_owned()));
        assert_eq!(errors(&objects(&ids)), expected, "{number}");
        let unknown = with(&format!(r#""taskId":[{{"a":{number}}}]"#));
        assert_refused(&unknown, "/taskId", "is not known; did you mean `task_id`?");
    }
    // The place of another error does not change.
    let broken = format!("{{\"a\":[{}, \"b\",]}}", large[0]);
    let problem = RunRequest::parse(broken.as_bytes()).unwrap_err();
    let detail = "The body is not JSON: trailing comma at line 1 column 18";
    assert_eq!(problem.detail, detail);
}

#[test]
fn many_large_numbers_take_no_longer_than_small_ones() {
    let ids = vec!["1e400"; 1_000_000].join(",");
    let body = objects(&format!("[{ids}]"));
    let problem = RunRequest::parse(body.as_bytes()).unwrap_err();
    let expected = "The request has 1000000 validation errors, of which the first 20 are listed";
    assert_eq!(problem.detail, expected);
}

#[test]
fn json_that_is_not_an_object_is_named_by_its_kind() {
    for (body, kind) in [
        ("[]", "a list"),
        (r#"[{"embedding_model_id":"m"}]"#, "a list"),
        ("1", "a number"),
        ("-1", "a number"),
        ("1.5", "a number"),
        ("null", "null"),
        ("true", "a boolean"),
        ("\"x\"", "a string"),
    ] {
        assert_refused(body, "", &format!("must be a JSON object, got {kind}"));
    }
}

#[test]
fn names_are_strings() {
    for (value, kind) in [
        ("1", "a number"),
        ("false", "a boolean"),
        (r#"["m"]"#, "a list"),
        (r#"{"id":"m"}"#, "an object"),
        ("null", "null"),
    ] {
        let detail = format!("must be a string, got {kind}");
        assert_refused(&model(value), "/embedding_model_id", &detail);
        assert_refused(
            &objects(&format!(r#"["a",{value}]"#)),
            "/object_ids/1",
            &detail,
        );
        if value != "null" {
            assert_refused(&task(value), "/task_id", &detail);
            let reason = with(&format!(r#""reason":{value}"#));
            assert_refused(&reason, "/reason", &detail);
        }
    }
}

#[test]
fn names_obey_their_rules() {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let empty = "must not be empty";
    for (text, detail) in [
        ("", empty),
        (
            &*"m".repeat(129),
            "must be at most 128 bytes of UTF-8, got 129",
        ),
        (
            &"é".repeat(65),
            "must be at most 128 bytes of UTF-8, got 130",
        ),
        ("m\u{7}", "must not contain control characters, got U+0007"),
    ] {
        assert_refused(&model(&quoted(text)), "/embedding_model_id", detail);
    }
    for (text, detail) in [
        ("", empty),
        (
            &*"t".repeat(256),
            "must be at most 255 bytes of UTF-8, got 256",
        ),
        ("a b", "must not contain white space, got U+0020"),
        ("a\u{2028}b", "must not contain white space, got U+2028"),
        ("a\nb", "must not contain control characters, got U+000A"),
    ] {
        assert_refused(&task(&quoted(text)), "/task_id", detail);
    }
    for (text, detail) in [
        ("", empty),
        (
            &*"o".repeat(1025),
            "must be at most 1024 bytes of UTF-8, got 1025",
        ),
        ("\u{7f}", "must not contain control characters, got U+007F"),
    ] {
        let list = format!(r#"["a b",{}]"#, quoted(text));
        assert_refused(&objects(&list), "/object_ids/1", detail);
    }
}

#[test]
fn object_ids_are_a_list_that_is_not_empty() {
    for (value, kind) in [
        ("null", "null"),
        (r#""a""#, "a string"),
        (r#"{"0":"a"}"#, "an object"),
        ("true", "a boolean"),
        ("-1", "a number"),
    ] {
        let detail = format!("must be a list of strings, got {kind}");
        assert_refused(&objects(value), "/object_ids", &detail);
    }
    assert_refused(&objects("[]"), "/object_ids", "must not be empty");
}

#[test]
fn an_unknown_field_is_refused_with_the_known_ones() {
    let meant = "is not known; did you mean `task_id`?";
    let known = "is not known; the known ones are embedding_model_id, task_id, object_ids, reason";
    for (member, pointer, detail) in [
        (r#""taskId":"t""#, "/taskId", meant),
        (r#""TASK_ID":null"#, "/TASK_ID", meant),
        (r#""objects":[]"#, "/objects", known),
        (r#""":1"#, "/", known),
        (r#""a/b~c":{"d":[1]}"#, "/a~1b~0c", known),
    ] {
        assert_refused(&with(member), pointer, detail);
    }
}

#[test]
fn a_repeated_field_is_refused_however_it_is_spelt() {
    for (member, pointer) in [
        (r#""task_id":"t","task_id":"t""#, "/task_id"),
        (r#""task_id":null,"task_id":null"#, "/task_id"),
        (r#""task_id":"t","task\u005fid":"u""#, "/task_id"),
        (r#""object_ids":["b"]"#, "/object_ids"),
        (r#""embedding_model_id":1"#, "/embedding_model_id"),
    ] {
        assert_refused(&with(member), pointer, "is given more than once");
    }
}

#[test]
fn a_missing_field_is_named_if_it_is_required() {
    let required = "is required";
    assert_refused(r#"{"object_ids":["a"]}"#, "/embedding_model_id", required);
    assert_refused(r#"{"embedding_model_id":"m"}"#, "/object_ids", required);
    let both = ["/embedding_model_id", "/object_ids"];
    assert_eq!(
        errors("{}"),
        both.map(|field| (field.to_owned(), required.to_owned()))
    );
}

#[test]
fn everything_wrong_is_listed_at_once() {
    let body = r#"{"embedding_model_id":"","task_id":"a b","object_ids":["ok","",1,"ok",null],"taskId":"t"}"#;
    let pointers: Vec<_> = errors(body)
        .into_iter()
        .map(|(pointer, _)| pointer)
        .collect();
    let expected = [
        "/embedding_model_id",
        "/task_id",
        "/object_ids/1",
        "/object_ids/2",
        "/object_ids/4",
        "/taskId",
    ];
    assert_eq!(pointers, expected);
}

#[test]
fn absurdly_long_names_are_cut() {
    let name = "~".repeat(1_000_000);
    let found = errors(&with(&format!(r#""{name}":1"#)));
    assert_eq!(found[0].0, format!("/{}…", "~0".repeat(100)));
}

#[test]
fn as_many_objects_are_taken_as_fit_in_a_body() {
    let ids: Vec<_> = (0..150_000).map(|i| format!("\"{i:0>36}\"")).collect();
    let body = objects(&format!("[{}]", ids.join(",")));
    let request = RunRequest::parse(body.as_bytes()).unwrap();
    assert_eq!(request.object_ids.into_ids().len(), 150_000);
}

/// A request of `/run` with this content type and query.
fn request(content_type: Option<&str>, query: &str) -> Request {
    let mut request = http::Request::builder().uri(format!("http://x/{query}"));
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let body = objects(r#"["a"]"#);
    request.body(Body::Text(body)).unwrap()
}

#[test]
fn only_json_is_taken_and_no_content_type_is_fine() {
    for given in [
        None,
        Some("application/json"),
        Some("Application/JSON; charset=utf-8"),
        Some("application/vnd.x+json"),
    ] {
        assert!(RunRequest::read(&request(given, "")).is_ok(), "{given:?}");
    }
    for (given, named) in [
        ("", ""),
        ("*/*", "*/*"),
        ("json", "json"),
        ("text/json", "text/json"),
        ("text/plain; application/json", "text/plain"),
        (
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded",
        ),
        ("application/jsonp", "application/jsonp"),
        ("application/+json", "application/+json"),
    ] {
        let problem = RunRequest::read(&request(Some(given), "")).unwrap_err();
        assert_eq!(problem.kind.status(), 415, "{given}");
        let detail = format!("The content type is `{named}`: send application/json");
        assert_eq!(problem.detail, detail);
    }
}

#[test]
fn a_body_that_is_encoded_is_refused_with_the_name_of_the_coding() {
    let read = |codings: &[&str]| {
        let mut request = request(Some("application/json"), "");
        for coding in codings {
            let coding = coding.parse().unwrap();
            request
                .headers_mut()
                .append(header::CONTENT_ENCODING, coding);
        }
        RunRequest::read(&request)
    };
    for codings in [
        &["identity"] as &[&str],
        &["Identity, identity"],
        &[""],
        &["identity", ","],
    ] {
        assert!(read(codings).is_ok(), "{codings:?}");
    }
    for (codings, named) in [
        (&["gzip"] as &[&str], "gzip"),
        (&["GZIP"], "gzip"),
        (&["identity, br"], "br"),
        (&["identity", "zstd"], "zstd"),
        (&["utf-8"], "utf-8"),
    ] {
        let problem = read(codings).unwrap_err();
        assert_eq!(problem.kind.status(), 415, "{codings:?}");
        let detail = format!(
            "The content encoding is `{named}`: send the JSON itself, without Content-Encoding"
        );
        assert_eq!(problem.detail, detail);
        let header = problem.header;
        assert_eq!(header, Some(("accept-encoding", "identity".to_owned())));
    }
}

#[test]
fn no_parameter_is_taken() {
    let problem = RunRequest::read(&request(None, "?task_id=t")).unwrap_err();
    assert_eq!(problem.kind.status(), 422);
}

#[test]
fn a_body_may_have_six_mebibytes_and_no_more() {
    let mut request = request(None, "");
    let mut body = objects(r#"["a"]"#).into_bytes();
    body.resize(MAX_BODY_BYTES, b' ');
    *request.body_mut() = Body::Binary(body.clone());
    assert!(RunRequest::read(&request).is_ok());
    body.push(b' ');
    *request.body_mut() = Body::Binary(body);
    let problem = RunRequest::read(&request).unwrap_err();
    assert_eq!(problem.kind.status(), 413);
    assert_eq!(
        problem.detail,
        "The body is larger than 6291456 bytes: split the objects over several tasks"
    );
}
