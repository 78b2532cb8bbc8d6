//! HTTP responses.

use super::problem::Problem;
use lambda_http::http::{HeaderValue, StatusCode, header};
use lambda_http::{Body, Response};
use serde::Serialize;

/// Creates a success: 200 with this body.
pub(super) fn success(body: &impl Serialize) -> Result<Response<Body>, Problem> {
    let mut json = Vec::with_capacity(1024); // most bodies are shorter
    serde_json::to_writer(&mut json, body).map_err(Problem::internal)?;
    Ok(response(StatusCode::OK, "application/json", json))
}

/// Creates the response for an error.
pub(super) fn error(problem: &Problem) -> Response<Body> {
    let json = serde_json::to_vec(&problem.body()).unwrap_or_default();
    let mut response = response(problem.kind.status(), "application/problem+json", json);
    if let Some((name, value)) = &problem.header
        && let Ok(value) = HeaderValue::from_str(value)
    {
        response.headers_mut().insert(*name, value);
    }
    response
}

/// Creates the response to a body of more than [`super::MAX_BODY_BYTES`], for a server that does
/// not read it to its end.
pub fn body_too_large() -> Response<Body> {
    error(&Problem::body_too_large())
}

fn response(status: StatusCode, content_type: &'static str, mut json: Vec<u8>) -> Response<Body> {
    json.push(b'\n'); // so that in a terminal the next prompt begins on a line of its own
    // serde_json writes UTF-8 only.
    let mut response = Response::new(Body::Text(String::from_utf8(json).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
