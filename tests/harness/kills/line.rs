//! The wire from one worker to the services.
//!
//! It is slow, so that a worker can be killed at each step, and it remembers which calls are in
//! flight.
//!
//! It is a proxy on a socket and not a hook of `wire.rs`, because a worker is a separate process
//! and its sent requests must outlive it.
//!
//! A request that has arrived here goes on to its service even if its sender is dead, and may then
//! take long. So the delete of a killed worker may be carried out well after its death, as in a
//! real network.

use super::World;
use fastrand::Rng;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1 as client;
use hyper::header::{CONNECTION, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A step of a worker: one kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    ReadTask,
    ReadChunks,
    FanOut,
    Send,
    Check,
    Claim,
    PutOff,
    Delete,
    Settle,
}

/// How far a call had got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// The request had not arrived.
    Out,
    /// The request had arrived, but the response had not.
    Back,
}

impl Step {
    fn of(parts: &Parts, body: &[u8]) -> Self {
        let target = parts.headers.get("x-amz-target");
        let target = target.and_then(|target| target.to_str().ok()?.rsplit('.').next());
        match (target, parts.uri.path()) {
            (Some("GetItem"), _) => Self::ReadTask,
            (Some("BatchGetItem"), _) => Self::ReadChunks,
            // The names of the written attributes distinguish the guarded writes.
            (Some("UpdateItem" | "TransactWriteItems"), _) => {
                let text = String::from_utf8_lossy(body);
                let names = |name| text.contains(name);
                match (
                    names("#fan_out"),
                    names("#outcomes"),
                    names("\":lease_until\""),
                ) {
                    (true, _, _) => Self::FanOut,
                    (_, true, _) => Self::Settle,
                    (_, _, true) => Self::Claim,
                    (false, false, false) => Self::PutOff,
                }
            }
            (Some("SendMessage" | "SendMessageBatch"), _) => Self::Send,
            (None, "/GetVectors") => Self::Check,
            (None, "/DeleteVectors") => Self::Delete,
            other => panic!("a worker makes a call of no known step: {other:?}"),
        }
    }

    /// How long the calls of this step take on average.
    fn time(self) -> Duration {
        Duration::from_millis(match self {
            Self::ReadTask | Self::ReadChunks | Self::Check => 10,
            Self::Claim | Self::PutOff | Self::Send => 150,
            Self::FanOut | Self::Settle => 250,
            Self::Delete => 400,
        })
    }
}

/// The longest time that a call whose sender is dead is in flight. The shortest is half of it. No
/// call of a worker takes longer than 10 seconds.
const STRAY: Duration = Duration::from_secs(9);

/// One worker's wire.
#[derive(Debug)]
pub(super) struct Line {
    address: SocketAddr,
    state: Arc<State>,
    /// Aborted when dropped, unlike the calls.
    _serving: JoinSet<()>,
}

struct State {
    world: Arc<World>,
    /// Which worker this is.
    worker: u64,
    rng: Mutex<Rng>,
    /// The calls in flight, by number.
    calls: Mutex<BTreeMap<u64, (Step, Way)>>,
    is_dead: AtomicBool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl Line {
    /// Starts the wire. `seed` is the seed of the random choices, and the worker's name.
    pub(super) async fn start(world: &Arc<World>, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            world: Arc::clone(world),
            worker: seed,
            rng: Rng::with_seed(seed).into(),
            calls: Mutex::default(),
            is_dead: false.into(),
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            _serving: serving,
        }
    }

    /// The variables that make a function use this wire.
    pub(super) fn variables(&self) -> [(&'static str, String); 3] {
        let names = [
            "AWS_ENDPOINT_URL_DYNAMODB",
            "AWS_ENDPOINT_URL_SQS",
            "AWS_ENDPOINT_URL_S3VECTORS",
        ];
        names.map(|name| (name, format!("http://{}", self.address)))
    }

    /// Prepares for the worker to be killed. Returns the calls in flight.
    pub(super) fn cut(&self) -> Vec<(Step, Way)> {
        self.state.is_dead.store(true, Ordering::Relaxed);
        let calls = self.state.calls.lock().expect("not poisoned");
        calls.values().copied().collect()
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| Arc::clone(&state).carry(request));
            // It ends when the worker does.
            let _ = server::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl State {
    /// Carries one call to its service and the response back.
    async fn carry(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Failure> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let step = Step::of(&parts, &body);
        let (number, time, share) = {
            let mut rng = self.rng.lock().expect("not poisoned");
            (rng.u64(..), step.time().mul_f64(rng.f64() * 2.0), rng.f64())
        };
        self.mark(number, Some((step, Way::Out)));
        // Nothing aborts this task.
        let arrival = tokio::spawn({
            let state = Arc::clone(&self);
            async move {
                sleep(time.mul_f64(share)).await;
                if state.is_dead.load(Ordering::Relaxed) {
                    let stray = state.rng.lock().expect("not poisoned").f64();
                    sleep(STRAY.mul_f64(stray.max(0.5))).await;
                }
                let response = state.arrive(step, parts, body).await;
                state.mark(number, Some((step, Way::Back)));
                response
            }
        });
        let response = arrival.await?;
        sleep(time.mul_f64(1.0 - share)).await;
        self.mark(number, None);
        response
    }

    fn mark(&self, number: u64, call: Option<(Step, Way)>) {
        let mut calls = self.calls.lock().expect("not poisoned");
        match call {
            Some(call) => calls.insert(number, call),
            None => calls.remove(&number),
        };
    }

    async fn arrive(
        &self,
        step: Step,
        parts: Parts,
        body: Bytes,
    ) -> Result<Response<Full<Bytes>>, Failure> {
        let running = &self.world.service.running;
        let address = match step {
            Step::Check | Step::Delete => running.s3vectors,
            Step::Send => running.sqs,
            Step::ReadTask | Step::ReadChunks | Step::FanOut => running.dynamodb,
            Step::Claim | Step::PutOff | Step::Settle => running.dynamodb,
        };
        if step == Step::Delete {
            self.world.deletes(self.worker, &body).await;
        }
        let response = pass_on(address, parts, body.clone()).await?;
        if step == Step::Claim && response.status().is_success() {
            self.world.claimed(self.worker, &body);
        }
        Ok(response)
    }
}

async fn pass_on(
    address: SocketAddr,
    parts: Parts,
    body: Bytes,
) -> Result<Response<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::from_parts(parts, Full::new(body));
    let (mut parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    // The body is passed on as a whole.
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.remove(CONNECTION);
    Ok(Response::from_parts(parts, Full::new(body)))
}
