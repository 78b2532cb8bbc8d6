//! The API over HTTP, instead of API Gateway and Lambda.
//!
//! It turns each request into the one that a function sees, and runs the handler in its own task.
//! As in Lambda, a caller that hangs up does not stop the handler.

use crate::docs;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use lambda_http::Body;
use shared::api::{MAX_BODY_BYTES, body_too_large};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use web::stop::{self, Stop, Stopper};
use web::{GRACE, Guard, Reply, Server, Site, console, problem};

const SITE: Site = Site {
    max_body: MAX_BODY_BYTES,
    too_large: || to_hyper(body_too_large()),
    is_page: |path| path == console::PAGE || docs::PAGES.contains(&path),
};

/// The API's server.
#[derive(Debug)]
pub(crate) struct ApiServer {
    server: Server,
    /// Stops the handlers that still run.
    kill: Stopper,
    /// Closed when no handler runs.
    at_work: mpsc::Receiver<Infallible>,
}

/// Held by each handler's task.
#[derive(Clone)]
struct Work {
    kill: Stop,
    _at_work: mpsc::Sender<Infallible>,
}

impl ApiServer {
    /// Starts to serve. Requests that the guard accepts go to `handler`.
    pub(crate) fn start<H, F>(listener: TcpListener, guard: Guard, handler: H) -> io::Result<Self>
    where
        H: Fn(lambda_http::Request) -> F + Send + Sync + 'static,
        F: Future<Output = lambda_http::Response<Body>> + Send + 'static,
    {
        let (kill, killed) = stop::signal();
        let (sender, at_work) = mpsc::channel(1);
        let work = Work {
            kill: killed,
            _at_work: sender,
        };
        let handler = Arc::new(handler);
        let respond = move |request| respond(Arc::clone(&handler), work.clone(), request);
        Ok(Self {
            server: Server::start(listener, guard, SITE, respond)?,
            kill,
            at_work,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Stops accepting requests and waits for the running ones, at most for [`GRACE`], even if
    /// their callers are gone.
    pub(crate) async fn shutdown(mut self) {
        let finished = async {
            self.server.shutdown().await;
            let _ = self.at_work.recv().await;
        };
        let _ = tokio::time::timeout(GRACE, finished).await;
        self.kill.stop();
    }
}

async fn respond<H, F>(handler: Arc<H>, work: Work, request: Request<Bytes>) -> Reply
where
    H: Fn(lambda_http::Request) -> F,
    F: Future<Output = lambda_http::Response<Body>> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let body = if body.is_empty() {
        Body::Empty
    } else {
        Body::Binary(body.into())
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
        // The handler panicked.
        Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong on our side",
        ),
    }
}

fn to_hyper(response: lambda_http::Response<Body>) -> Reply {
    response.map(|body| match body {
        Body::Text(text) => Full::new(text.into()),
        Body::Binary(bytes) => Full::new(bytes.into()),
        _ => Full::default(),
    })
}

#[cfg(test)]
mod tests;
