//! Serving HTTP/1 on loopback, with an end.

use crate::error::StartError;
use crate::stop::{self, Stop, Stopper};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// How long requests that are being answered may still take when the runner ends.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// How long to wait after the system could not hand over a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    /// Runs `serve` until it ends after being asked to.
    pub(crate) fn run<F, S>(listener: TcpListener, serve: F) -> io::Result<Self>
    where
        F: FnOnce(TcpListener, Stop) -> S,
        S: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let (stopper, stop) = stop::signal();
        Ok(Self {
            address,
            stopper,
            task: tokio::spawn(serve(listener, stop)),
        })
    }

    /// Runs a hyper service.
    pub(crate) fn of<S, B>(listener: TcpListener, service: S) -> io::Result<Self>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::run(listener, |listener, stop| serve(listener, service, stop))
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

async fn serve<S, B>(listener: TcpListener, service: S, stop: Stop)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let graceful = GracefulShutdown::new();
    // Aborted when dropped: no connection outlives its server.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.requested() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // A caller that hangs up or speaks no HTTP is no fault of ours.
            let _ = connection.await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
