//! Connections: a few for each URL, made when they are needed and kept as long as the process.

use super::address::{Address, Login};
use super::errors::Failure;
use super::tls::Tls;
use crate::aws::VECTOR_CALL_TIMEOUT;
use crate::vector::{Password, Services, VectorError, VectorErrorKind};
use futures_util::future::try_join3;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CancelToken, Client, Config, Connection, NoTls, Row, Socket};

/// The most connections that one process holds to one URL: as many as the worker carries out messages at once.
const MAX_CONNECTIONS: usize = 5;
/// Logging in, from the password's fetch to the session's settings.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One address of the host.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);
/// What was sent and is not acknowledged after this long is lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(4);
/// How long the server lets a statement run, and wait for a lock. A delete must not be carried out later than
/// [`VECTOR_CALL_TIMEOUT`] after it was asked for, so it has what is left of [`ENDS`] when it is sent.
const SESSION: &str = "SET statement_timeout = 4000; SET lock_timeout = 3000; \
    SET idle_in_transaction_session_timeout = 9000";
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);
/// When a delete has ended at the server, however late it came there. It leaves a second for the cancellation to work.
const ENDS: Duration = VECTOR_CALL_TIMEOUT.saturating_sub(Duration::from_secs(1));
/// With less time than this no delete is sent.
const MIN_STATEMENT_TIMEOUT: Duration = Duration::from_millis(500);
/// A whole call, for a server that accepts it and never answers.
pub(in crate::vector) const CALL_TIMEOUT: Duration = ENDS;
/// A connection that nobody used for so long is not used again: something on the way may have forgotten it.
const MAX_IDLE: Duration = Duration::from_secs(240);

/// A parameter of a statement, with its type.
pub(in crate::vector) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Who logs in.
#[derive(Clone, Debug)]
pub(super) struct LogIn {
    /// Absent: as the URL says.
    pub(super) user: Option<String>,
    pub(super) password: Option<Password>,
}

/// Where [`LogIn`] comes from.
#[derive(Debug)]
enum LogIns {
    Fixed(LogIn),
    #[cfg(feature = "secrets-manager")]
    Secret(super::secret::Secret),
}

/// The connections to one database.
pub(in crate::vector) struct Pool {
    address: Address,
    log_ins: LogIns,
    tls: OnceCell<Option<Tls>>,
    idle: Mutex<Vec<(Client, Instant)>>,
    free: Semaphore,
}

impl Pool {
    pub(super) fn new(address: Address, services: &Services) -> Self {
        let fixed = |password| {
            LogIns::Fixed(LogIn {
                user: None,
                password,
            })
        };
        let log_ins = match &address.login {
            Login::Environment => fixed(services.password.clone()),
            Login::Url(password) => fixed(Some(password.clone())),
            #[cfg(feature = "secrets-manager")]
            Login::Secret(arn) => LogIns::Secret(super::secret::Secret::new(&services.aws, arn)),
        };
        Self {
            address,
            log_ins,
            tls: OnceCell::new(),
            idle: Mutex::default(),
            free: Semaphore::new(MAX_CONNECTIONS),
        }
    }

    /// Carries out a statement that only reads, in one round trip. One that meets a connection that the server closed while
    /// it was idle is sent again on a new one.
    pub(in crate::vector) async fn query(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        loop {
            let lease = self.lease().await?;
            match lease.client().query_typed(statement, parameters).await {
                Ok(rows) => {
                    lease.give_back();
                    return Ok(rows);
                }
                Err(error) => {
                    let (was_idle, error) = (lease.was_idle, lease.failed(error));
                    if !(was_idle && error.is_lost_connection()) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Carries out a statement that deletes, in one round trip and once, for a call that began then.
    pub(in crate::vector) async fn execute(
        &self,
        began: Instant,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<(), Failure> {
        let lease = self.lease().await?;
        let time = match time_left(began) {
            Ok(time) => time,
            Err(too_late) => {
                lease.give_back();
                return Err(too_late);
            }
        };
        let client = lease.client();
        let done = if time >= STATEMENT_TIMEOUT {
            client.execute_typed(statement, parameters).await.map(drop)
        } else {
            // Logging in took its time. What is joined is sent together.
            let (less, again) = (limit(time), limit(STATEMENT_TIMEOUT));
            let joined = try_join3(
                client.batch_execute(&less),
                client.execute_typed(statement, parameters),
                client.batch_execute(&again),
            );
            joined.await.map(drop)
        };
        match done {
            Ok(()) => {
                lease.give_back();
                Ok(())
            }
            Err(error) => Err(lease.close(error)),
        }
    }

    /// A connection of one's own: one that is idle, or a new one.
    pub(in crate::vector) async fn lease(&self) -> Result<Lease<'_>, Failure> {
        let permit = self.free.acquire().await;
        let permit = permit.map_err(|_| temporary("The connections were closed", "closed"))?;
        let idle = loop {
            let next = self.idle().pop();
            match next {
                Some((client, _)) if client.is_closed() => {}
                Some((_, since)) if since.elapsed() > MAX_IDLE => {}
                other => break other,
            }
        };
        let (client, was_idle) = match idle {
            Some((client, _)) => (client, true),
            None => {
                let late = |_| {
                    temporary(
                        "The vector store did not let anyone log in in time",
                        "timeout",
                    )
                };
                let connected = timeout(CONNECT_TIMEOUT, self.connect()).await;
                (
                    connected.map_err(late)?.map_err(Failure::before_all)?,
                    false,
                )
            }
        };
        Ok(Lease {
            pool: self,
            client: Some(client),
            was_idle,
            _permit: permit,
        })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Client, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Client, Failure> {
        match &self.log_ins {
            LogIns::Fixed(log_in) => self.connect_as(log_in).await,
            #[cfg(feature = "secrets-manager")]
            LogIns::Secret(secret) => {
                if let Some(known) = secret.known() {
                    match self.connect_as(&known).await {
                        // The password may have been changed since.
                        Err(error) if error.is_authentication() => {}
                        other => return other,
                    }
                }
                self.connect_as(&secret.fetch().await?).await
            }
        }
    }

    async fn connect_as(&self, log_in: &LogIn) -> Result<Client, Failure> {
        let Some(user) = self.address.user.as_ref().or(log_in.user.as_ref()) else {
            return Err(Failure::Sorted(VectorError {
                kind: VectorErrorKind::Denied,
                detail: "Neither the vector store's URL nor its secret names a user".to_owned(),
                code: "no user".to_owned(),
                source: None,
            }));
        };
        let mut config = Config::new();
        config
            .host(&self.address.host)
            .port(self.address.port)
            .dbname(&self.address.database)
            .user(user)
            .application_name("deletion-tasks")
            .ssl_mode(self.address.trust.ssl_mode())
            .connect_timeout(ADDRESS_TIMEOUT)
            .tcp_user_timeout(UNACKNOWLEDGED)
            .keepalives_idle(Duration::from_secs(30));
        if let Some(password) = &log_in.password {
            config.password(password.reveal());
        }
        let tls = self.tls().await?;
        let client = match tls {
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                spawn::<NoTlsStream>(connection);
                client
            }
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                spawn(connection);
                client
            }
        };
        client.batch_execute(SESSION).await?;
        Ok(client)
    }

    async fn tls(&self) -> Result<Option<&Tls>, Failure> {
        let make = async || {
            self.address.trust.connector().map_err(|error| VectorError {
                kind: VectorErrorKind::Denied,
                detail: "TLS cannot be set up".to_owned(),
                code: "tls".to_owned(),
                source: Some(error.into()),
            })
        };
        Ok(self.tls.get_or_try_init(make).await?.as_ref())
    }
}

/// How long a statement of a call that began then may run at the server, were it sent now.
pub(in crate::vector) fn time_left(began: Instant) -> Result<Duration, Failure> {
    let left = (ENDS - UNACKNOWLEDGED).checked_sub(began.elapsed());
    left.filter(|left| *left >= MIN_STATEMENT_TIMEOUT)
        .ok_or_else(|| {
            temporary(
                "The vector store was too slow to begin a delete",
                "too late",
            )
        })
}

/// The statement that limits the session's next ones.
fn limit(time: Duration) -> String {
    format!("SET statement_timeout = {}", time.as_millis())
}

/// Moves the connection's bytes until it ends. Whoever waits for an answer then is told by their own call.
fn spawn<T>(connection: Connection<Socket, T>)
where
    T: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        let _ = connection.await;
    });
}

fn temporary(detail: &str, code: &str) -> Failure {
    Failure::Sorted(VectorError {
        kind: VectorErrorKind::Temporary,
        detail: detail.to_owned(),
        code: code.to_owned(),
        source: None,
    })
}

/// A connection of one's own. One that is not given back is closed, and what it still does at the server is canceled: nobody
/// waits for it any more.
pub(in crate::vector) struct Lease<'a> {
    pool: &'a Pool,
    client: Option<Client>,
    was_idle: bool,
    _permit: SemaphorePermit<'a>,
}

impl Lease<'_> {
    #[allow(
        clippy::expect_used,
        reason = "the client is there until the lease ends"
    )]
    pub(in crate::vector) fn client(&self) -> &Client {
        self.client.as_ref().expect("a lease that goes on")
    }

    /// Ends the lease after all was answered.
    pub(in crate::vector) fn give_back(mut self) {
        if let Some(client) = self.client.take() {
            self.pool.idle().push((client, Instant::now()));
        }
    }

    /// Ends the lease after an error. The connection goes back if only the statement failed. If it is lost, so are likely
    /// those that are idle.
    pub(super) fn failed(mut self, error: tokio_postgres::Error) -> Failure {
        let is_statement = error.code().is_some();
        let error = Failure::from(error);
        let client = self.client.take();
        if error.is_lost_connection() {
            self.pool.idle().clear();
        } else if let Some(client) = client.filter(|_| is_statement) {
            self.pool.idle().push((client, Instant::now()));
        }
        error
    }

    /// Ends the lease, and the connection with it, after an error that leaves the session in who knows what state.
    pub(in crate::vector) fn close(mut self, error: impl Into<Failure>) -> Failure {
        self.client = None;
        let error = error.into();
        if error.is_lost_connection() {
            self.pool.idle().clear();
        }
        error
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        let tls = self.pool.tls.get().cloned().flatten();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(ADDRESS_TIMEOUT, cancel(client.cancel_token(), tls)));
        }
    }
}

async fn cancel(token: CancelToken, tls: Option<Tls>) {
    let _ = match tls {
        Some(tls) => token.cancel_query(tls).await,
        None => token.cancel_query(NoTls).await,
    };
}
