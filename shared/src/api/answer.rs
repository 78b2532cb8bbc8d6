//! Turning what an endpoint says into an HTTP response, and into its one line of log.

use super::problem::{Problem, ProblemKind};
use crate::queue::QueueError;
use crate::task::{Task, TaskId};
use crate::telemetry::{self, Line, Metric, Metrics, ShortText};
use chrono::{DateTime, Utc};
use lambda_http::http::{HeaderValue, StatusCode, header};
use lambda_http::{Body, Response};
use serde::Serialize;
use tracing::Level;

/// A success.
#[derive(Debug, Default)]
pub(super) struct Answer {
    json: Vec<u8>,
    headers: Vec<&'static str>,
}

impl Answer {
    pub(super) fn json(body: &impl Serialize) -> Result<Self, Problem> {
        let mut json = Vec::with_capacity(1024); // most answers are shorter
        serde_json::to_writer(&mut json, body).map_err(Problem::ours)?;
        Ok(Self {
            json,
            ..Self::default()
        })
    }

    /// Adds the header `name: true`.
    pub(super) fn flag(mut self, name: &'static str) -> Self {
        self.headers.push(name);
        self
    }
}

/// A request's one line of log, filled on the way: what was done stands in it though the answer is a problem.
#[derive(Debug, Serialize)]
pub(super) struct RequestLog {
    #[serde(skip)]
    began: DateTime<Utc>,
    endpoint: &'static str,
    /// Of the response.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<usize>,
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

    fn task_id(&self) -> Option<&str> {
        self.task_id.as_deref()
    }

    fn shorten(&mut self) -> bool {
        self.duration_ms.take().is_some() || self.cause.take().is_some()
    }
}

impl RequestLog {
    pub(super) fn begin(endpoint: &'static str, now: DateTime<Utc>) -> Self {
        Self {
            began: now,
            endpoint,
            status: StatusCode::OK.as_u16(),
            task_id: None,
            attempt: None,
            task_status: None,
            count: None,
            faults: None,
            dispatched: None,
            cause: None,
            metrics: Metrics::default(),
            duration_ms: None,
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

    /// This request, and no other, created a task.
    pub(super) fn created(&mut self) {
        self.metrics.add(Metric::TasksCreated, 1);
    }

    /// This request, and no other, canceled a task.
    pub(super) fn canceled(&mut self) {
        self.metrics.add(Metric::TasksCanceled, 1);
    }

    /// The task's message was not sent: the sweeper sends it.
    pub(super) fn not_dispatched(&mut self, error: &QueueError) {
        self.dispatched = Some(false);
        self.cause = Some(ShortText::new(error));
    }

    /// Writes the line, and makes the answer a response.
    pub(super) fn respond(
        self,
        answer: Result<Answer, Problem>,
        now: DateTime<Utc>,
    ) -> Response<Body> {
        self.write(answer.as_ref().err(), now);
        let answer = match answer {
            Ok(answer) => answer,
            Err(problem) => return refuse(problem),
        };
        let mut response = response(StatusCode::OK, "application/json", answer.json);
        for name in answer.headers {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static("true"));
        }
        response
    }

    fn write(mut self, problem: Option<&Problem>, now: DateTime<Utc>) {
        let mut status = StatusCode::OK;
        if let Some(problem) = problem {
            status = problem.kind.status();
            self.faults = Some(problem.errors.len()).filter(|errors| *errors > 0);
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

/// A problem as a response.
pub(super) fn refuse(problem: Problem) -> Response<Body> {
    let json = serde_json::to_vec(&problem.body()).unwrap_or_default();
    let mut response = response(problem.kind.status(), "application/problem+json", json);
    if let Some((name, value)) = problem.header
        && let Ok(value) = HeaderValue::from_str(&value)
    {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The answer to a body over [`super::MAX_BODY_BYTES`].
pub fn too_large() -> Response<Body> {
    refuse(body_too_large())
}

pub(super) fn body_too_large() -> Problem {
    let detail = format!(
        "The body is larger than {} bytes: split the objects over several tasks",
        super::MAX_BODY_BYTES
    );
    Problem::new(ProblemKind::ContentTooLarge, detail)
}

fn response(status: StatusCode, content_type: &'static str, mut json: Vec<u8>) -> Response<Body> {
    json.push(b'\n'); // so that one answer in a terminal ends before the next begins
    // JSON from serde_json is UTF-8.
    let mut response = Response::new(Body::Text(String::from_utf8(json).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
