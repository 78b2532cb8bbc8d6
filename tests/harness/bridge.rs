//! A store in memory that speaks the store protocol (`docs/store-protocol.md`) and misbehaves on
//! request.

use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use shared::clock::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The store.
#[derive(Debug)]
pub struct Bridge {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Aborted when dropped.
    _serving: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    indexes: BTreeMap<String, BTreeSet<String>>,
    /// Objects that a delete keeps.
    kept: BTreeSet<String>,
    /// Objects that a delete removes in parts.
    in_parts: BTreeMap<String, Parts>,
    /// If set, calls wait for this before they are carried out.
    held: Option<watch::Receiver<()>>,
    /// The calls to throttle, each with its `Retry-After`.
    throttled: Vec<(String, String)>,
    /// The clock that a delete's `not_after` is compared with.
    clock: Clock,
    /// The token that every call must send.
    token: Option<String>,
    /// The response to every call, instead of the correct one.
    instead: Option<Instead>,
    calls: Vec<Call>,
}

/// What is sent instead of the correct response.
#[derive(Clone, Debug)]
pub enum Instead {
    /// This response. A delete is not carried out.
    Response(u16, &'static str, String),
    /// A redirect to this URL. A delete is not carried out.
    Redirect(u16, String),
    /// Nothing: the connection is closed before the request is carried out.
    Nothing,
    /// Nothing: the connection is closed once the request was carried out.
    NothingAfterwards,
    /// No response until the caller stops waiting.
    Silence,
}

/// What is left of an object that is removed in parts.
#[derive(Clone, Copy, Debug)]
enum Parts {
    Two,
    One,
}

/// Calls that wait. They go on when this is dropped.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "calls wait until it is dropped")] watch::Sender<()>);

/// A call that arrived.
#[derive(Clone, Debug)]
pub struct Call {
    /// The last part of its path.
    pub operation: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Value,
}

impl Bridge {
    /// Starts a store with these indexes, empty.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(indexes: &[&str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let indexes = indexes
            .iter()
            .map(|name| ((*name).to_owned(), BTreeSet::new()));
        let state = State {
            indexes: indexes.collect(),
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            _serving: serving,
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/bridge", self.address)
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().expect("not poisoned"))
    }

    /// Puts objects into an index.
    pub fn put(&self, index: &str, ids: &[String]) {
        self.state(|state| {
            let index = state.indexes.entry(index.to_owned()).or_default();
            index.extend(ids.iter().cloned());
        });
    }

    /// The objects in an index.
    pub fn left(&self, index: &str) -> BTreeSet<String> {
        self.state(|state| state.indexes[index].clone())
    }

    /// Makes deletes keep these objects from now on.
    pub fn keep(&self, ids: &[&str]) {
        self.state(|state| state.kept = ids.iter().map(|id| (*id).to_owned()).collect());
    }

    /// Makes deletes remove these objects in parts from now on. The first delete removes a part.
    /// The second removes the rest, but no read shows that yet.
    pub fn go_in_parts(&self, ids: &[&str]) {
        let parts = ids.iter().map(|id| ((*id).to_owned(), Parts::Two));
        self.state(|state| state.in_parts = parts.collect());
    }

    /// Makes calls wait from now on before they are carried out. Their caller may be gone by the
    /// time that they are carried out, as behind a gateway.
    pub fn hold(&self) -> Held {
        let (hold, held) = watch::channel(());
        self.state(|state| state.held = Some(held));
        Held(hold)
    }

    /// Throttles the next call of this operation, with this `Retry-After`.
    pub fn throttle_next(&self, operation: &str, retry_after: &str) {
        let throttled = (operation.to_owned(), retry_after.to_owned());
        self.state(|state| state.throttled.push(throttled));
    }

    /// Uses this clock from now on.
    pub fn go_by(&self, clock: Clock) {
        self.state(|state| state.clock = clock);
    }

    /// Requires this token of every call from now on.
    pub fn require_token(&self, token: &str) {
        self.state(|state| state.token = Some(token.to_owned()));
    }

    /// Responds in this way from now on. `None`: correctly.
    pub fn respond(&self, instead: Option<Instead>) {
        self.state(|state| state.instead = instead);
    }

    /// Returns the calls since this function was last called.
    pub fn calls(&self) -> Vec<Call> {
        self.state(|state| std::mem::take(&mut state.calls))
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let state = Arc::clone(&state);
        let respond = service_fn(move |request| respond(Arc::clone(&state), request));
        connections.spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), respond);
            let _ = connection.await; // its caller may hang up
        });
    }
}

async fn respond(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| "cut off")?.to_bytes();
    let operation = head.uri.path().rsplit('/').next().unwrap_or_default();
    let call = Call {
        operation: operation.to_owned(),
        headers: head.headers,
        body: serde_json::from_slice(&body).expect("JSON"),
    };
    let (instead, held, throttled) = {
        let mut state = state.lock().expect("not poisoned");
        state.calls.push(call.clone());
        let mut throttled = state.throttled.iter();
        let throttled = throttled.position(|(operation, _)| *operation == call.operation);
        let throttled = throttled.map(|at| state.throttled.remove(at));
        (state.instead.clone(), state.held.clone(), throttled)
    };
    let with_header = |status, name: &'static str, value: &str| {
        let mut response = response(status, "text/html", String::new());
        let value = value.parse().expect("a header");
        response.headers_mut().insert(name, value);
        Ok(response)
    };
    if let Some((_, retry_after)) = throttled {
        return with_header(429, "retry-after", &retry_after);
    }
    match &instead {
        Some(Instead::Response(status, kind, body)) => {
            return Ok(response(*status, kind, body.clone()));
        }
        Some(Instead::Redirect(status, to)) => return with_header(*status, "location", to),
        Some(Instead::Nothing) => return Err("no response"),
        Some(Instead::NothingAfterwards | Instead::Silence) | None => {}
    }
    // A separate task, which continues when the caller hangs up.
    let serve = tokio::spawn(async move {
        if let Some(mut held) = held {
            let _ = held.changed().await; // an error is the end of the hold
        }
        state.lock().expect("not poisoned").serve(&call)
    });
    let (status, kind, body) = serve.await.expect("a call that can be served");
    match instead {
        Some(Instead::Silence) => std::future::pending().await,
        Some(_) => Err("no response"),
        None => Ok(response(status, kind, body.to_string())),
    }
}

impl State {
    fn serve(&mut self, call: &Call) -> (u16, &'static str, Value) {
        if let Some(token) = &self.token {
            let given = call.headers.get("authorization");
            if given.is_none_or(|given| given != &format!("Bearer {token}")) {
                return (401, "application/problem+json", json!({}));
            }
        }
        let index = call.body["index"].as_str().expect("an index");
        let Some(objects) = self.indexes.get_mut(index) else {
            let problem =
                json!({"type": "https://example.com/index-missing", "title": "No such index"});
            return (404, "application/problem+json", problem);
        };
        let ids = call.body["ids"].as_array().expect("ids");
        let ids = ids.iter().map(|id| id.as_str().expect("a string"));
        let body = match call.operation.as_str() {
            "present" => {
                let refused = ids.clone().enumerate().filter(|(_, id)| id.len() > 512);
                let refused = refused
                    .map(|(position, _)| json!({"position": position, "detail": "ids have at most 512 bytes"}));
                let present: Vec<_> = ids.clone().map(|id| objects.contains(id)).collect();
                json!({"present": present, "refused": refused.collect::<Vec<_>>()})
            }
            "delete" => {
                let not_after = call.body["not_after"].as_str().expect("a time");
                let not_after: DateTime<Utc> = not_after.parse().expect("a time");
                if self.clock.now() > not_after {
                    return (503, "application/problem+json", json!({}));
                }
                let outcomes = ids.map(|id| {
                    if self.kept.contains(id) && objects.contains(id) {
                        return "kept";
                    }
                    match self.in_parts.remove(id) {
                        Some(Parts::Two) => {
                            self.in_parts.insert(id.to_owned(), Parts::One);
                            "more"
                        }
                        left => {
                            objects.remove(id);
                            left.map_or("gone", |_| "unconfirmed")
                        }
                    }
                });
                json!({"outcomes": outcomes.collect::<Vec<_>>()})
            }
            other => panic!("the protocol has no {other}"),
        };
        (200, "application/json", body)
    }
}

fn response(status: u16, content_type: &str, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder()
        .status(status)
        .header("content-type", content_type);
    response.body(Full::from(body)).expect("a response")
}
