//! An HTTP/1 server on loopback for this machine's own programs and pages, with bounded times and a
//! clean shutdown.
//!
//! `guard.rs` decides which requests are accepted, `connections.rs` how many connections are held.
//! The handler gets a request only after its whole body has arrived.

mod connections;
mod guard;

pub use guard::Guard;

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

/// How long running requests may take after the server is told to stop.
pub const GRACE: Duration = Duration::from_secs(1);
/// How long to wait after a connection could not be accepted (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection may take to send a request's head. This also limits how long it may be
/// idle.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// How long a request's body may take, from its head to its end.
const BODY_TIME: Duration = Duration::from_secs(30);
/// How much is read of a body that is too large, so that its sender can read the response.
const MAX_DRAINED_BYTES: usize = 256 * 1024 * 1024;

/// A response with its whole body.
pub type Reply = Response<Full<Bytes>>;

/// What a server accepts.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// The response to a larger body.
    pub too_large: fn() -> Reply,
    /// Whether a person may open this path by following a link from anywhere.
    pub is_page: fn(&str) -> bool,
}

/// Why a server cannot listen on a port. Each text is one line that says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program listens on the port.
    #[error(
        "port {port} is already in use: stop the program that uses it, or choose another port with {flag} (0 picks a free one)"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// The flag that chooses it.
        flag: &'static str,
    },
    /// Another reason.
    #[error(
        "cannot listen on port {port}: {source}: choose another port with {flag} (0 picks a free one)"
    )]
    Other {
        /// The port.
        port: u16,
        /// The flag that chooses it.
        flag: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// Listens on loopback. `flag` is the command line flag for the port.
///
/// # Errors
/// If the port is taken, or the system does not allow listening on it.
pub async fn listen(port: u16, flag: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::PortTaken { port, flag },
            _ => ListenError::Other { port, flag, source },
        })
}

/// A running server. Dropping it stops the server and closes its connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stopper: Stopper,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts to serve. Requests that the guard accepts go to `handler`.
    ///
    /// # Errors
    /// If the listener has no address.
    pub fn start<H, F>(
        listener: TcpListener,
        guard: Guard,
        site: Site,
        handler: H,
    ) -> io::Result<Self>
    where
        H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let (stopper, stop) = stop::signal();
        let service = Arc::new(Service {
            guard,
            site,
            handler,
        });
        Ok(Self {
            address,
            stopper,
            task: tokio::spawn(serve(listener, service, stop)),
        })
    }

    /// The address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting connections and waits for running requests, at most for [`GRACE`].
    pub async fn shutdown(self) {
        self.stopper.stop();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(GRACE, self.task).await.is_err() {
            abort.abort();
        }
    }
}

async fn serve<H, F>(listener: TcpListener, service: Arc<Service<H>>, stop: Stop)
where
    H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    // Dropping this aborts the connections, so none outlives its server.
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
            // An error is normal here: the caller hung up or does not speak HTTP.
            let _ = connection.await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

fn connection<H, F>(
    stream: TcpStream,
    service: &Arc<Service<H>>,
    activity: &Activity,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl hyper::service::Service<Request<Incoming>, Response = Reply, Error = Infallible, Future: Send>
    + use<H, F>,
>
where
    H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
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

struct Service<H> {
    guard: Guard,
    site: Site,
    handler: H,
}

impl<H, F> Service<H>
where
    H: Fn(Request<Bytes>) -> F,
    F: Future<Output = Reply>,
{
    async fn respond(&self, request: Request<Incoming>, activity: &Activity) -> Reply {
        let (parts, body) = request.into_parts();
        if let Err(detail) = self.guard.lets_in(&parts, self.site.is_page) {
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
        (self.handler)(Request::from_parts(parts, body)).await
    }
}

/// Why a body was not read.
enum Unread {
    /// It is larger than the limit.
    TooLarge,
    /// The caller went away.
    Lost,
}

async fn read(headers: &HeaderMap, mut body: Incoming, max: usize) -> Result<Bytes, Unread> {
    if body.size_hint().lower() > max as u64 {
        // A caller that expects 100 Continue reads the response now. Any other caller sends its
        // body first and then reads the response.
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
        if whole.len() + data.len() > max {
            drain(&mut body, whole.len() + data.len()).await;
            return Err(Unread::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Reads the rest of a body and discards it. Closing a connection with unread data resets it, and
/// the caller might never see the response.
async fn drain(body: &mut Incoming, mut read: usize) {
    while read <= MAX_DRAINED_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Makes a response the last one on its connection.
fn closing(mut response: Reply) -> Reply {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// An error in the form of the API's own errors (RFC 9457).
pub fn problem(status: StatusCode, detail: &str) -> Reply {
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
