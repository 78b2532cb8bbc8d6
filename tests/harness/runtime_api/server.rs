//! A Lambda Runtime API on loopback for one function ("Using the Lambda runtime API", AWS Lambda
//! Developer Guide).
//!
//! It passes invocations to the function, one at a time, and receives the responses.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use shared::clock::Clock;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

/// The result of an invocation: the function's response, or the error that it reports.
type Outcome = Result<Value, Value>;

/// The server.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    address: SocketAddr,
    invocations: mpsc::UnboundedSender<Invocation>,
    number: u64,
    state: Arc<State>,
    /// Aborted when dropped.
    _serving: JoinSet<()>,
}

/// An event for the function.
#[derive(Debug)]
struct Invocation {
    id: String,
    deadline_ms: i64,
    event: String,
    outcome: oneshot::Sender<Outcome>,
}

#[derive(Debug)]
struct State {
    function: String,
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    /// The invocation that the function is processing.
    at_work: Mutex<Option<(String, oneshot::Sender<Outcome>)>>,
    complaints: Mutex<Vec<String>>,
    /// Notified each time that the function asks for an event.
    asked: Notify,
}

impl RuntimeApi {
    /// Starts a server for the function of this name.
    pub(super) async fn start(function: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (invocations, waiting) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            function: function.to_owned(),
            waiting: waiting.into(),
            at_work: Mutex::default(),
            complaints: Mutex::default(),
            asked: Notify::new(),
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&state)));
        Self {
            address,
            invocations,
            number: 0,
            state,
            _serving: serving,
        }
    }

    /// The address that it listens on.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes an event to the function, which has `time` to process it, and waits for the result.
    pub(super) fn invoke(
        &mut self,
        event: &Value,
        time: Duration,
    ) -> impl Future<Output = Outcome> + use<> {
        self.number += 1;
        let (outcome, answered) = oneshot::channel();
        let invocation = Invocation {
            id: format!("8476a536-e9f4-11e8-9739-{:012}", self.number),
            deadline_ms: (Clock::System.now() + time).timestamp_millis(),
            event: event.to_string(),
            outcome,
        };
        let sent = self.invocations.send(invocation);
        async move {
            sent.expect("the server runs");
            answered.await.expect("the server runs")
        }
    }

    /// Waits until the function asks for an event. Returns at once if it has asked since the last
    /// call.
    pub(super) async fn asked(&self) {
        self.state.asked.notified().await;
    }

    /// Calls of the function that the Runtime API does not allow, and start errors that it
    /// reported.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.state.complaints.lock().expect("not poisoned").clone()
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    // Aborted when dropped: no connection outlives the server.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(state.answer(request).await) }
            });
            // The connection ends when the function's process does.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let what = format!("{} {}", parts.method, parts.uri.path());
        let path = parts.uri.path().strip_prefix("/2018-06-01/runtime/");
        let steps: Vec<_> = path.unwrap_or_default().split('/').collect();
        if let (&Method::GET, ["invocation", "next"]) = (&parts.method, &*steps) {
            return self.next().await;
        }
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        let json = body
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok());
        match (&parts.method, &*steps, json) {
            (&Method::POST, ["invocation", id, "response"], Some(json)) => {
                self.settle(id, Ok(json))
            }
            (&Method::POST, ["invocation", id, "error"], Some(json)) => self.settle(id, Err(json)),
            (_, _, json) => self.complain(format!("{what} {json:?}")),
        }
    }

    /// Returns the next event as soon as there is one.
    async fn next(&self) -> Response<Full<Bytes>> {
        self.asked.notify_one();
        let Some(invocation) = self.waiting.lock().await.recv().await else {
            return self.complain("GET next of a server that has ended".to_owned());
        };
        let arn = format!(
            "arn:aws:lambda:us-east-1:123456789012:function:{}",
            self.function
        );
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", &invocation.id)
            .header("lambda-runtime-deadline-ms", invocation.deadline_ms)
            .header("lambda-runtime-invoked-function-arn", arn)
            .header(
                "lambda-runtime-trace-id",
                "Root=1-664c8cc0-5e1b41511a2b3c4d5e6f7081;Sampled=0",
            )
            .body(Full::new(invocation.event.into()))
            .expect("a well-formed response");
        let mut at_work = self.at_work.lock().expect("not poisoned");
        if at_work
            .replace((invocation.id, invocation.outcome))
            .is_some()
        {
            drop(at_work);
            return self.complain("GET next before an answer to the last".to_owned());
        }
        response
    }

    fn settle(&self, id: &str, outcome: Outcome) -> Response<Full<Bytes>> {
        let at_work = self.at_work.lock().expect("not poisoned").take();
        match at_work {
            Some((expected, answered)) if expected == id => {
                // The receiver may have given up.
                let _ = answered.send(outcome);
                status(StatusCode::ACCEPTED)
            }
            _ => self.complain(format!(
                "an answer to {id}, which is not at work: {outcome:?}"
            )),
        }
    }

    fn complain(&self, what: String) -> Response<Full<Bytes>> {
        self.complaints.lock().expect("not poisoned").push(what);
        status(StatusCode::BAD_REQUEST)
    }
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(r#"{"status":""}"#));
    *response.status_mut() = status;
    response
}
