//! One line: a JSON object of bounded size.

use super::MetricsNamespace;
use super::metrics::{Metadata, Metrics};
use chrono::{DateTime, Utc};
use serde::Serialize;
use tracing::Level;

/// The most bytes of a line without the [names](Line::names) in it.
pub const MAX_LINE_BYTES: usize = 400;

/// A kind of line. It serializes to its fields, in order, with its [`Metrics`] flattened among
/// them. A text whose length is not bounded elsewhere is a [`super::ShortText`].
pub trait Line: Serialize {
    /// The metrics of the line.
    fn metrics(&self) -> &Metrics {
        static NONE: Metrics = Metrics::none();
        &NONE
    }

    /// The names in the line that others chose: those of its task, its request and its caller. They
    /// do not count towards [`MAX_LINE_BYTES`].
    fn names(&self) -> [Option<&str>; 3] {
        [None; 3]
    }

    /// Leaves out the least important field of a line that is too long. Returns `false` if no field
    /// is left to leave out. The default is for a kind of line that is never too long.
    fn shorten(&mut self) -> bool {
        false
    }
}

/// A line as it is written.
#[derive(Serialize)]
struct Written<'a, L> {
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    #[serde(flatten)]
    line: &'a L,
    #[serde(rename = "_aws", skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
}

/// The line as JSON, with its line feed. `at`: the time of its metrics.
pub(super) fn to_json(
    level: Level,
    line: &mut impl Line,
    namespace: Option<&MetricsNamespace>,
    at: DateTime<Utc>,
) -> String {
    // Most lines have the level `INFO`, which is left out.
    let mut level = (level != Level::INFO).then(|| level.as_str());
    loop {
        let metrics = line.metrics();
        let namespace = namespace.filter(|_| !metrics.is_empty());
        let written = Written {
            level,
            line,
            metadata: namespace.map(|namespace| Metadata::new(metrics, namespace, at)),
        };
        // Fields with names and plain values always serialize.
        let mut json = serde_json::to_string(&written).unwrap_or_default();
        let names = || line.names().into_iter().flatten().map(bytes_in_json);
        let is_short =
            json.len() <= MAX_LINE_BYTES || json.len() - names().sum::<usize>() <= MAX_LINE_BYTES;
        if is_short || !(line.shorten() || level.take().is_some()) {
            json.push('\n');
            return json;
        }
    }
}

/// The bytes of a text in JSON, without its quotation marks.
fn bytes_in_json(text: &str) -> usize {
    serde_json::Value::from(text).to_string().len() - 2
}

#[cfg(test)]
mod tests;
