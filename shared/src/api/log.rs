//! The log line of a request.

use super::caller::Caller;
use super::problem::Problem;
use crate::queue::QueueError;
use crate::task::{Task, TaskId};
use crate::telemetry::{self, Line, Metric, Metrics, ShortText};
use chrono::{DateTime, Utc};
use lambda_http::http::StatusCode;
use serde::Serialize;
use tracing::Level;

/// The one log line of a request.
///
/// It is filled in while the request is carried out, so that it says what was done even if the
/// response is an error.
#[derive(Debug, Serialize)]
pub struct RequestLog {
    #[serde(skip)]
    began: DateTime<Utc>,
    endpoint: &'static str,
    /// The status of the response.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    /// API Gateway's id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// The IAM ARN of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_errors: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dispatched: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ShortText>,
    #[serde(flatten)]
    metrics: Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
}

impl Line for RequestLog {
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn names(&self) -> [Option<&str>; 3] {
        [&self.task_id, &self.request_id, &self.caller].map(|name| name.as_deref())
    }

    fn shorten(&mut self) -> bool {
        self.duration_ms.take().is_some() || self.cause.take().is_some()
    }
}

impl RequestLog {
    pub(super) fn begin(endpoint: &'static str, caller: Caller, now: DateTime<Utc>) -> Self {
        Self {
            began: now,
            endpoint,
            status: StatusCode::OK.as_u16(),
            task_id: None,
            request_id: caller.request_id,
            caller: caller.arn,
            attempt: None,
            task_status: None,
            count: None,
            validation_errors: None,
            dispatched: None,
            cause: None,
            metrics: Metrics::default(),
            duration_ms: None,
        }
    }

    /// Returns the IAM ARN of the caller.
    pub(super) fn caller(&self) -> Option<&str> {
        self.caller.as_deref()
    }

    /// Records the id of the task.
    pub(super) fn about(&mut self, id: &TaskId) {
        self.task_id = Some(id.as_str().to_owned());
    }

    /// Records the task as the request found or left it.
    pub(super) fn task(&mut self, task: &Task) {
        self.about(&task.id);
        self.attempt = Some(task.attempt);
        self.task_status = Some(task.status.as_str());
    }

    /// Records the number of objects or tasks that the request was about.
    pub(super) fn count(&mut self, count: usize) {
        self.count = Some(count);
    }

    /// Records that this request, and no other, created a task.
    pub(super) fn created(&mut self) {
        self.metrics.add(Metric::TasksCreated, 1);
    }

    /// Records that this request, and no other, canceled a task.
    pub(super) fn canceled(&mut self) {
        self.metrics.add(Metric::TasksCanceled, 1);
    }

    /// Records that the task's message was not sent. The sweeper sends it.
    pub(super) fn not_dispatched(&mut self, error: &QueueError) {
        self.dispatched = Some(false);
        self.cause = Some(ShortText::new(error));
    }

    /// Writes the line of a request that succeeded, or that ended with this problem.
    pub(super) fn write(mut self, problem: Option<&Problem>, now: DateTime<Utc>) {
        let mut status = StatusCode::OK;
        if let Some(problem) = problem {
            status = problem.kind.status();
            self.validation_errors = Some(problem.errors.len()).filter(|errors| *errors > 0);
            if let Some(cause) = &problem.cause {
                self.cause = Some(ShortText::new(cause));
            }
        }
        self.status = status.as_u16();
        self.duration_ms = Some((now - self.began).num_milliseconds());
        let level = match status {
            StatusCode::INTERNAL_SERVER_ERROR => Level::ERROR,
            StatusCode::SERVICE_UNAVAILABLE => Level::WARN,
            _ if self.dispatched.is_some() => Level::WARN,
            _ => Level::INFO,
        };
        telemetry::log(level, self);
    }
}
