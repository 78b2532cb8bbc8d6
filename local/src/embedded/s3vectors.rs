//! S3 Vectors: winterbaume, in memory, behind HTTP.
//!
//! It takes any number of keys a call. The real service does not, so this refuses what that would refuse: a client that
//! forgets the limits fails here first.

use super::serve::Server;
use super::vectors::Vectors;
use crate::error::StartError;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
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
    pub(crate) fn start(listener: TcpListener) -> Result<Self, StartError> {
        let vectors = Arc::new(Vectors::new());
        let service = service_fn(move |request| {
            let vectors = Arc::clone(&vectors);
            async move { Ok::<_, Infallible>(answer(&vectors, request).await) }
        });
        let server = Server::of(listener, service);
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

async fn answer(vectors: &Vectors, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_REQUEST_BYTES).collect().await else {
        return refusal("The request is too large", Vec::new());
    };
    let body = body.to_bytes();
    if let Some(broken) = broken_limits(parts.uri.path(), &body) {
        return broken;
    }
    // The state is kept by the region in the signature. Here there is one region, whatever the caller's shell says.
    parts.headers.remove(AUTHORIZATION);
    let request = MockRequest {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        headers: parts.headers,
        body,
    };
    let answer = vectors.answer(parts.uri.path(), request).await;
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = answer.headers;
    response
}

/// The refusal of a call whose list of keys or vectors, or a key in it, is too short or too long.
fn broken_limits(path: &str, body: &[u8]) -> Option<Response<Full<Bytes>>> {
    let (field, most) = match path {
        "/GetVectors" => ("keys", 100),
        "/DeleteVectors" => ("keys", 500),
        "/PutVectors" => ("vectors", 500),
        _ => return None,
    };
    // What is no such JSON at all the service refuses itself.
    let body: Value = serde_json::from_slice(body).ok()?;
    let entries = body.get(field)?.as_array()?;
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
    check(format!("/{field}"), entries.len(), most);
    for (number, entry) in entries.iter().enumerate() {
        let (path, key) = match field {
            "keys" => (format!("/keys/{number}"), entry.as_str()),
            _ => (
                format!("/vectors/{number}/key"),
                entry.get("key").and_then(Value::as_str),
            ),
        };
        check(
            path,
            key.map_or(0, |key| key.chars().count()),
            MAX_KEY_CHARACTERS,
        );
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
    Some(refusal(&text, faults))
}

/// A `ValidationException` as the service words it: each fault has a path and a message.
fn refusal(text: &str, faults: Vec<(String, String)>) -> Response<Full<Bytes>> {
    let fields = faults
        .into_iter()
        .map(|(path, message)| json!({"path": path, "message": message}));
    let body = json!({"message": text, "fieldList": fields.collect::<Vec<_>>()});
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        "x-amzn-errortype",
        HeaderValue::from_static("ValidationException"),
    );
    response
}

#[cfg(test)]
#[path = "s3vectors_tests.rs"]
mod tests;
