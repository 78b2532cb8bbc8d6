//! The connections of one URL: a few, made when they are needed, and kept for the life of the
//! process.

use super::address::ADDRESS_TIMEOUT;
use super::address::Address;
use super::connect::{Connector, STATEMENT_TIMEOUT, UNACKNOWLEDGED};
use super::errors::Failure;
use super::tls::Tls;
use crate::aws::VECTOR_CALL_TIMEOUT;
use crate::vector::port::{Services, VectorError, VectorErrorKind};
use futures_util::join;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CancelToken, Client, NoTls, Row};

/// The most connections of one process to one URL: as many as the worker's calls to vector stores
/// at once.
const MAX_CONNECTIONS: usize = 5;
/// The time limit for making a connection, from fetching the password to setting up the session.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time after which a delete has ended at the server, however late it arrived there. It leaves
/// a second to cancel the delete.
const ENDS: Duration = VECTOR_CALL_TIMEOUT.saturating_sub(Duration::from_secs(1));
/// The least time that must be left to send a delete.
const MIN_STATEMENT_TIMEOUT: Duration = Duration::from_millis(500);
/// The time limit of a whole call, for a server that accepts the call and never responds.
pub(super) const CALL_TIMEOUT: Duration = ENDS;
/// A connection that was idle for longer is not used again, since something on the way may have
/// dropped it.
const MAX_IDLE: Duration = Duration::from_secs(240);

/// A parameter of a statement, with its type.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A statement with its parameters.
#[derive(Clone, Copy)]
pub(super) struct Statement<'a> {
    pub(super) text: &'a str,
    pub(super) parameters: &'a [Parameter<'a>],
}

/// The connections to one database.
pub(super) struct Pool {
    connector: Connector,
    idle: Mutex<Vec<(Client, Instant)>>,
    free: Semaphore,
}

impl Pool {
    pub(super) fn new(address: Address, may_hide: bool, services: &Services) -> Self {
        Self {
            connector: Connector::new(address, may_hide, services),
            idle: Mutex::default(),
            free: Semaphore::new(MAX_CONNECTIONS),
        }
    }

    /// Runs a statement that only reads, in one round trip. If the server had closed the idle
    /// connection, the statement is sent again on another one.
    pub(super) async fn query(
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
                    let (was_idle, failure) = (lease.was_idle, lease.failed(error.into()));
                    if !(was_idle && failure.is_lost_connection()) {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// Runs a statement that deletes, once, and then one that reads, together in one round trip.
    /// `began`: when the call began. The read is a transaction of its own, after the delete's
    /// commit. So it sees the result whatever the default isolation level is, and it sees what
    /// deferred triggers did.
    pub(super) async fn delete(
        &self,
        began: Instant,
        delete: Statement<'_>,
        read: Statement<'_>,
        is_plain: bool,
    ) -> Result<Vec<Row>, Failure> {
        let lease = self.lease().await?;
        let time = match time_left(began) {
            Ok(time) => time,
            Err(too_late) => {
                lease.give_back();
                return Err(too_late);
            }
        };
        let client = lease.client();
        // A plain delete runs nothing else that could depend on the session's settings or change
        // them.
        let is_alone = is_plain && time >= STATEMENT_TIMEOUT;
        let set = async |settings: &str| {
            if is_alone {
                return Ok(());
            }
            client.batch_execute(settings).await
        };
        let begin = limits(time.min(STATEMENT_TIMEOUT));
        // Joined statements are sent together.
        let (begun, deleted, reset, rows) = join!(
            set(&begin),
            client.execute_typed(delete.text, delete.parameters),
            set(lease.session()),
            client.query_typed(read.text, read.parameters),
        );
        if let Err(error) = begun.and(reset) {
            return Err(lease.close(Failure::Deleting(error)));
        }
        let failure = match (deleted, rows) {
            (Ok(_), Ok(rows)) => {
                lease.give_back();
                return Ok(rows);
            }
            (Err(error), _) => Failure::Deleting(error),
            (Ok(_), Err(error)) => Failure::Reading(error),
        };
        Err(lease.failed(failure))
    }

    /// Returns a connection for the caller alone: an idle one, or a new one.
    pub(super) async fn lease(&self) -> Result<Lease<'_>, Failure> {
        let permit = self.free.acquire().await;
        let permit = permit
            .map_err(|_| temporary("The connections to the vector store were closed", "closed"))?;
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
                let late = |_| temporary("Logging in to the vector store took too long", "timeout");
                let connected = timeout(CONNECT_TIMEOUT, self.connector.connect()).await;
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

    fn idle(&self) -> MutexGuard<'_, Vec<(Client, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a statement may run at the server if it is sent now. `began`: when the call began.
pub(super) fn time_left(began: Instant) -> Result<Duration, Failure> {
    let left = (ENDS - UNACKNOWLEDGED).checked_sub(began.elapsed());
    left.filter(|left| *left >= MIN_STATEMENT_TIMEOUT)
        .ok_or_else(|| {
            temporary(
                "Connecting to the vector store left too little time for the delete",
                "too late",
            )
        })
}

/// The settings for a delete: its time limit, and PostgreSQL's default for row security, since
/// triggers may rely on that.
fn limits(time: Duration) -> String {
    format!(
        "SET statement_timeout = {}; SET row_security = on",
        time.as_millis()
    )
}

fn temporary(detail: &str, code: &str) -> Failure {
    Failure::Sorted(VectorError {
        kind: VectorErrorKind::Temporary,
        detail: detail.to_owned(),
        code: code.to_owned(),
        source: None,
    })
}

/// A connection for one caller alone. If it is dropped without being given back, the connection is
/// closed, and a statement that still runs at the server is canceled.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    client: Option<Client>,
    was_idle: bool,
    _permit: SemaphorePermit<'a>,
}

impl Lease<'_> {
    #[allow(
        clippy::expect_used,
        reason = "the client is present until the lease ends"
    )]
    pub(super) fn client(&self) -> &Client {
        self.client.as_ref().expect("a lease that goes on")
    }

    /// The statements that set the session up.
    pub(super) fn session(&self) -> &str {
        self.pool.connector.session()
    }

    /// Returns the connection to the pool. Every statement must have got its response.
    pub(super) fn give_back(mut self) {
        if let Some(client) = self.client.take() {
            self.pool.idle().push((client, Instant::now()));
        }
    }

    /// Ends the lease after an error. The connection goes back to the pool if only the statement
    /// failed.
    pub(super) fn failed(self, failure: Failure) -> Failure {
        if failure.is_of_the_statement() {
            self.give_back();
            return failure;
        }
        self.close(failure)
    }

    /// Rolls the transaction back after an error in it, and ends the lease.
    #[cfg(feature = "embedding-studio")]
    pub(super) async fn roll_back(self, failure: Failure) -> Failure {
        if failure.is_of_the_statement() && self.client().batch_execute("ROLLBACK").await.is_ok() {
            self.give_back();
            return failure;
        }
        // The transaction ends with its connection.
        self.close(failure)
    }

    /// Closes the connection after an error that leaves its session in an unknown state. If the
    /// connection is lost, the idle ones probably are, too, so they are also closed.
    pub(super) fn close(mut self, failure: Failure) -> Failure {
        self.client = None;
        if failure.is_lost_connection() {
            self.pool.idle().clear();
        }
        failure
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        let tls = self.pool.connector.known_tls();
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
