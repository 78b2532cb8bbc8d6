//! The API over HTTP, in the place of API Gateway and Lambda.
//!
//! A request is read whole, made into the request that a function sees, and given to the handler in a task of its own: a
//! caller that hangs up does not stop what has begun, as with Lambda.

use crate::embedded::serve::{GRACE, Server};
use crate::stop::{self, Stop, Stopper};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use lambda_http::Body;
use shared::api::{MAX_BODY_BYTES, too_large};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// How much of a body that is too large is read, so that its sender gets to read the answer.
const MAX_DRAINED_BYTES: usize = 256 * 1024 * 1024;
/// How long that may take.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(30);

/// The API's server.
#[derive(Debug)]
pub(crate) struct ApiServer {
    server: Server,
    /// Ends the handlers that are still at work.
    kill: Stopper,
    /// Closed when no handler is at work.
    at_work: mpsc::Receiver<Infallible>,
}

/// What a handler's task holds.
#[derive(Clone)]
struct Work {
    kill: Stop,
    _at_work: mpsc::Sender<Infallible>,
}

impl ApiServer {
    /// Answers every request with `handler`.
    pub(crate) fn start<H, F>(listener: TcpListener, handler: H) -> io::Result<Self>
    where
        H: Fn(lambda_http::Request) -> F + Clone + Send + 'static,
        F: Future<Output = lambda_http::Response<Body>> + Send + 'static,
    {
        let (kill, killed) = stop::signal();
        let (sender, at_work) = mpsc::channel(1);
        let work = Work {
            kill: killed,
            _at_work: sender,
        };
        let service = service_fn(move |request| {
            let (handler, work) = (handler.clone(), work.clone());
            async move { Ok::<_, Infallible>(answer(handler, work, request).await) }
        });
        Ok(Self {
            server: Server::of(listener, service)?,
            kill,
            at_work,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Takes no more requests, lets those at work finish within [`GRACE`], their callers gone or not, and ends.
    pub(crate) async fn shutdown(mut self) {
        let finished = async {
            self.server.shutdown().await;
            let _ = self.at_work.recv().await;
        };
        let _ = tokio::time::timeout(GRACE, finished).await;
        self.kill.stop();
    }
}

async fn answer<H, F>(handler: H, work: Work, request: Request<Incoming>) -> Response<Full<Bytes>>
where
    H: Fn(lambda_http::Request) -> F,
    F: Future<Output = lambda_http::Response<Body>> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let body = match read(&parts.headers, body).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => {
            let mut response = to_hyper(too_large());
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        Err(Unread::Lost) => {
            return problem(StatusCode::BAD_REQUEST, "The body did not arrive whole");
        }
    };
    let body = match body.is_empty() {
        true => Body::Empty,
        false => Body::Binary(body.into()),
    };
    let response = handler(lambda_http::Request::from_parts(parts, body));
    let handled = tokio::spawn(async move {
        tokio::select! {
            () = work.kill.requested() => None,
            response = response => Some(response),
        }
    });
    match handled.await {
        Ok(Some(response)) => to_hyper(response),
        Ok(None) => problem(StatusCode::SERVICE_UNAVAILABLE, "The service is stopping"),
        // It panicked.
        Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong on our side",
        ),
    }
}

/// Why there is no body.
enum Unread {
    /// It is larger than a function would ever be given.
    TooLarge,
    /// The caller went away.
    Lost,
}

async fn read(headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, Unread> {
    let declared = body.size_hint().lower();
    if declared > MAX_BODY_BYTES as u64 {
        // A caller that asked before sending is told now; another one sends first and reads the answer after that.
        if !headers.contains_key(EXPECT) {
            drain(&mut body, 0).await;
        }
        return Err(Unread::TooLarge);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Lost)?.into_data() else {
            continue;
        };
        if whole.len() + data.len() > MAX_BODY_BYTES {
            drain(&mut body, whole.len() + data.len()).await;
            return Err(Unread::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Reads on and forgets it. Closing a connection with unread data resets it, and the caller might never see the answer.
async fn drain(body: &mut Incoming, mut read: usize) {
    let drained = async {
        while read <= MAX_DRAINED_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _ = tokio::time::timeout(MAX_DRAIN_TIME, drained).await;
}

fn to_hyper(response: lambda_http::Response<Body>) -> Response<Full<Bytes>> {
    response.map(|body| match body {
        Body::Text(text) => Full::new(text.into()),
        Body::Binary(bytes) => Full::new(bytes.into()),
        _ => Full::default(),
    })
}

/// What API Gateway would answer by itself.
fn problem(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    let title = status.canonical_reason();
    let body = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail
    });
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
