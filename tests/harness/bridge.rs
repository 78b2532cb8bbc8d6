//! A store in memory that speaks the store protocol (`docs/store-protocol.md`), and misbehaves where it is told to.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
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
    /// Objects that do not go.
    kept: BTreeSet<String>,
    /// What every call must bring.
    token: Option<String>,
    /// The response to every call, instead of the right one.
    instead: Option<Instead>,
    calls: Vec<Call>,
}

/// What is sent instead of the right response.
#[derive(Clone, Debug)]
pub enum Instead {
    /// This response. A delete is not carried out.
    Response(u16, &'static str, String),
    /// A redirect to this URL. A delete is not carried out.
    Redirect(u16, String),
    /// Nothing: the connection is closed once the request was carried out.
    Nothing,
    /// No response until the caller stops waiting.
    Silence,
}

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

    /// From now on these do not go.
    pub fn keep(&self, ids: &[&str]) {
        self.state(|state| state.kept = ids.iter().map(|id| (*id).to_owned()).collect());
    }

    /// From now on a call must bring this token.
    pub fn require_token(&self, token: &str) {
        self.state(|state| state.token = Some(token.to_owned()));
    }

    /// From now on it responds so; `None`: rightly.
    pub fn respond(&self, instead: Option<Instead>) {
        self.state(|state| state.instead = instead);
    }

    /// The calls since the last time this was called.
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
    let (instead, right) = {
        let mut state = state.lock().expect("not poisoned");
        state.calls.push(call.clone());
        let instead = state.instead.clone();
        let is_served = !matches!(instead, Some(Instead::Response(..) | Instead::Redirect(..)));
        (instead, is_served.then(|| state.serve(&call)))
    };
    match (instead, right) {
        (None, Some((status, kind, body))) => Ok(response(status, kind, body.to_string())),
        (Some(Instead::Response(status, kind, body)), _) => Ok(response(status, kind, body)),
        (Some(Instead::Redirect(status, to)), _) => {
            let mut redirect = response(status, "text/html", String::new());
            let to = to.parse().expect("a header");
            redirect.headers_mut().insert("location", to);
            Ok(redirect)
        }
        (Some(Instead::Silence), _) => std::future::pending().await,
        (Some(Instead::Nothing) | None, _) => Err("no response"),
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
                let outcomes = ids.map(|id| {
                    if self.kept.contains(id) && objects.contains(id) {
                        "kept"
                    } else {
                        objects.remove(id);
                        "gone"
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
