use super::*;
use crate::telemetry::{MAX_NAMESPACE_BYTES, Metric, ShortText, TelemetryConfig, lines, log};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tracing::{error, warn};

/// A line with fields of each kind.
#[derive(Debug, Default, Serialize)]
struct TestLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ShortText>,
    #[serde(flatten)]
    metrics: Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
}

impl Line for TestLine {
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn names(&self) -> [Option<&str>; 3] {
        [self.task_id.as_deref(), None, None]
    }

    fn shorten(&mut self) -> bool {
        self.outcome.take().is_some()
            || self.duration_ms.take().is_some()
            || self.cause.take().is_some()
    }
}

/// A line with only its metrics.
fn counting(counts: &[(Metric, i64)]) -> TestLine {
    TestLine {
        metrics: metrics(counts),
        ..TestLine::default()
    }
}

fn metrics(counts: &[(Metric, i64)]) -> Metrics {
    let mut metrics = Metrics::default();
    for (metric, value) in counts {
        metrics.add(*metric, *value);
    }
    metrics
}

/// Returns the lines that are written while `work` logs.
fn written(level: &str, namespace: Option<&str>, work: impl FnOnce()) -> Vec<String> {
    let written = Arc::<Mutex<Vec<String>>>::default();
    let config = TelemetryConfig {
        level: level.parse().unwrap(),
        metrics: namespace.map(|namespace| namespace.parse().unwrap()),
    };
    let write = Arc::clone(&written);
    let lines = lines(config, move |line| {
        write.lock().unwrap().push(line.to_owned())
    });
    tracing::subscriber::with_default(lines, work);
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
    let lines = written("info", Some("Tasks/live"), || {
        let line = TestLine {
            task_id: Some("a\"b".to_owned()),
            attempt: Some(1),
            duration_ms: Some(3),
            ..counting(&[
                (Metric::TasksDone, 1),
                (Metric::ObjectsDeleted, 7),
                (Metric::OldestPendingTaskAge, 0),
            ])
        };
        log(Level::WARN, line);
    });
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    let timestamp = line["_aws"]["Timestamp"].as_i64().unwrap();
    assert!(timestamp > 1_700_000_000_000, "milliseconds");
    let expected = format!(
        concat!(
            r#"{{"level":"WARN","task_id":"a\"b","attempt":1,"#,
            r#""TasksDone":1,"ObjectsDeleted":7,"OldestPendingTaskAge":0,"duration_ms":3,"#,
            r#""_aws":{{"Timestamp":{timestamp},"CloudWatchMetrics":[{{"Namespace":"Tasks/live","Dimensions":[[]],"#,
            r#""Metrics":[{{"Name":"TasksDone"}},{{"Name":"ObjectsDeleted"}},"#,
            r#"{{"Name":"OldestPendingTaskAge","Unit":"Seconds"}}]}}]}}}}"#,
            "\n"
        ),
        timestamp = timestamp
    );
    assert_eq!(lines, [expected]);
}

#[test]
fn without_a_namespace_or_without_a_count_a_line_has_no_metrics() {
    let line = only(written("info", None, || {
        log(Level::INFO, counting(&[(Metric::TasksDone, 1)]));
    }));
    assert_eq!(line, json!({"TasksDone": 1}));
    let line = only(written("info", Some("a"), || warn!(outcome = "dropped")));
    assert_eq!(line, json!({"level": "WARN", "outcome": "dropped"}));
}

#[test]
fn what_is_counted_does_not_depend_on_how_much_is_logged() {
    let work = || {
        log(Level::INFO, counting(&[(Metric::ObjectsDeleted, 2)]));
        log(Level::INFO, counting(&[]));
        warn!("a warning");
        error!("an error");
    };
    assert_eq!(written("error", None, work).len(), 1);
    assert_eq!(written("warn", None, work).len(), 2);
    let counted = written("error", Some("a"), work);
    assert_eq!(counted.len(), 2, "what counts and the error: {counted:?}");
}

#[test]
fn of_others_nothing_is_logged_but_the_runtime_s_errors() {
    let lines = written("trace", Some("a"), || {
        error!(target: "aws_sdk_dynamodb::client", "with a body");
        warn!(target: "lambda_runtime", "a request");
        error!(target: "lambda_runtime::layers", attempt = 2, is_so = true, "no answer");
        let _span = tracing::error_span!("no line").entered();
    });
    assert_eq!(
        only(lines),
        json!({"level": "ERROR", "message": "no answer", "attempt": 2, "is_so": true})
    );
}

#[test]
fn the_longest_line_stays_within_its_size_and_keeps_what_it_counts() {
    let namespace = "n".repeat(MAX_NAMESPACE_BYTES);
    let most = u32::MAX;
    let cause = || "\\x\u{1}é".repeat(100);
    let line = || TestLine {
        task_id: Some("\"".repeat(255)),
        attempt: Some(most),
        cause: Some(ShortText::new(cause())),
        duration_ms: Some(60_000),
        ..TestLine::default()
    };
    let lines = written("info", Some(&namespace), || {
        let counting = TestLine {
            outcome: Some("failed"),
            metrics: metrics(&[
                (Metric::TasksFailed, 1),
                (Metric::ObjectsDeleted, 300),
                (Metric::ObjectsNotFound, 100),
                (Metric::ObjectsFailed, 100),
            ]),
            ..line()
        };
        log(Level::WARN, counting);
        let deferred = TestLine {
            outcome: Some("deferred"),
            why: Some("the vector store throttled".to_owned()),
            ..line()
        };
        log(Level::WARN, deferred);
        error!(target: "lambda_runtime", error = cause(), "{}", cause());
    });
    for line in &lines {
        let fields: Value = serde_json::from_str(line).unwrap();
        let id = fields["task_id"].as_str().map_or(0, |id| 2 * id.len());
        let size = line.trim_end().len() - id;
        assert!(size <= MAX_LINE_BYTES, "{size}: {line}");
    }
    assert_eq!(lines.len(), 3);
    let fields: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(fields["ObjectsFailed"], 100);
    assert_eq!(fields["attempt"], most);
    let definitions = &fields["_aws"]["CloudWatchMetrics"][0]["Metrics"];
    assert_eq!(definitions.as_array().unwrap().len(), 4);
    assert!(fields.get("outcome").is_none(), "it is missed least");
    let fields: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(fields["outcome"], "deferred");
    assert_eq!(fields["duration_ms"], 60_000);
}

#[test]
fn the_size_is_that_of_the_line_without_its_task_s_id() {
    let why = "w".repeat(230);
    let is_whole = |id: &str, cause: usize| {
        let line = TestLine {
            task_id: Some(id.to_owned()),
            why: Some(why.clone()),
            cause: Some(ShortText::new("c".repeat(cause))),
            ..TestLine::default()
        };
        let line = only(written("info", None, || log(Level::INFO, line)));
        line.get("cause").is_some()
    };
    let fits = MAX_LINE_BYTES - why.len() - r#"{"task_id":"","why":"","cause":""}"#.len();
    for id in ["a", "\"", "\u{1}é", &"a\"b".repeat(80)] {
        assert!(is_whole(id, fits), "{id}");
        assert!(!is_whole(id, fits + 1), "{id}");
    }
}
