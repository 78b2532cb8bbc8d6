//! The OpenAPI document, as it is and as a page to read. Of the one-machine runner only; nothing of it is deployed.
//!
//! `document.rs` reads the document; `page.rs` writes the page, with `call.rs` for a call, `schema.rs` for a shape, `json.rs` for an example
//! and `text.rs` for prose. The page is whole in itself: it loads nothing from anywhere.

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
const DOCUMENT: &str = include_str!("../../../docs/openapi.yaml");

/// Where the page is.
pub(crate) const PAGE: &str = "/docs";
/// Where the document is.
const RAW: &str = "/docs/openapi.yaml";
/// What a person may open from anywhere.
pub(crate) const PAGES: &[&str] = &[PAGE, RAW];

/// Nothing is loaded; style and script stand in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What there is to read. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Docs {
    page: Bytes,
}

impl Docs {
    /// The page of an API at `origin`, which its `curl` lines call.
    pub(crate) fn new(origin: &str) -> Self {
        let page = page::write(&Document::parse(DOCUMENT), origin);
        Self { page: page.into() }
    }

    /// Answers a request that is for something to read, and no other.
    pub(crate) fn answer(&self, request: &Request) -> Option<Response<Body>> {
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
