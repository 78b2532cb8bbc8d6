//! An EventBridge event bus on loopback that keeps its events ("PutEvents", Amazon EventBridge API
//! Reference).

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The bus.
#[derive(Debug)]
pub struct Bus {
    address: SocketAddr,
    state: Arc<State>,
    /// Aborted when dropped.
    _serving: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    told: Mutex<Vec<Value>>,
    /// How many events arrived.
    count: watch::Sender<usize>,
    /// The status of every response, if it is not 200, and its error.
    refusal: Mutex<Option<(u16, &'static str)>>,
    /// The positions in a call of the events to refuse.
    refused: Mutex<BTreeSet<usize>>,
}

impl Bus {
    /// Starts the bus.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<State>::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            _serving: serving,
        }
    }

    /// The URL of the bus.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The entries that it accepted, in order, with their details as JSON.
    pub fn told(&self) -> Vec<Value> {
        self.state.told.lock().expect("not poisoned").clone()
    }

    /// Waits until this many events have arrived, and returns their details.
    pub async fn details(&self, count: usize) -> Vec<Value> {
        let mut counts = self.state.count.subscribe();
        let reached = counts.wait_for(|told| *told >= count).await;
        reached.expect("the bus is there");
        let told = self.told().into_iter();
        told.map(|mut entry| entry["Detail"].take()).collect()
    }

    /// Refuses every call from now on. `None` ends this.
    pub fn refuse(&self, refusal: Option<(u16, &'static str)>) {
        *self.state.refusal.lock().expect("not poisoned") = refusal;
    }

    /// Refuses the events at these positions of a call from now on.
    pub fn refuse_at(&self, places: impl IntoIterator<Item = usize>) {
        *self.state.refused.lock().expect("not poisoned") = places.into_iter().collect();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let state = Arc::clone(&state);
        let respond = service_fn(move |request| {
            let state = Arc::clone(&state);
            async move { Ok::<_, Infallible>(state.respond(request).await) }
        });
        connections.spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), respond);
            let _ = connection.await; // its caller may hang up
        });
    }
}

impl State {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let target = request.headers().get("x-amz-target").cloned();
        let target = target.expect("a target");
        let body = request.into_body().collect().await;
        let body = body.expect("a whole request").to_bytes();
        if let Some((status, error)) = *self.refusal.lock().expect("not poisoned") {
            return response(status, &json!({"__type": error, "message": "refused"}));
        }
        let call: Value = serde_json::from_slice(&body).expect("JSON");
        if target == "AWSEvents.DescribeEventBus" {
            return response(200, &json!({"Name": call["Name"]}));
        }
        assert_eq!(target, "AWSEvents.PutEvents");
        let refused = self.refused.lock().expect("not poisoned").clone();
        let entries = call["Entries"].as_array().expect("entries");
        assert!((1..=10).contains(&entries.len()), "{}", entries.len());
        let mut told = self.told.lock().expect("not poisoned");
        let taken = entries.iter().enumerate().map(|(place, entry)| {
            if refused.contains(&place) {
                return json!({"ErrorCode": "ThrottlingException", "ErrorMessage": "refused"});
            }
            let mut entry = entry.clone();
            let detail = entry["Detail"].as_str().expect("a detail");
            entry["Detail"] = serde_json::from_str(detail).expect("a detail is JSON");
            told.push(entry);
            json!({"EventId": told.len().to_string()})
        });
        let taken: Vec<_> = taken.collect();
        self.count.send_replace(told.len());
        response(
            200,
            &json!({"FailedEntryCount": refused.len(), "Entries": taken}),
        )
    }
}

fn response(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/x-amz-json-1.1");
    response
        .body(Full::from(body.to_string()))
        .expect("a response")
}
