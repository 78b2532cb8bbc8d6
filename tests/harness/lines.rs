//! Captures the service's log lines, checks them and adds up their metrics.

use serde_json::Value;
use shared::telemetry::{MAX_LINE_BYTES, TelemetryConfig, lines};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Once};

/// The units in use here. CloudWatch knows them all ("MetricDatum", Amazon CloudWatch API
/// Reference).
const UNITS: [&str; 3] = ["Count", "Seconds", "None"];

thread_local! {
    /// Where the lines that this thread logs are collected.
    static CAPTURED: RefCell<Option<Arc<Mutex<String>>>> = const { RefCell::new(None) };
}

/// Captures the lines that this thread logs, until it is dropped. A test's service runs on the same
/// thread.
#[derive(Debug)]
pub struct Lines {
    written: Arc<Mutex<String>>,
}

impl Lines {
    /// Starts capturing.
    pub fn capture() -> Self {
        // One subscriber serves all threads. With one per thread, tracing may cache that no
        // subscriber wants an event, because another thread reached that event first.
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let config = TelemetryConfig {
                metrics: Some("DeletionTasks/tests".parse().expect("a namespace")),
                ..TelemetryConfig::default()
            };
            let lines = lines(config, |line| {
                CAPTURED.with_borrow(|captured| {
                    if let Some(captured) = captured {
                        captured.lock().expect("not poisoned").push_str(line);
                    }
                });
            });
            tracing::subscriber::set_global_default(lines).expect("the only one");
            tracing::callsite::rebuild_interest_cache();
        });
        let written = Arc::<Mutex<String>>::default();
        CAPTURED.set(Some(Arc::clone(&written)));
        Self { written }
    }

    /// Returns the lines since the last call, after checking each.
    pub fn take(&self) -> Vec<Value> {
        let written = std::mem::take(&mut *self.written.lock().expect("not poisoned"));
        written.lines().map(checked).collect()
    }

    /// The sums of the metrics on the lines since the last call.
    pub fn counted(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for line in self.take() {
            for name in metrics(&line) {
                *sums.entry(name.to_owned()).or_default() += line[name].as_u64().expect("a count");
            }
        }
        sums
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        CAPTURED.take();
    }
}

/// The names of a line's metrics.
pub fn metrics(line: &Value) -> Vec<&str> {
    let directives = line["_aws"]["CloudWatchMetrics"].as_array();
    let metrics = directives.into_iter().flatten();
    let metrics = metrics.flat_map(|directive| directive["Metrics"].as_array().expect("a list"));
    metrics
        .map(|metric| metric["Name"].as_str().expect("a name"))
        .collect()
}

/// The fields of a line.
///
/// # Panics
/// If it is not JSON, is too long, or has metrics that CloudWatch would not read.
#[track_caller]
pub fn checked(line: &str) -> Value {
    let fields: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    // The values as they are written in the line, with escapes.
    let names = ["task_id", "request_id", "caller"].map(|name| match &fields[name] {
        Value::String(_) => fields[name].to_string().len() - 2,
        _ => 0,
    });
    let own = line.len() - names.iter().sum::<usize>();
    assert!(own <= MAX_LINE_BYTES, "too long: {line}");
    if let Some(metadata) = fields.get("_aws") {
        assert!(is_valid(metadata, &fields), "not the format: {line}");
    }
    fields
}

/// Whether `_aws` follows the schema in "Specification: Embedded metric format" (Amazon CloudWatch
/// User Guide), and the fields that it names follow the text beside the schema.
fn is_valid(metadata: &Value, fields: &Value) -> bool {
    let is_name = |name: &Value| (1..=255).contains(&name.as_str().map_or(0, str::len));
    let list = |value: &Value, check: &dyn Fn(&Value) -> bool| {
        value.as_array().is_some_and(|list| list.iter().all(check))
    };
    let is_metric = |metric: &Value| {
        let target = metric["Name"].as_str().map(|name| &fields[name]);
        let unit = metric
            .get("Unit")
            .map(|unit| unit.as_str().unwrap_or_default());
        is_name(&metric["Name"])
            && target.is_some_and(Value::is_number)
            && unit.is_none_or(|unit| UNITS.contains(&unit))
    };
    let is_dimension_set = |set: &Value| {
        let is_key =
            |key: &Value| is_name(key) && fields[key.as_str().unwrap_or_default()].is_string();
        list(set, &is_key) && set.as_array().is_some_and(|set| set.len() <= 30)
    };
    let is_directive = |directive: &Value| {
        let count = |name: &str| directive[name].as_array().map_or(0, Vec::len);
        is_name(&directive["Namespace"])
            && count("Dimensions") >= 1
            && list(&directive["Dimensions"], &is_dimension_set)
            && (1..=100).contains(&count("Metrics"))
            && list(&directive["Metrics"], &is_metric)
    };
    metadata["Timestamp"].is_u64() && list(&metadata["CloudWatchMetrics"], &is_directive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cloudwatch_would_not_read_is_told_from_what_it_would() {
        let good = json!({"Timestamp": 1, "CloudWatchMetrics": [
            {"Namespace": "a", "Dimensions": [[]], "Metrics": [{"Name": "n", "Unit": "Count"}]}]});
        let fields = json!({"n": 1, "text": "a"});
        assert!(is_valid(&good, &fields));
        for (pointer, bad) in [
            ("/Timestamp", json!("now")),
            ("/CloudWatchMetrics", json!({})),
            ("/CloudWatchMetrics/0/Namespace", json!("")),
            ("/CloudWatchMetrics/0/Dimensions", json!([])),
            ("/CloudWatchMetrics/0/Dimensions/0", json!(["n"])),
            ("/CloudWatchMetrics/0/Metrics", json!([])),
            ("/CloudWatchMetrics/0/Metrics/0/Name", json!("absent")),
            ("/CloudWatchMetrics/0/Metrics/0/Name", json!("text")),
            ("/CloudWatchMetrics/0/Metrics/0/Unit", json!("Tasks")),
        ] {
            let mut changed = good.clone();
            *changed.pointer_mut(pointer).unwrap() = bad;
            assert!(!is_valid(&changed, &fields), "{pointer}");
        }
    }
}
