//! One line: a JSON object of bounded size, with what it counts in the embedded metric format ("Specification: Embedded
//! metric format", Amazon CloudWatch User Guide).

use super::MetricsNamespace;
use chrono::{DateTime, Utc};
use std::fmt::{self, Write};
use std::ops::Range;
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
    /// The fields in JSON, a comma before each.
    json: String,
    /// Their names, which need no escapes, and where each begins.
    fields: Vec<(&'static str, usize)>,
}

impl Line {
    /// A line of this level. Most are of `INFO`, which needs no saying.
    pub(super) fn new(level: Level) -> Self {
        let mut line = Self {
            json: String::with_capacity(2 * MAX_LINE_BYTES),
            fields: Vec::with_capacity(16),
        };
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
            self.metadata(namespace, at);
        }
        let counts_a_task = self
            .fields
            .iter()
            .any(|(name, _)| name.starts_with("Tasks"));
        // Then it says the same.
        let outcome = counts_a_task.then_some("outcome");
        for name in outcome.into_iter().chain(DISPENSABLE) {
            if self.size() > MAX_LINE_BYTES {
                self.remove(name);
            }
        }
        match self.json.is_empty() {
            true => self.json.push('{'),
            false => self.json.replace_range(..1, "{"),
        }
        self.json.push_str("}\n");
        self.json
    }

    /// The bytes of the line, without its task's id and its line feed.
    fn size(&self) -> usize {
        let id = self.fields.iter().position(|(name, _)| *name == TASK_ID);
        let id = id.map_or(0, |at| {
            self.range(at).len() - TASK_ID.len() - r#","":"""#.len()
        });
        // A pair of braces, and one comma less than fields.
        1 + self.json.len() - id
    }

    /// Where the field of this number is, its comma included.
    fn range(&self, number: usize) -> Range<usize> {
        let begin = |number| self.fields.get(number).map(|(_, begin)| *begin);
        let end = self.json.len();
        begin(number).unwrap_or(end)..begin(number + 1).unwrap_or(end)
    }

    fn remove(&mut self, name: &str) {
        if let Some(at) = self.fields.iter().position(|(given, _)| *given == name) {
            let range = self.range(at);
            self.fields.remove(at);
            for (_, begin) in self.fields.iter_mut().skip(at) {
                *begin -= range.len();
            }
            self.json.replace_range(range, "");
        }
    }

    /// Begins a field; its value is to be added in JSON.
    fn field(&mut self, name: &'static str) -> &mut String {
        self.fields.push((name, self.json.len()));
        self.json.push_str(",\"");
        self.json.push_str(name);
        self.json.push_str("\":");
        &mut self.json
    }

    /// What tells CloudWatch which fields are metrics. Without a dimension each is one metric of its namespace.
    fn metadata(&mut self, namespace: &MetricsNamespace, at: DateTime<Utc>) {
        let fields = self.fields.len();
        let given = |line: &Self, metric| {
            line.fields
                .iter()
                .take(fields)
                .any(|(name, _)| *name == metric)
        };
        let at = at.timestamp_millis();
        self.value(
            "_aws",
            format_args!(
                r#"{{"Timestamp":{at},"CloudWatchMetrics":[{{"Namespace":"{namespace}","Dimensions":[[]],"Metrics":["#
            ),
        );
        let mut comma = "";
        for (metric, unit) in METRICS {
            if !given(self, metric) {
                continue;
            }
            for part in [comma, r#"{"Name":""#, metric, "\""] {
                self.json.push_str(part);
            }
            if let Some(unit) = unit {
                for part in [r#","Unit":""#, unit, "\""] {
                    self.json.push_str(part);
                }
            }
            self.json.push('}');
            comma = ",";
        }
        self.json.push_str("]}]}");
    }

    fn text(&mut self, name: &'static str, text: &str) {
        let text = match name {
            TASK_ID => text,
            _ => cut(text),
        };
        let json = self.field(name);
        match text
            .bytes()
            .any(|byte| matches!(byte, b'"' | b'\\' | 0..b' '))
        {
            true => json.push_str(&serde_json::Value::from(text).to_string()),
            false => {
                for part in ["\"", text, "\""] {
                    json.push_str(part);
                }
            }
        }
    }

    /// A field whose value shows itself in JSON.
    fn value(&mut self, name: &'static str, value: impl fmt::Display) {
        // Writing to a text does not fail.
        let _ = write!(self.field(name), "{value}");
    }
}

/// The fields of an event, in order.
impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field.name(), value);
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
