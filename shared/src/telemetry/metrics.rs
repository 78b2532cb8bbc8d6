//! What a line counts, in CloudWatch's embedded metric format ("Specification: Embedded metric
//! format", Amazon CloudWatch User Guide).

use super::MetricsNamespace;
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

/// A metric. Its name in CloudWatch and its field on a line are the variant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Metric {
    /// Tasks created.
    TasksCreated,
    /// Tasks that ended `done`.
    TasksDone,
    /// Tasks that ended `failed`.
    TasksFailed,
    /// Tasks canceled.
    TasksCanceled,
    /// Objects deleted.
    ObjectsDeleted,
    /// Objects that were not in the index.
    ObjectsNotFound,
    /// Objects that the store refused or that were given up.
    ObjectsFailed,
    /// Seconds since the oldest pending task was created or restarted.
    OldestPendingTaskAge,
    /// Messages that the sweeper sent again.
    SweeperResends,
}

impl Metric {
    /// The unit, for CloudWatch. A count needs none. With one, the longest lines would not stay
    /// within [`super::MAX_LINE_BYTES`].
    fn unit(self) -> Option<&'static str> {
        match self {
            Self::OldestPendingTaskAge => Some("Seconds"),
            Self::TasksCreated
            | Self::TasksDone
            | Self::TasksFailed
            | Self::TasksCanceled
            | Self::ObjectsDeleted
            | Self::ObjectsNotFound
            | Self::ObjectsFailed
            | Self::SweeperResends => None,
        }
    }
}

/// The metrics of one line, in order. A line's struct flattens them, so each is a field of the
/// line.
#[derive(Debug, Default)]
pub struct Metrics(Vec<(Metric, i64)>);

impl Metrics {
    /// The metrics of a line that counts nothing.
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds a metric and its value.
    pub fn add(&mut self, metric: Metric, value: impl Into<i64>) {
        self.0.push((metric, value.into()));
    }

    /// Whether this metric is among them.
    pub fn has(&self, metric: Metric) -> bool {
        self.0.iter().any(|(given, _)| *given == metric)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// The field `_aws`, which tells CloudWatch which fields of the line are metrics.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Metadata<'a> {
    timestamp: i64,
    cloud_watch_metrics: [Directive<'a>; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    dimensions: [[&'static str; 0]; 1],
    metrics: Vec<Definition>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: Metric,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
}

impl<'a> Metadata<'a> {
    /// The metadata of a line with these metrics, which happened `at`. They have no dimensions, so
    /// each is one metric of its namespace.
    pub(super) fn new(
        metrics: &Metrics,
        namespace: &'a MetricsNamespace,
        at: DateTime<Utc>,
    ) -> Self {
        let metrics = metrics.0.iter().map(|(metric, _)| Definition {
            name: *metric,
            unit: metric.unit(),
        });
        Self {
            timestamp: at.timestamp_millis(),
            cloud_watch_metrics: [Directive {
                namespace: namespace.as_str(),
                dimensions: [[]],
                metrics: metrics.collect(),
            }],
        }
    }
}
