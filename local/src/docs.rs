//! Serves the OpenAPI document as YAML, and in Swagger UI, a page to try the API. Swagger UI's
//! files are part of the program. Only the local runner serves this; it is not deployed.

use lambda_http::http::{HeaderValue, Method, StatusCode, header};
use lambda_http::{Body, Request, Response};
use std::sync::Arc;
use utoipa_swagger_ui::Config;

/// The document, as in the repository.
const DOCUMENT: &str = include_str!("../../docs/openapi.yaml");

/// The path of the page. Its files are below it.
pub(crate) const PAGE: &str = "/docs";
/// The path of the document.
const RAW: &str = "/docs/openapi.yaml";
/// The paths that a person may open by following a link from anywhere.
pub(crate) const PAGES: &[&str] = &[PAGE, RAW];

/// Allows scripts, styles and calls only from and to this server. Swagger UI's style sheet contains
/// images as `data:` URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Responds to a request for the page, its files or the document. `None` for any other request.
pub(crate) fn respond(request: &Request) -> Option<Response<Body>> {
    let path = request.uri().path();
    let (kind, content) = match path {
        PAGE => (
            "text/html; charset=utf-8",
            include_str!("docs/page.html").into(),
        ),
        RAW => ("application/yaml", document().into()),
        "/docs/page.js" => ("text/javascript", include_str!("docs/page.js").into()),
        "/docs/swagger-ui.css" => ("text/css", vendored(path)?),
        "/docs/swagger-ui-bundle.js" => ("text/javascript", vendored(path)?),
        "/docs/favicon-32x32.png" => ("image/png", vendored(path)?),
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
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// A file of Swagger UI.
fn vendored(path: &str) -> Option<Vec<u8>> {
    let name = path.rsplit('/').next()?;
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default())).ok()??;
    Some(file.bytes.into_owned())
}

/// The document for callers of this server, without two parts. Without `servers`, calls go to the
/// host and port from which the document was loaded. Without `securitySchemes`, no page asks for a
/// signature, which this server does not check.
fn document() -> String {
    let here = without(DOCUMENT, "\nservers:", "\npaths:");
    without(&here, "\n  securitySchemes:", "\n  headers:")
}

/// A text without the part from `start` up to `end`.
fn without(text: &str, start: &str, end: &str) -> String {
    match (text.find(start), text.find(end)) {
        (Some(from), Some(to)) => [text.get(..from), text.get(to..)]
            .into_iter()
            .flatten()
            .collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respond(method: &str, path: &str) -> Option<Response<Body>> {
        let request = lambda_http::http::Request::builder()
            .method(method)
            .uri(path);
        super::respond(&request.body(Body::Empty).unwrap())
    }

    #[test]
    fn the_page_and_all_that_it_loads_are_served_and_other_paths_are_left_to_the_api() {
        let page = respond("GET", PAGE).unwrap();
        let html = String::from_utf8(page.body().to_vec()).unwrap();
        let loaded = [" href=\"", " src=\""].map(|attribute| html.split(attribute).skip(1));
        let loaded: Vec<_> = loaded
            .into_iter()
            .flatten()
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(loaded.len(), 4, "{loaded:?}");
        for path in loaded.into_iter().chain([PAGE, RAW]) {
            let served = respond("GET", path).unwrap_or_else(|| panic!("{path} is not served"));
            assert!(!served.body().is_empty(), "{path}");
            let header = |name: &str| served.headers()[name].to_str().unwrap();
            assert!(
                header("content-security-policy")
                    .starts_with("default-src 'none'; script-src 'self';")
            );
            assert_eq!(header("cache-control"), "no-cache");
            assert_eq!(header("x-content-type-options"), "nosniff");
            let refused = respond("POST", path).unwrap();
            assert_eq!(refused.status(), 405);
            assert_eq!(refused.headers()["allow"], "GET, HEAD");
        }
        for path in [
            "/",
            "/docs/",
            "/docs/index.html",
            "/docs/swagger-initializer.js",
            "/internal/deletion-tasks/run",
        ] {
            assert!(respond("GET", path).is_none(), "{path}");
        }
    }

    #[test]
    fn the_document_is_served_for_unsigned_calls_to_this_server() {
        let served = document();
        for gone in [
            "servers:",
            "security:",
            "securitySchemes:",
            "sigv4",
            "amazonaws.com",
        ] {
            assert!(DOCUMENT.contains(gone) && !served.contains(gone), "{gone}");
        }
        let (before, after) = (DOCUMENT.lines().count(), served.lines().count());
        assert!(
            (10..40).contains(&(before - after)),
            "{before} to {after} lines"
        );
        for kept in [
            "\npaths:\n",
            "\ncomponents:\n  headers:\n",
            "\n  schemas:\n",
        ] {
            assert!(served.contains(kept), "{kept}");
        }
    }
}
