//! The rules for query parameters, as tables.

use super::*;
use crate::api::problem::Problem;
use crate::clock::rfc3339;
use lambda_http::{Body, http};

fn query(text: &str, known: &[&str]) -> Query {
    let request = http::Request::builder().uri(format!("http://x/?{text}"));
    Query::of(&request.body(Body::Empty).unwrap(), known)
}

/// Returns the validation errors: parameter and detail of each.
fn errors(query: Query) -> Vec<(String, String)> {
    let problem = Problem::from(query.finish().unwrap_err());
    assert_eq!(problem.kind.status(), 422);
    let errors = serde_json::to_value(&problem.errors).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let errors = errors.as_array().unwrap().iter();
    errors
        .map(|error| (text(&error["parameter"]), text(&error["detail"])))
        .collect()
}

/// Fails the test unless `read` finds exactly this validation error in the value of `parameter`.
#[track_caller]
fn assert_refused<T>(parameter: &str, value: &str, read: impl Fn(&mut Query) -> T, expected: &str) {
    let mut query = query(&format!("{parameter}={value}"), &[parameter]);
    read(&mut query);
    let expected = [(parameter.to_owned(), expected.to_owned())];
    assert_eq!(errors(query), expected, "{parameter}={value}");
}

#[test]
fn a_task_id_of_any_script_survives_the_query() {
    for (text, id) in [
        ("delete-xyz", "delete-xyz"),
        ("%F0%9F%97%91%EF%B8%8F", "🗑️"),
        ("a%2Fb", "a/b"),
        ("a/b", "a/b"),
        ("..", ".."),
        ("100%25", "100%"),
        ("a%2Bb", "a+b"),
        ("a=b", "a=b"),
        ("%26%3D%23", "&=#"),
    ] {
        let mut query = query(&format!("task_id={text}"), &["task_id"]);
        let id_read = query.task_id();
        assert_eq!(query.finish_with(id_read).unwrap().as_str(), id);
    }
}

#[test]
fn a_task_id_is_required_and_valid() {
    for text in ["", "&", "attempt=1", "Task=x"] {
        let mut query = query(text, &["task_id", "attempt", "Task"]);
        query.task_id();
        let expected = [("task_id".to_owned(), "is required".to_owned())];
        assert_eq!(errors(query), expected, "{text}");
    }
    let long = "t".repeat(256);
    for (text, detail) in [
        ("", "must not be empty"),
        ("a+b", "must not contain white space, got U+0020"),
        ("a%20b", "must not contain white space, got U+0020"),
        ("%E3%80%80", "must not contain white space, got U+3000"),
        ("%00", "must not contain control characters, got U+0000"),
        ("a%0Ab", "must not contain control characters, got U+000A"),
        (&long, "must be at most 255 bytes of UTF-8, got 256"),
    ] {
        assert_refused("task_id", text, Query::task_id, detail);
    }
}

#[test]
fn a_value_that_cannot_be_decoded_is_refused_for_that_alone() {
    let percent = "has a `%` not followed by two hexadecimal digits: write `%` as `%25`";
    let utf_8 = "is not UTF-8 after percent-decoding";
    for (text, detail) in [
        ("%", percent),
        ("100%", percent),
        ("%zz", percent),
        ("a%2", percent),
        ("%+1", percent),
        ("%FF", utf_8),
        ("%C3%28", utf_8),
        ("%ED%A0%80", utf_8),
        ("%F0%9F", utf_8),
    ] {
        assert_refused("task_id", text, Query::task_id, detail);
        assert_refused("limit", text, Query::limit, detail);
    }
    let expected = [("%zz".to_owned(), percent.to_owned())];
    assert_eq!(errors(query("%zz=1", &["limit"])), expected);
}

#[test]
fn an_unknown_parameter_is_refused_with_the_known_ones() {
    let known = ["task_id", "limit"];
    for (text, parameter, detail) in [
        (
            "taskId=a",
            "taskId",
            "is not known; did you mean `task_id`?",
        ),
        ("Limit=2", "Limit", "is not known; did you mean `limit`?"),
        (
            "page=2",
            "page",
            "is not known; the known ones are task_id, limit",
        ),
        ("=2", "", "is not known; the known ones are task_id, limit"),
    ] {
        let expected = [(parameter.to_owned(), detail.to_owned())];
        assert_eq!(errors(query(text, &known)), expected, "{text}");
    }
    let (_, detail) = errors(query("task_id=t", &[])).remove(0);
    assert_eq!(detail, "is not known; this call takes no parameters");
}

#[test]
fn a_repeated_parameter_is_refused_however_it_is_spelt() {
    for text in ["limit=1&limit=1", "limit=1&limit=2", "limit=1&%6Cimit="] {
        let expected = [("limit".to_owned(), "is given more than once".to_owned())];
        assert_eq!(errors(query(text, &["limit"])), expected, "{text}");
    }
}

#[test]
fn numbers_are_whole_and_in_range() {
    for (text, limit) in [("1", 1), ("1000", 1000), ("007", 7)] {
        assert_eq!(query(&format!("limit={text}"), &["limit"]).limit(), limit);
    }
    assert_eq!(query("", &["limit"]).limit(), DEFAULT_LIMIT);
    let highest = query("attempt=4294967295", &["attempt"]).attempt();
    assert_eq!(highest, Some(u32::MAX));
    assert_eq!(query("", &["attempt"]).attempt(), None);
    let limit = "must be a whole number from 1 to 1000";
    let attempt = "must be a whole number from 1 to 4294967295";
    for text in [
        "",
        "0",
        "-1",
        "abc",
        "1.0",
        "1e2",
        "+1",
        "%2B1",
        "%201",
        "0x10",
        "99999999999999999999999",
    ] {
        assert_refused("limit", text, Query::limit, limit);
        assert_refused("attempt", text, Query::attempt, attempt);
    }
    assert_refused("limit", "1001", Query::limit, limit);
    assert_refused("attempt", "4294967296", Query::attempt, attempt);
}

#[test]
fn words_are_taken_to_the_letter() {
    let statuses = "must be one of pending, processing, done, failed, canceled";
    for text in ["", "Pending", "cancelled", "done,failed", "all"] {
        assert_refused("status", text, Query::status, statuses);
    }
    let outcomes = "must be one of deleted, failed, remaining, all";
    for text in ["", "Deleted", "not_found", "all,failed"] {
        assert_refused("outcome", text, Query::outcome, outcomes);
    }
    let scope = "must be `all`, or left out to try again only what was not deleted";
    for text in ["", "failed", "ALL"] {
        assert_refused("scope", text, Query::scope, scope);
    }
    for status in TaskStatus::ALL {
        let read = query(&format!("status={status}"), &["status"]).status();
        assert_eq!(read, Some(status));
    }
    for (word, filter) in OUTCOMES {
        let read = query(&format!("outcome={word}"), &["outcome"]).outcome();
        assert_eq!(read, Some(filter));
    }
    assert_eq!(query("scope=all", &["scope"]).scope(), Scope::All);
    assert_eq!(query("", &["scope"]).scope(), Scope::NotDeleted);
}

#[test]
fn a_model_is_a_valid_name() {
    let long = "m".repeat(129);
    for (text, detail) in [
        ("", "must not be empty"),
        ("a%00", "must not contain control characters, got U+0000"),
        (&long, "must be at most 128 bytes of UTF-8, got 129"),
    ] {
        assert_refused("embedding_model_id", text, Query::model, detail);
    }
}

#[test]
fn a_cursor_is_good_only_for_its_own_listing() {
    let detail = "is damaged or belongs to another query: pass the cursor of the last response unchanged, with the same filters";
    let cursor = cursor::encode("tasks done", "7");
    let place = |text: String| text.parse::<u32>().ok();
    let mut query = query(&format!("cursor={cursor}"), &["cursor"]);
    assert_eq!(query.cursor("tasks done", place), Some(7));
    query.finish().unwrap();
    let not_a_place = cursor::encode("tasks done", "x");
    for text in ["", "noise", &cursor::encode("tasks", "7"), &not_a_place] {
        assert_refused("cursor", text, |q| q.cursor("tasks done", place), detail);
    }
}

#[test]
fn everything_wrong_is_listed_at_once() {
    let text = "taskId=t&attempt=0&scope=some&attempt=1&x=%zz";
    let mut query = query(text, &["task_id", "scope", "attempt"]);
    query.task_id();
    query.scope();
    query.attempt();
    let errors = errors(query);
    let parameters: Vec<_> = errors.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["taskId", "attempt", "x", "task_id", "scope", "attempt"];
    assert_eq!(parameters, expected);
}

#[test]
fn a_time_is_read_in_any_offset_and_rounded_up_to_the_second() {
    for (text, expected) in [
        ("2024-05-21T12:00:00Z", "2024-05-21T12:00:00Z"),
        ("2024-05-21t12:00:00z", "2024-05-21T12:00:00Z"),
        ("2024-05-21T14:30:00%2B02:30", "2024-05-21T12:00:00Z"),
        ("2024-05-21T11:59:59-00:00", "2024-05-21T11:59:59Z"),
        ("2024-05-21T11:59:59.000000001Z", "2024-05-21T12:00:00Z"),
        ("2024-05-21T11:59:59.0Z", "2024-05-21T11:59:59Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
    ] {
        let mut query = query(&format!("created_after={text}"), &["created_after"]);
        let (after, before) = query.created();
        assert_eq!(after.map(rfc3339).as_deref(), Some(expected), "{text}");
        assert_eq!(before, None);
    }
}

#[test]
fn a_time_that_is_none_is_refused_and_so_are_two_the_wrong_way_round() {
    let example = "must be a time in RFC 3339, such as 2024-05-21T12:00:00Z";
    let plus = format!("{example}; in a query write the `+` of an offset as `%2B`");
    let years = "must be in the years 0000 to 9999 of UTC";
    for (text, detail) in [
        ("", example),
        ("yesterday", example),
        ("2024-05-21", example),
        ("2024-05-21T12:00:00", example),
        ("2024-02-30T12:00:00Z", example),
        ("1716292800", example),
        ("2024-05-21T12:00:00+02:00", &plus),
        ("9999-12-31T23:59:59.5Z", years),
        ("9999-12-31T23:59:59-00:01", years),
        ("0000-01-01T00:00:00%2B00:01", years),
    ] {
        assert_refused("created_after", text, Query::created, detail);
        assert_refused("created_before", text, Query::created, detail);
    }
    for before in ["2024-05-21T12:00:00Z", "2024-05-21T13:59:59%2B02:00"] {
        let text = format!("created_after=2024-05-21T12:00:00Z&created_before={before}");
        let mut query = query(&text, &["created_after", "created_before"]);
        query.created();
        let later = "must be later than `created_after`";
        let expected = [("created_before".to_owned(), later.to_owned())];
        assert_eq!(errors(query), expected);
    }
}
