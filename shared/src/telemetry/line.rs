//! One line: a JSON object of bounded size, with what it counts in the embedded metric format ("Specification: Embedded
//! metric format", Amazon CloudWatch User Guide).

use super::MetricsNamespace;
use chrono::{DateTime, Utc};
use std::fmt;
use tracing::Level;
use tracing::field::{Field, Visit};

/// The most bytes of a line beside its task's id.
pub const MAX_LINE_BYTES: usize = 400;
/// The most bytes of one text in it, other than its task's id.
const MAX_TEXT_BYTES: usize = 150;

/// The metrics, and their units. A count has none, which the format takes too: with it the longest lines would not stay
/// within [`MAX_LINE_BYTES`].
pub const METRICS: [(&str, Option<&str>); 9] = [
    ("TasksCreated", None),
    ("TasksDone", None),
    ("TasksFailed", None),
    ("TasksCanceled", None),
    ("ObjectsDeleted", None),
    ("ObjectsNotFound", None),
    ("ObjectsFailed", None),
    ("OldestPendingTaskAge", Some("Seconds")),
    ("SweeperResends", None),
];

/// The field that may be as long as it likes.
const TASK_ID: &str = "task_id";
/// What a line that is too long does without, in this order.
const DISPENSABLE: [&str; 3] = ["duration_ms", "cause", "level"];

/// Whether a field of this name is a metric.
pub(super) fn is_metric(name: &str) -> bool {
    METRICS.iter().any(|(metric, _)| *metric == name)
}

/// A line, field by field.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Names, which need no escapes, and values in JSON.
    fields: Vec<(&'static str, String)>,
}

impl Line {
    /// A line of this level. Most are of `INFO`, which needs no saying.
    pub(super) fn new(level: Level) -> Self {
        let mut line = Self::default();
        if level != Level::INFO {
            line.text("level", level.as_str());
        }
        line
    }

    /// Whether the line counts anything.
    pub(super) fn has_metrics(&self) -> bool {
        self.fields.iter().any(|(name, _)| is_metric(name))
    }

    /// The line, with its line feed. `at`: when what it counts happened.
    pub(super) fn finish(
        mut self,
        namespace: Option<&MetricsNamespace>,
        at: DateTime<Utc>,
    ) -> String {
        if let Some(namespace) = namespace
            && self.has_metrics()
        {
            let metadata = self.metadata(namespace, at);
            self.fields.push(("_aws", metadata));
        }
        let counts_a_task = self
            .fields
            .iter()
            .any(|(name, _)| name.starts_with("Tasks"));
        // Then it says the same.
        let outcome = counts_a_task.then_some("outcome");
        for name in outcome.into_iter().chain(DISPENSABLE) {
            if self.size() > MAX_LINE_BYTES {
                self.fields.retain(|(given, _)| *given != name);
            }
        }
        let fields = self.fields.iter();
        let fields: Vec<_> = fields
            .map(|(name, json)| format!("\"{name}\":{json}"))
            .collect();
        format!("{{{}}}\n", fields.join(","))
    }

    /// The bytes of the line, without its task's id and its line feed.
    fn size(&self) -> usize {
        let fields = self.fields.iter();
        let sizes = fields.map(|(name, json)| match *name {
            TASK_ID => name.len() + r#""":"","#.len(),
            _ => name.len() + json.len() + r#""":,"#.len(),
        });
        // A pair of braces, and one comma less than fields.
        1 + sizes.sum::<usize>()
    }

    /// What tells CloudWatch which fields are metrics. Without a dimension each is one metric of its namespace.
    fn metadata(&self, namespace: &MetricsNamespace, at: DateTime<Utc>) -> String {
        let metrics: Vec<_> = METRICS
            .iter()
            .filter(|(metric, _)| self.fields.iter().any(|(name, _)| name == metric))
            .map(|(name, unit)| match unit {
                Some(unit) => format!(r#"{{"Name":"{name}","Unit":"{unit}"}}"#),
                None => format!(r#"{{"Name":"{name}"}}"#),
            })
            .collect();
        format!(
            r#"{{"Timestamp":{},"CloudWatchMetrics":[{{"Namespace":"{namespace}","Dimensions":[[]],"Metrics":[{}]}}]}}"#,
            at.timestamp_millis(),
            metrics.join(",")
        )
    }

    fn text(&mut self, name: &'static str, text: &str) {
        let text = match name {
            TASK_ID => text,
            _ => cut(text),
        };
        let json = serde_json::Value::from(text).to_string();
        self.fields.push((name, json));
    }
}

/// The fields of an event, in order.
impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field.name(), &format!("{value:?}"));
    }
}

/// As much of a text as takes no more than [`MAX_TEXT_BYTES`] in JSON.
fn cut(text: &str) -> &str {
    let mut bytes = 0;
    let end = text.char_indices().find(|(_, c)| {
        bytes += match c {
            '"' | '\\' => 2,
            '\0'..' ' => r"\u0000".len(),
            _ => c.len_utf8(),
        };
        bytes > MAX_TEXT_BYTES
    });
    match end {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}

#[cfg(test)]
mod tests;
