//! Serves the OpenAPI document, as YAML and as a page. Only the one-machine runner has it; it is not deployed.
//!
//! `document.rs` parses the document; `page.rs` writes the page, with `call.rs` for a call, `schema.rs` for a schema,
//! `json.rs` for an example and `text.rs` for prose. The page is self-contained: it loads nothing.

mod call;
mod document;
mod json;
mod page;
mod schema;
mod text;

use bytes::Bytes;
use document::Document;
use lambda_http::http::{HeaderValue, Method, StatusCode, header};
use lambda_http::{Body, Request, Response};

/// The document, as it stands in the repository.
const DOCUMENT: &str = include_str!("../../docs/openapi.yaml");

/// Where the page is.
pub(crate) const PAGE: &str = "/docs";
/// Where the document is.
const RAW: &str = "/docs/openapi.yaml";
/// The paths that a person may open by following a link from anywhere.
pub(crate) const PAGES: &[&str] = &[PAGE, RAW];

/// Allows only the style and the script that stand in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Docs {
    page: Bytes,
}

impl Docs {
    /// The page for an API at `origin`, which its `curl` commands call.
    pub(crate) fn new(origin: &str) -> Self {
        let page = page::write(&Document::parse(DOCUMENT), origin);
        Self { page: page.into() }
    }

    /// Responds to a request for the page or the document; `None` for any other.
    pub(crate) fn respond(&self, request: &Request) -> Option<Response<Body>> {
        let (kind, content) = match request.uri().path() {
            PAGE => ("text/html; charset=utf-8", self.page.to_vec()),
            RAW => ("application/yaml", DOCUMENT.into()),
            _ => return None,
        };
        let mut response = Response::new(Body::Binary(content));
        let headers = response.headers_mut();
        if request.method() != Method::GET && request.method() != Method::HEAD {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            *response.body_mut() = Body::Empty;
            return Some(response);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let policy = HeaderValue::from_static(POLICY);
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        Some(response)
    }
}

#[cfg(test)]
mod tests;
