//! The console: a page that shows the tasks, restarts and cancels them. It needs only the API under
//! its own origin.
//!
//! Its files are in `web/console/`. They are served unchanged: there is no build step, and nothing
//! comes from another host.

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response};

/// The path of the page. A person may open it by following a link from anywhere, since the page
/// with the link sees nothing of it.
pub const PAGE: &str = "/";

/// Allows only the page's own files and calls to its own origin. No text becomes HTML or a script,
/// even if the page's scripts have a mistake.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

macro_rules! files {
    ($($path:literal $kind:ident $name:literal,)+) => {
        &[$(($path, $kind, include_bytes!(concat!("../console/", $name)))),+]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Each file: its path, its content type and its content.
const FILES: &[(&str, &str, &[u8])] = files![
    "/" HTML "index.html",
    "/console/style.css" CSS "style.css",
    "/console/icon.svg" SVG "icon.svg",
    "/console/address.js" SCRIPT "address.js",
    "/console/api.js" SCRIPT "api.js",
    "/console/dialog.js" SCRIPT "dialog.js",
    "/console/format.js" SCRIPT "format.js",
    "/console/list.js" SCRIPT "list.js",
    "/console/loop.js" SCRIPT "loop.js",
    "/console/main.js" SCRIPT "main.js",
    "/console/objects.js" SCRIPT "objects.js",
    "/console/state.js" SCRIPT "state.js",
    "/console/task.js" SCRIPT "task.js",
];

/// Responds to a GET or HEAD of one of the console's files. `None` for any other request.
pub fn respond<B>(request: &Request<B>) -> Option<Response<&'static [u8]>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return None;
    }
    let path = request.uri().path();
    let (_, kind, content) = FILES.iter().find(|(known, ..)| *known == path)?;
    let mut response = Response::new(*content);
    for (name, value) in [
        (CONTENT_TYPE, *kind),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn get(method: Method, uri: &str) -> Option<Response<&'static [u8]>> {
        let request = Request::builder().method(method).uri(uri);
        respond(&request.body(()).unwrap())
    }

    #[test]
    fn every_file_of_the_folder_is_served_with_its_type_and_the_policy() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        let mut served = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let (path, kind) = match name.rsplit_once('.').unwrap().1 {
                "html" => (PAGE.to_owned(), "text/html; charset=utf-8"),
                "css" => (format!("/console/{name}"), "text/css; charset=utf-8"),
                "js" => (format!("/console/{name}"), "text/javascript; charset=utf-8"),
                "svg" => (format!("/console/{name}"), "image/svg+xml"),
                other => panic!("a file that ends with .{other}"),
            };
            for method in [Method::GET, Method::HEAD] {
                let response = get(method, &path).unwrap_or_else(|| panic!("{path} is not served"));
                assert_eq!(response.status(), 200);
                assert_eq!(*response.body(), std::fs::read(folder.join(&name)).unwrap());
                let header = |name: &str| response.headers()[name].to_str().unwrap();
                assert_eq!(header("content-type"), kind, "{path}");
                assert_eq!(header("cache-control"), "no-cache");
                assert_eq!(header("x-content-type-options"), "nosniff");
                assert_eq!(header("referrer-policy"), "no-referrer");
                let policy = header("content-security-policy");
                assert!(policy.starts_with("default-src 'none'; "), "{policy}");
                assert!(!policy.contains("unsafe"), "{policy}");
            }
            served += 1;
        }
        assert_eq!(served, FILES.len());
    }

    #[test]
    fn a_query_leads_to_the_page_and_another_path_or_method_nowhere() {
        assert!(get(Method::GET, "/?status=failed&task=a%2Fb").is_some());
        assert!(get(Method::POST, "/").is_none());
        assert!(get(Method::OPTIONS, "/console/main.js").is_none());
        for path in [
            "/console",
            "/console/",
            "/index.html",
            "/console/../main.js",
            "//",
        ] {
            assert!(get(Method::GET, path).is_none(), "{path}");
        }
    }
}
