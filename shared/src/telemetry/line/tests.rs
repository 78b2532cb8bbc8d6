use super::*;
use crate::telemetry::{MAX_NAMESPACE_BYTES, TelemetryConfig, lines};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tracing::{error, info, warn};

/// What is written of the events in `events`.
fn written(level: &str, namespace: Option<&str>, events: impl FnOnce()) -> Vec<String> {
    let written = Arc::<Mutex<Vec<String>>>::default();
    let config = TelemetryConfig {
        level: level.parse().unwrap(),
        metrics: namespace.map(|namespace| namespace.parse().unwrap()),
    };
    let write = Arc::clone(&written);
    let lines = lines(config, move |line| {
        write.lock().unwrap().push(line.to_owned())
    });
    tracing::subscriber::with_default(lines, events);
    let written = written.lock().unwrap();
    written.clone()
}

fn only(lines: Vec<String>) -> Value {
    let [line] = lines.as_slice() else {
        panic!("not one line: {lines:?}");
    };
    serde_json::from_str(line.strip_suffix('\n').unwrap()).unwrap()
}

#[test]
fn a_line_says_what_it_is_given_and_tells_cloudwatch_which_of_it_are_metrics() {
    let line = only(written("info", Some("Tasks/live"), || {
        let absent: Option<u32> = None;
        info!(
            task_id = "a\"b",
            attempt = 1,
            chunk = absent,
            TasksDone = 1,
            ObjectsDeleted = 7_u64,
            is_so = true
        );
    }));
    let timestamp = &line["_aws"]["Timestamp"];
    assert!(
        timestamp.as_i64().unwrap() > 1_700_000_000_000,
        "milliseconds"
    );
    let metrics = json!([{"Name": "TasksDone"}, {"Name": "ObjectsDeleted"}]);
    let directive = json!({"Namespace": "Tasks/live", "Dimensions": [[]], "Metrics": metrics});
    let metadata = json!({"Timestamp": timestamp, "CloudWatchMetrics": [directive]});
    let fields = json!({"task_id": "a\"b", "attempt": 1, "TasksDone": 1, "ObjectsDeleted": 7, "is_so": true, "_aws": metadata});
    assert_eq!(line, fields);
}

#[test]
fn without_a_namespace_or_without_a_count_a_line_has_no_metrics() {
    let line = only(written("info", None, || info!(TasksDone = 1)));
    assert_eq!(line, json!({"TasksDone": 1}));
    let line = only(written("info", Some("a"), || warn!(outcome = "dropped")));
    assert_eq!(line, json!({"level": "WARN", "outcome": "dropped"}));
}

#[test]
fn what_is_counted_does_not_depend_on_how_much_is_logged() {
    let events = || {
        info!(ObjectsDeleted = 2);
        let nothing: Option<u32> = None;
        info!(ObjectsDeleted = nothing);
        warn!("a warning");
        error!("an error");
    };
    assert_eq!(written("error", None, events).len(), 1);
    assert_eq!(written("warn", None, events).len(), 2);
    let counted = written("error", Some("a"), events);
    assert_eq!(counted.len(), 2, "what counts and the error: {counted:?}");
}

#[test]
fn of_others_nothing_is_logged_but_the_runtime_s_errors() {
    let lines = written("trace", Some("a"), || {
        error!(target: "aws_sdk_dynamodb::client", "with a body");
        warn!(target: "lambda_runtime", "a request");
        error!(target: "lambda_runtime::layers", "no answer");
        let _span = tracing::error_span!("no line").entered();
    });
    assert_eq!(
        only(lines),
        json!({"level": "ERROR", "message": "no answer"})
    );
}

#[test]
fn the_longest_line_stays_within_its_size_and_keeps_what_it_counts() {
    let namespace = "n".repeat(MAX_NAMESPACE_BYTES);
    let task_id = "\"".repeat(255);
    let (cause, most) = ("\\x\u{1}é".repeat(100), u32::MAX);
    let lines = written("info", Some(&namespace), || {
        warn!(
            task_id,
            attempt = most,
            chunk = 9999,
            outcome = "failed",
            cause,
            TasksFailed = 1,
            ObjectsDeleted = 300,
            ObjectsNotFound = 100,
            ObjectsFailed = 100,
            duration_ms = 60_000,
        );
        warn!(
            task_id,
            attempt = most,
            chunk = 9999,
            outcome = "deferred",
            why = "the vector store throttled",
            cause,
            duration_ms = 60_000
        );
        error!(target: "lambda_runtime", error = cause, "{cause}");
    });
    for line in &lines {
        let fields: Value = serde_json::from_str(line).unwrap();
        let id = fields["task_id"].as_str().map_or(0, |id| 2 * id.len());
        assert!(
            line.trim_end().len() - id <= MAX_LINE_BYTES,
            "{}: {line}",
            line.len() - id
        );
    }
    assert_eq!(lines.len(), 3);
    let fields: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(fields["ObjectsFailed"], 100);
    assert_eq!(fields["attempt"], most);
    assert_eq!(
        fields["_aws"]["CloudWatchMetrics"][0]["Metrics"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert!(fields.get("outcome").is_none(), "`TasksFailed` says it");
    let fields: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(fields["outcome"], "deferred");
    assert_eq!(fields["duration_ms"], 60_000);
}

#[test]
fn the_size_is_that_of_the_line_without_its_task_s_id() {
    let mut line = Line::new(Level::WARN);
    line.text("task_id", "a\"b");
    line.value("attempt", 12);
    let size = line.size();
    assert_eq!(size, r#"{"level":"WARN","task_id":"","attempt":12}"#.len());
}
