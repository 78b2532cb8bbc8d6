//! S3 Vectors: winterbaume, in memory, behind HTTP.
//!
//! winterbaume accepts any number of keys in a call, and any number of calls. The real service has
//! limits. This module enforces them, so that a client that ignores them fails here first. It
//! enforces the rates only with `--throttle`.

use super::quota::{Cost, Quotas};
use super::vectors::Vectors;
use crate::error::StartError;
use crate::options::Throttle;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::time::Instant;
use web::{Guard, Reply, Server, Site};
use winterbaume_core::MockRequest;

/// "Request payload size" under "S3 Vectors limitations and restrictions".
const MAX_REQUEST_BYTES: usize = 20 * 1024 * 1024;
/// The most characters of a vector's key.
const MAX_KEY_CHARACTERS: usize = 1024;

#[derive(Debug)]
pub(crate) struct S3Vectors(Server);

impl S3Vectors {
    /// Starts S3 Vectors, without buckets.
    pub(crate) fn start(
        listener: TcpListener,
        guard: Guard,
        throttle: Throttle,
    ) -> Result<Self, StartError> {
        let service = Arc::new(Service {
            vectors: Vectors::new(),
            quotas: Quotas::default(),
            throttle,
        });
        let site = Site {
            max_body: MAX_REQUEST_BYTES,
            too_large: || invalid("The request is too large", Vec::new()),
            is_page: |_| false,
        };
        let respond = move |request| {
            let service = Arc::clone(&service);
            async move { service.respond(request).await }
        };
        let server = Server::start(listener, guard, site, respond);
        server.map(Self).map_err(StartError::setup("S3 Vectors"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }

    pub(crate) async fn shutdown(self) {
        self.0.shutdown().await;
    }
}

struct Service {
    vectors: Vectors,
    quotas: Quotas,
    throttle: Throttle,
}

impl Service {
    async fn respond(&self, request: Request<Bytes>) -> Reply {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path();
        // If the body is not such JSON, winterbaume itself refuses it.
        if let Some(call) = VectorCall::read(path, &body) {
            if let Some(error) = call.validation_error() {
                return error;
            }
            let now = Instant::now();
            if self.throttle.is_on() && !self.quotas.take(&call.index, call.cost(), now) {
                return refusal(
                    StatusCode::TOO_MANY_REQUESTS,
                    "TooManyRequestsException",
                    &json!({"message": "Please reduce your request rate."}),
                );
            }
        }
        // winterbaume keeps its state by the region in the signature. Here, all regions share one
        // state.
        parts.headers.remove(AUTHORIZATION);
        let request = MockRequest {
            method: parts.method.to_string(),
            uri: parts.uri.to_string(),
            headers: parts.headers,
            body,
        };
        let mock = self.vectors.respond(parts.uri.path(), request).await;
        let mut response = Response::new(Full::new(mock.body));
        *response.status_mut() =
            StatusCode::from_u16(mock.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = mock.headers;
        response
    }
}

/// A call that names vectors, to which the limits apply.
struct VectorCall {
    /// The field that lists the vectors.
    field: &'static str,
    /// The most vectors that it may list.
    max: usize,
    keys: Vec<String>,
    index: String,
}

impl VectorCall {
    fn read(path: &str, body: &[u8]) -> Option<Self> {
        let (field, max) = match path {
            "/GetVectors" => ("keys", 100),
            "/DeleteVectors" => ("keys", 500),
            "/PutVectors" => ("vectors", 500),
            _ => return None,
        };
        let body: Value = serde_json::from_slice(body).ok()?;
        let text = |name| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let key = |entry: &Value| match field {
            "keys" => entry.as_str().map(str::to_owned),
            _ => entry.get("key").and_then(Value::as_str).map(str::to_owned),
        };
        let entries = body.get(field)?.as_array()?;
        Some(Self {
            field,
            max,
            keys: entries
                .iter()
                .map(|entry| key(entry).unwrap_or_default())
                .collect(),
            index: ["vectorBucketName", "indexName", "indexArn"]
                .map(text)
                .join("/"),
        })
    }

    fn cost(&self) -> Cost {
        match self.max {
            100 => Cost::Read,
            _ => Cost::Write(self.keys.len()),
        }
    }

    /// The error for a call if its list of keys or vectors, or one of its keys, is too short or too
    /// long.
    fn validation_error(&self) -> Option<Reply> {
        let mut errors = Vec::new();
        let mut check = |path: String, length: usize, max: usize| {
            if !(1..=max).contains(&length) {
                let constraint = format!("Member must have length between 1 and {max}, inclusive");
                let message = format!(
                    "Value with length {length} at '{path}' failed to satisfy constraint: {constraint}"
                );
                errors.push((path, message));
            }
        };
        check(format!("/{}", self.field), self.keys.len(), self.max);
        for (number, key) in self.keys.iter().enumerate() {
            let path = match self.field {
                "keys" => format!("/keys/{number}"),
                _ => format!("/vectors/{number}/key"),
            };
            check(path, key.chars().count(), MAX_KEY_CHARACTERS);
        }
        let messages: Vec<_> = errors.iter().map(|(_, message)| message.as_str()).collect();
        let text = match errors.len() {
            0 => return None,
            1 => format!("1 validation error detected. {}", messages.concat()),
            count => format!(
                "{count} validation errors detected. {}",
                messages.join("; ")
            ),
        };
        Some(invalid(&text, errors))
    }
}

/// A `ValidationException` in the service's words: each error has a path and a message.
fn invalid(text: &str, errors: Vec<(String, String)>) -> Reply {
    let fields = errors
        .into_iter()
        .map(|(path, message)| json!({"path": path, "message": message}));
    let body = json!({"message": text, "fieldList": fields.collect::<Vec<_>>()});
    refusal(StatusCode::BAD_REQUEST, "ValidationException", &body)
}

fn refusal(status: StatusCode, error: &'static str, body: &Value) -> Reply {
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-amzn-errortype", HeaderValue::from_static(error));
    response
}

#[cfg(test)]
mod tests;
