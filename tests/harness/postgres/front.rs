//! A proxy in front of a server: passes bytes on, counts, speaks TLS, goes silent.

use crate::tls::Certificate;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The eight bytes with which a PostgreSQL client asks for TLS.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The last message that a client sends before it may wait: a simple query, or the end of an
/// extended one.
const LAST_OF_A_STATEMENT: [u8; 2] = [b'Q', b'S'];

/// A proxy in front of a server. It stops when this is dropped.
#[derive(Debug)]
pub struct Front {
    /// The address that it listens on.
    pub address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    round_trips: AtomicUsize,
    /// Whether the server has sent something since the client last did.
    answered: AtomicBool,
    silent: AtomicBool,
    delay_millis: AtomicU64,
    latency_millis: AtomicU64,
    cut: Notify,
}

impl Front {
    /// Starts in front of `server`. It speaks TLS if there is a certificate.
    pub async fn before(server: SocketAddr, certificate: Option<&Certificate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let tls = certificate.map(Certificate::acceptor);
        let for_all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                for_all.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(client, server, tls.clone(), Arc::clone(&for_all)));
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Delays every response by this much from now on. So what a client sends without waiting for
    /// responses counts as one round trip.
    pub fn delay_answers(&self, by: Duration) {
        let millis = by.as_millis().try_into().expect("a short time");
        self.seen.latency_millis.store(millis, Ordering::Relaxed);
    }

    /// Returns how often a client sent something and waited for the response, since this function
    /// was last called. Logging in does not count. The count is right only with one client at a
    /// time, and with delayed responses.
    pub fn round_trips(&self) -> usize {
        self.seen.round_trips.swap(0, Ordering::Relaxed)
    }

    /// Delays every new connection by this much from now on.
    pub fn delay_connections(&self, by: Duration) {
        let millis = by.as_millis().try_into().expect("a short time");
        self.seen.delay_millis.store(millis, Ordering::Relaxed);
    }

    /// Passes no response on from now on, and ends no connection.
    pub fn go_silent(&self) {
        self.seen.silent.store(true, Ordering::Relaxed);
    }

    /// Cuts the open connections. New ones get their responses again.
    pub fn cut(&self) {
        self.seen.silent.store(false, Ordering::Relaxed);
        self.seen.cut.notify_waiters();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    tls: Option<TlsAcceptor>,
    seen: Arc<Seen>,
) {
    let delay = Duration::from_millis(seen.delay_millis.load(Ordering::Relaxed));
    tokio::time::sleep(delay).await;
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let Some(tls) = tls else {
        return pass(client, server, seen).await;
    };
    let mut request = [0; 8];
    let asked = client.read_exact(&mut request).await;
    if asked.is_err() || request != TLS_REQUEST || client.write_all(b"S").await.is_err() {
        return; // no TLS, no server
    }
    if let Ok(client) = tls.accept(client).await {
        pass(client, server, seen).await;
    }
}

async fn pass(client: impl AsyncRead + AsyncWrite, server: TcpStream, seen: Arc<Seen>) {
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = up(from_client, to_server, &seen) => {}
        _ = down(from_server, to_client, &seen) => {}
        () = seen.cut.notified() => {}
    }
}

/// Passes on message by message, to count them.
async fn up(
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
    seen: &Seen,
) -> io::Result<()> {
    // The first message has no type before its length.
    let mut kind = None;
    loop {
        let length = client.read_u32().await?;
        let mut body = vec![0; (length as usize).saturating_sub(4)];
        client.read_exact(&mut body).await?;
        let is_statement = kind.is_some_and(|kind| LAST_OF_A_STATEMENT.contains(&kind));
        if is_statement && seen.answered.swap(false, Ordering::Relaxed) {
            seen.round_trips.fetch_add(1, Ordering::Relaxed);
        }
        let head = kind.into_iter().chain(length.to_be_bytes());
        let message: Vec<u8> = head.chain(body).collect();
        server.write_all(&message).await?;
        kind = Some(client.read_u8().await?);
    }
}

async fn down(
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    seen: &Seen,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = server.read(&mut buffer).await?;
        if seen.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let latency = seen.latency_millis.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(latency)).await;
        seen.answered.store(true, Ordering::Relaxed);
        match buffer.get(..count) {
            Some(bytes) if count > 0 => client.write_all(bytes).await?,
            _ => return Ok(()),
        }
        client.flush().await?;
    }
}
