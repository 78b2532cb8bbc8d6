//! `dtask console`: the console on loopback. Its calls are signed and forwarded to the service.

use crate::api::{Api, Response};
use crate::error::Error;
use crate::session::Session;
use crate::show;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use std::sync::Arc;
use url::form_urlencoded;
use web::{Guard, Reply, Server, Site, Token, console, listen, problem};

/// The calls that the console makes.
const CALLS: [(&str, Method); 4] = [
    ("list", Method::GET),
    ("info", Method::GET),
    ("restart", Method::PUT),
    ("cancel", Method::PUT),
];

const SITE: Site = Site {
    max_body: 0,
    too_large: || {
        problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "A call of the console has no body",
        )
    },
    is_page: |path| path == console::PAGE,
};

/// Serves the console until the command is interrupted.
///
/// # Errors
/// If it cannot listen on the port.
pub(crate) async fn serve(session: &Session, port: u16) -> Result<(), Error> {
    let listener = listen(port, "--port").await;
    let listener = listener.map_err(|error| Error::Usage(error.to_string()))?;
    let token = Arc::new(Token::random());
    let api = session.api.clone();
    let respond = {
        let token = Arc::clone(&token);
        move |request: Request<Bytes>| {
            let (api, token) = (api.clone(), Arc::clone(&token));
            async move { respond(&api, &token, &request).await }
        }
    };
    let server = Server::start(listener, Guard::default(), SITE, respond)?;
    let address = token.console(server.address());
    if session.json {
        show::print(&serde_json::json!({ "console": address }).to_string())?;
    } else {
        show::print(&format!("Console {address}"))?;
        session.screen.note("Ctrl-C ends it.");
    }
    session.ends_when_interrupted();
    std::future::pending().await
}

async fn respond(api: &Api, token: &Token, request: &Request<Bytes>) -> Reply {
    if let Some(file) = console::respond(request) {
        return file.map(Full::from);
    }
    let path = request.uri().path();
    let endpoint = path
        .strip_prefix("/internal/deletion-tasks/")
        .unwrap_or_default();
    let Some((endpoint, method)) = CALLS.iter().find(|(name, _)| *name == endpoint) else {
        return problem(StatusCode::NOT_FOUND, "The console does not make this call");
    };
    if let Some(refusal) = token.refusal(request.headers()) {
        return refusal;
    }
    if request.method() != method {
        let mut refusal = problem(
            StatusCode::METHOD_NOT_ALLOWED,
            &format!("Use {method} here"),
        );
        if let Ok(method) = HeaderValue::from_str(method.as_str()) {
            refusal.headers_mut().insert(ALLOW, method);
        }
        return refusal;
    }
    let query = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    let query: Vec<_> = query.collect();
    let query: Vec<_> = query
        .iter()
        .map(|(name, value)| (name.as_ref(), value.as_ref()))
        .collect();
    match api.pass_on(method.clone(), endpoint, &query).await {
        Ok(response) => passed_on(response),
        Err(error) => problem(StatusCode::BAD_GATEWAY, &error.to_string()),
    }
}

/// The parts of the service's response that the console reads.
fn passed_on(response: Response) -> Reply {
    let mut reply = Reply::new(Full::from(response.body));
    *reply.status_mut() = response.status;
    for name in [CONTENT_TYPE, RETRY_AFTER] {
        if let Some(value) = response.headers.get(&name) {
            reply.headers_mut().insert(name, value.clone());
        }
    }
    reply
}
