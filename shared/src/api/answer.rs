//! Turning what an endpoint says into an HTTP response, and into its one line of log.

use super::problem::{Problem, ProblemKind};
use crate::clock::Clock;
use lambda_http::http::{HeaderValue, StatusCode, header};
use lambda_http::{Body, Response};
use serde::Serialize;
use std::future::Future;
use tracing::{error, info, warn};

/// A success, with what its log line says.
#[derive(Debug, Default)]
pub(super) struct Answer {
    json: Vec<u8>,
    headers: Vec<&'static str>,
    log: LogFields,
}

#[derive(Debug, Default)]
struct LogFields {
    task_id: Option<String>,
    attempt: Option<u32>,
    task_status: Option<&'static str>,
    count: Option<usize>,
}

impl Answer {
    pub(super) fn json(body: &impl Serialize) -> Result<Self, Problem> {
        let json = serde_json::to_vec(body).map_err(Problem::ours)?;
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

    /// The task the log line is about.
    pub(super) fn about(mut self, task: &crate::task::Task) -> Self {
        self.log.task_id = Some(task.id.to_string());
        self.log.attempt = Some(task.attempt);
        self.log.task_status = Some(task.status.as_str());
        self
    }

    /// How many objects or tasks the log line counts.
    pub(super) fn counting(mut self, count: usize) -> Self {
        self.log.count = Some(count);
        self
    }
}

/// Waits for an endpoint's answer, logs it in one line, and makes it a response.
pub(super) async fn respond(
    endpoint: &'static str,
    clock: &Clock,
    answer: impl Future<Output = Result<Answer, Problem>>,
) -> Response<Body> {
    let began = clock.now();
    let answer = answer.await;
    let duration_ms = (clock.now() - began).num_milliseconds();
    match answer {
        Ok(answer) => {
            let LogFields {
                task_id,
                attempt,
                task_status,
                count,
            } = answer.log;
            info!(
                endpoint,
                status = 200,
                task_id,
                attempt,
                task_status,
                count,
                duration_ms
            );
            let mut response = response(StatusCode::OK, "application/json", answer.json);
            for name in answer.headers {
                response
                    .headers_mut()
                    .insert(name, HeaderValue::from_static("true"));
            }
            response
        }
        Err(problem) => {
            let status = problem.kind.status().as_u16();
            let cause = problem.log.cause.as_deref();
            let (task_id, faults) = (problem.log.task_id.as_deref(), problem.errors.len());
            match problem.kind {
                ProblemKind::InternalServerError => {
                    error!(endpoint, status, task_id, cause, duration_ms);
                }
                ProblemKind::ServiceUnavailable => {
                    warn!(endpoint, status, task_id, cause, duration_ms);
                }
                _ => info!(endpoint, status, task_id, faults, duration_ms),
            }
            refuse(problem)
        }
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
