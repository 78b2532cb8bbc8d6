//! S3 Vectors: winterbaume, in memory, behind HTTP.
//!
//! It takes any number of keys a call, and any number of calls. The real service does not, so this refuses what that would
//! refuse: a client that forgets the limits fails here first. The rates of the real service it keeps where that is asked for.

use super::quota::{Cost, Quotas};
use super::vectors::Vectors;
use crate::error::StartError;
use crate::options::Throttle;
use crate::server::{Guard, Reply, Server, Site};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::time::Instant;
use winterbaume_core::MockRequest;

/// "Request payload size" under "S3 Vectors limitations and restrictions".
const MAX_REQUEST_BYTES: usize = 20 * 1024 * 1024;
/// The most characters of a vector's key.
const MAX_KEY_CHARACTERS: usize = 1024;

/// S3 Vectors that runs.
#[derive(Debug)]
pub(crate) struct S3Vectors(Server);

impl S3Vectors {
    /// Starts it, without buckets.
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
            pages: &[],
        };
        let answer = move |request| {
            let service = Arc::clone(&service);
            async move { service.answer(request).await }
        };
        let server = Server::start(listener, guard, site, answer);
        server.map(Self).map_err(StartError::setup("S3 Vectors"))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Ends it.
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
    async fn answer(&self, request: Request<Bytes>) -> Reply {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path();
        // What is no such JSON at all winterbaume refuses itself.
        if let Some(asked) = Asked::read(path, &body) {
            if let Some(broken) = asked.broken_limits() {
                return broken;
            }
            let now = Instant::now();
            if self.throttle.is_on() && !self.quotas.take(&asked.index, asked.cost(), now) {
                return refusal(
                    StatusCode::TOO_MANY_REQUESTS,
                    "TooManyRequestsException",
                    &json!({"message": "Please reduce your request rate."}),
                );
            }
        }
        // The state is kept by the region in the signature. Here there is one region, whatever the caller's shell says.
        parts.headers.remove(AUTHORIZATION);
        let request = MockRequest {
            method: parts.method.to_string(),
            uri: parts.uri.to_string(),
            headers: parts.headers,
            body,
        };
        let answer = self.vectors.answer(parts.uri.path(), request).await;
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = answer.headers;
        response
    }
}

/// A call that names vectors: what the limits are about.
struct Asked {
    /// The field that lists them.
    field: &'static str,
    /// The most that it may list.
    most: usize,
    keys: Vec<String>,
    index: String,
}

impl Asked {
    fn read(path: &str, body: &[u8]) -> Option<Self> {
        let (field, most) = match path {
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
            most,
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
        match self.most {
            100 => Cost::Read,
            _ => Cost::Write(self.keys.len()),
        }
    }

    /// The refusal of a call whose list of keys or vectors, or a key in it, is too short or too long.
    fn broken_limits(&self) -> Option<Reply> {
        let mut faults = Vec::new();
        let mut check = |path: String, length: usize, most: usize| {
            if !(1..=most).contains(&length) {
                let constraint = format!("Member must have length between 1 and {most}, inclusive");
                let message = format!(
                    "Value with length {length} at '{path}' failed to satisfy constraint: {constraint}"
                );
                faults.push((path, message));
            }
        };
        check(format!("/{}", self.field), self.keys.len(), self.most);
        for (number, key) in self.keys.iter().enumerate() {
            let path = match self.field {
                "keys" => format!("/keys/{number}"),
                _ => format!("/vectors/{number}/key"),
            };
            check(path, key.chars().count(), MAX_KEY_CHARACTERS);
        }
        let messages: Vec<_> = faults.iter().map(|(_, message)| message.as_str()).collect();
        let text = match faults.len() {
            0 => return None,
            1 => format!("1 validation error detected. {}", messages.concat()),
            count => format!(
                "{count} validation errors detected. {}",
                messages.join("; ")
            ),
        };
        Some(invalid(&text, faults))
    }
}

/// A `ValidationException` as the service words it: each fault has a path and a message.
fn invalid(text: &str, faults: Vec<(String, String)>) -> Reply {
    let fields = faults
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
