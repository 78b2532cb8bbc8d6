//! Serving HTTP/1 on loopback: to this machine's own programs and pages, in bounded time, with an end.
//!
//! `guard.rs` decides who is answered, `connections.rs` how many are held. A request is read whole before it is answered.

mod connections;
mod guard;

pub(crate) use guard::Guard;

use crate::error::StartError;
use crate::stop::{self, Stop, Stopper};
use bytes::{Bytes, BytesMut};
use connections::{Activity, Connections};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long requests that are being answered may still take when the runner ends.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// How long to wait after the system could not hand over a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection may take to send a request's head, counted from when it could begin. An idle one is closed then.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// How long a request's body may take, from its head to its end.
const BODY_TIME: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read, so that its sender gets to read the response.
const MAX_DRAINED_BYTES: usize = 256 * 1024 * 1024;

/// A response, whole.
pub(crate) type Reply = Response<Full<Bytes>>;

/// What is served at an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// The most bytes of a request's body.
    pub(crate) max_body: usize,
    /// The response to a larger one.
    pub(crate) too_large: fn() -> Reply,
    /// Paths that a person may open by following a link from anywhere.
    pub(crate) pages: &'static [&'static str],
}

/// Listens on loopback. `flag` is the one that chooses the port.
pub(crate) async fn listen(port: u16, flag: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::PortTaken { port, flag },
            _ => StartError::Listen { port, flag, source },
        })
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stopper: Stopper,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers the requests that the guard lets in.
    pub(crate) fn start<A, F>(
        listener: TcpListener,
        guard: Guard,
        site: Site,
        answer: A,
    ) -> io::Result<Self>
    where
        A: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let (stopper, stop) = stop::signal();
        let service = Arc::new(Service {
            guard,
            site,
            answer,
        });
        Ok(Self {
            address,
            stopper,
            task: tokio::spawn(serve(listener, service, stop)),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets running requests finish within [`GRACE`], and ends.
    pub(crate) async fn shutdown(self) {
        self.stopper.stop();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(GRACE, self.task).await.is_err() {
            abort.abort();
        }
    }
}

async fn serve<A, F>(listener: TcpListener, service: Arc<Service<A>>, stop: Stop)
where
    A: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    // Aborted when dropped: no connection outlives its server.
    let mut connections = Connections::default();
    loop {
        let accepted = tokio::select! {
            () = stop.requested() => break,
            () = connections.one_ended() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            connections.close_an_idle_one();
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        tokio::select! {
            () = stop.requested() => break,
            () = connections.room_for_one_more() => {}
        }
        let activity = Activity::default();
        let connection = connection(stream, &service, &activity);
        let connection = graceful.watch(connection);
        connections.hold(activity, async move {
            // A caller that hangs up or speaks no HTTP is no fault of ours.
            let _ = connection.await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

fn connection<A, F>(
    stream: TcpStream,
    service: &Arc<Service<A>>,
    activity: &Activity,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl hyper::service::Service<Request<Incoming>, Response = Reply, Error = Infallible, Future: Send>
    + use<A, F>,
>
where
    A: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let _ = stream.set_nodelay(true);
    let (service, activity) = (Arc::clone(service), activity.clone());
    let service = service_fn(move |request| {
        let (service, activity) = (Arc::clone(&service), activity.clone());
        async move { Ok::<_, Infallible>(service.respond(request, &activity).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service)
}

struct Service<A> {
    guard: Guard,
    site: Site,
    answer: A,
}

impl<A, F> Service<A>
where
    A: Fn(Request<Bytes>) -> F,
    F: Future<Output = Reply>,
{
    async fn respond(&self, request: Request<Incoming>, activity: &Activity) -> Reply {
        let (parts, body) = request.into_parts();
        if let Err(detail) = self.guard.lets_in(&parts, self.site.pages) {
            return closing(problem(StatusCode::FORBIDDEN, &detail));
        }
        let read = read(&parts.headers, body, self.site.max_body);
        let body = match tokio::time::timeout(BODY_TIME, read).await {
            Ok(Ok(body)) => body,
            Ok(Err(Unread::TooLarge)) => return closing((self.site.too_large)()),
            Ok(Err(Unread::Lost)) => {
                return problem(StatusCode::BAD_REQUEST, "The body did not arrive whole");
            }
            Err(_) => {
                let detail = format!("The body took longer than {} s", BODY_TIME.as_secs());
                return closing(problem(StatusCode::REQUEST_TIMEOUT, &detail));
            }
        };
        let _at_work = activity.begins();
        (self.answer)(Request::from_parts(parts, body)).await
    }
}

/// Why there is no body.
enum Unread {
    /// It is larger than may be.
    TooLarge,
    /// The caller went away.
    Lost,
}

async fn read(headers: &HeaderMap, mut body: Incoming, most: usize) -> Result<Bytes, Unread> {
    if body.size_hint().lower() > most as u64 {
        // A caller that asked before sending is told now; another one sends first and reads the response after that.
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
        if whole.len() + data.len() > most {
            drain(&mut body, whole.len() + data.len()).await;
            return Err(Unread::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Reads on and forgets it. Closing a connection with unread data resets it, and the caller might never see the response.
async fn drain(body: &mut Incoming, mut read: usize) {
    while read <= MAX_DRAINED_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// The last response on its connection.
fn closing(mut response: Reply) -> Reply {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// What API Gateway would answer by itself.
pub(crate) fn problem(status: StatusCode, detail: &str) -> Reply {
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
