//! The wire from one worker to the services: slow, so that there is time to be killed at each step, and with a memory of what
//! is under way.
//!
//! A request that has arrived here goes on to its service, be its sender dead or not: so a killed worker's delete may be
//! carried out after its death, as in a real network.

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
use local::Running;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
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
    Look,
    Claim,
    Delete,
    Settle,
}

/// How far a call had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// It had not arrived.
    Out,
    /// It had arrived, and its answer had not.
    Back,
}

impl Step {
    fn of(parts: &Parts, body: &[u8]) -> Self {
        let target = parts.headers.get("x-amz-target");
        let target = target.and_then(|target| target.to_str().ok()?.rsplit('.').next());
        match (target, parts.uri.path()) {
            (Some("GetItem"), _) => Self::ReadTask,
            (Some("BatchGetItem"), _) => Self::ReadChunks,
            // The names of what they write tell the guarded writes apart.
            (Some("UpdateItem" | "TransactWriteItems"), _) => {
                let text = String::from_utf8_lossy(body);
                match (text.contains("#fan_out"), text.contains("#outcomes")) {
                    (true, _) => Self::FanOut,
                    (_, true) => Self::Settle,
                    (false, false) => Self::Claim,
                }
            }
            (Some("SendMessage" | "SendMessageBatch"), _) => Self::Send,
            (None, "/GetVectors") => Self::Look,
            (None, "/DeleteVectors") => Self::Delete,
            other => panic!("a worker makes a call of no known step: {other:?}"),
        }
    }

    /// How long its calls take on average.
    fn time(self) -> Duration {
        Duration::from_millis(match self {
            Self::ReadTask | Self::ReadChunks => 15,
            Self::Look => 30,
            Self::Claim | Self::FanOut | Self::Send => 80,
            Self::Delete | Self::Settle => 150,
        })
    }
}

/// The calls under way, by number.
type Calls = Arc<Mutex<BTreeMap<u64, (Step, Way)>>>;

/// One worker's wire.
#[derive(Debug)]
pub(super) struct Line {
    address: SocketAddr,
    calls: Calls,
    /// Aborted when dropped, unlike the calls.
    _serving: JoinSet<()>,
}

#[derive(Clone, Copy)]
struct Services {
    dynamodb: SocketAddr,
    sqs: SocketAddr,
    s3vectors: SocketAddr,
}

impl Line {
    pub(super) async fn start(running: &Running, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let services = Services {
            dynamodb: running.dynamodb,
            sqs: running.sqs,
            s3vectors: running.s3vectors,
        };
        let calls = Calls::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, services, Arc::clone(&calls), seed));
        Self {
            address,
            calls,
            _serving: serving,
        }
    }

    /// The variables that lead a function here.
    pub(super) fn variables(&self) -> [(&'static str, String); 3] {
        let names = ["DYNAMODB", "SQS", "S3VECTORS"].map(|name| match name {
            "DYNAMODB" => "AWS_ENDPOINT_URL_DYNAMODB",
            "SQS" => "AWS_ENDPOINT_URL_SQS",
            _ => "AWS_ENDPOINT_URL_S3VECTORS",
        });
        names.map(|name| (name, format!("http://{}", self.address)))
    }

    /// The calls that are under way now.
    pub(super) fn under_way(&self) -> Vec<(Step, Way)> {
        let calls = self.calls.lock().expect("not poisoned");
        calls.values().copied().collect()
    }
}

async fn serve(listener: TcpListener, services: Services, calls: Calls, seed: u64) {
    let rng = Arc::new(Mutex::new(Rng::with_seed(seed)));
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (calls, rng) = (Arc::clone(&calls), Arc::clone(&rng));
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let random = {
                    let mut rng = rng.lock().expect("not poisoned");
                    (rng.u64(..), rng.f64() * 2.0, rng.f64())
                };
                carry(request, services, Arc::clone(&calls), random)
            });
            // It ends when the worker does.
            let _ = server::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Carries one call to its service, and the answer back.
async fn carry(
    request: Request<Incoming>,
    services: Services,
    calls: Calls,
    (number, slowness, share): (u64, f64, f64),
) -> Result<Response<Full<Bytes>>, Failure> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let step = Step::of(&parts, &body);
    let mark = move |calls: &Calls, way| {
        let mut calls = calls.lock().expect("not poisoned");
        match way {
            Some(way) => calls.insert(number, (step, way)),
            None => calls.remove(&number),
        };
    };
    let time = step.time().mul_f64(slowness);
    mark(&calls, Some(Way::Out));
    let arrival = tokio::spawn({
        let calls = Arc::clone(&calls);
        async move {
            sleep(time.mul_f64(share)).await;
            let address = match step {
                Step::Look | Step::Delete => services.s3vectors,
                Step::Send => services.sqs,
                _ => services.dynamodb,
            };
            let answer = pass_on(address, parts, body).await;
            mark(&calls, Some(Way::Back));
            answer
        }
    });
    let answer = arrival.await?;
    sleep(time.mul_f64(1.0 - share)).await;
    mark(&calls, None);
    answer
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
