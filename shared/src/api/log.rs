//! The log line of a request.

use super::problem::Problem;
use crate::queue::QueueError;
use crate::task::{Task, TaskId};
use chrono::{DateTime, Utc};
use lambda_http::http::StatusCode;
use tracing::{Level, event};

/// What the one log line of a request says. It is filled in while the request is carried out, so that it says what was done even
/// where the response is an error.
#[derive(Debug)]
pub struct RequestLog {
    endpoint: &'static str,
    began: DateTime<Utc>,
    task_id: Option<String>,
    attempt: Option<u32>,
    task_status: Option<&'static str>,
    count: Option<usize>,
    /// Whether this request, and no other, created a task.
    created: Option<u64>,
    /// Whether this request, and no other, canceled a task.
    canceled: Option<u64>,
    not_dispatched: Option<String>,
}

impl RequestLog {
    pub(super) fn begin(endpoint: &'static str, now: DateTime<Utc>) -> Self {
        Self {
            endpoint,
            began: now,
            task_id: None,
            attempt: None,
            task_status: None,
            count: None,
            created: None,
            canceled: None,
            not_dispatched: None,
        }
    }

    /// Names the task.
    pub(super) fn about(&mut self, id: &TaskId) {
        self.task_id = Some(id.as_str().to_owned());
    }

    /// The task, as the request found or left it.
    pub(super) fn task(&mut self, task: &Task) {
        self.about(&task.id);
        self.attempt = Some(task.attempt);
        self.task_status = Some(task.status.as_str());
    }

    /// How many objects or tasks it was about.
    pub(super) fn count(&mut self, count: usize) {
        self.count = Some(count);
    }

    /// This request created a task.
    pub(super) fn created(&mut self) {
        self.created = Some(1);
    }

    /// This request canceled a task.
    pub(super) fn canceled(&mut self) {
        self.canceled = Some(1);
    }

    /// The task's message was not sent: the sweeper sends it.
    pub(super) fn not_dispatched(&mut self, error: &QueueError) {
        self.not_dispatched = Some(error.to_string());
    }

    /// Writes the line of a request that succeeded, or ended with this problem.
    pub(super) fn write(self, problem: Option<&Problem>, now: DateTime<Utc>) {
        let status = problem.map_or(StatusCode::OK, |problem| problem.kind.status());
        let validation_errors = problem
            .map(|problem| problem.errors.len())
            .filter(|count| *count > 0);
        let cause = problem.and_then(|problem| problem.cause.as_deref());
        let dispatched = self.not_dispatched.as_ref().map(|_| false);
        macro_rules! line {
            ($level:expr) => {
                event!(
                    $level,
                    endpoint = self.endpoint,
                    status = status.as_u16(),
                    task_id = self.task_id,
                    attempt = self.attempt,
                    task_status = self.task_status,
                    count = self.count,
                    validation_errors,
                    dispatched,
                    cause = cause.or(self.not_dispatched.as_deref()),
                    TasksCreated = self.created,
                    TasksCanceled = self.canceled,
                    duration_ms = (now - self.began).num_milliseconds(),
                )
            };
        }
        match status {
            StatusCode::INTERNAL_SERVER_ERROR => line!(Level::ERROR),
            StatusCode::SERVICE_UNAVAILABLE => line!(Level::WARN),
            _ if dispatched.is_some() => line!(Level::WARN),
            _ => line!(Level::INFO),
        }
    }
}
