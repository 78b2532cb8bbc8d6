//! Connections: a few for each URL, made when they are needed and kept as long as the process.

use super::address::Address;
use super::connect::{ADDRESS_TIMEOUT, Connector, STATEMENT_TIMEOUT, UNACKNOWLEDGED};
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

/// The most connections that one process holds to one URL: as many as the worker carries out messages at once.
const MAX_CONNECTIONS: usize = 5;
/// Logging in, from the password's fetch to the session's settings.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// When a delete has ended at the server, however late it came there. It leaves a second for the cancellation to work.
const ENDS: Duration = VECTOR_CALL_TIMEOUT.saturating_sub(Duration::from_secs(1));
/// With less time than this no delete is sent.
const MIN_STATEMENT_TIMEOUT: Duration = Duration::from_millis(500);
/// A whole call, for a server that accepts it and never answers.
pub(super) const CALL_TIMEOUT: Duration = ENDS;
/// A connection that nobody used for so long is not used again: something on the way may have forgotten it.
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

    /// Carries out a statement that only reads, in one round trip. One that meets a connection that the server closed while
    /// it was idle is sent again on a new one.
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

    /// Carries out a statement that deletes, once, for a call that began then, and behind it one that reads: together one
    /// round trip. The read is a transaction of its own, after the delete's commit, so that it sees what came of it whatever
    /// the default isolation, deferred triggers included.
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
        // Nothing else runs with a plain delete that could need, or change, the session's settings.
        let is_alone = is_plain && time >= STATEMENT_TIMEOUT;
        let set = async |settings: &str| {
            if is_alone {
                return Ok(());
            }
            client.batch_execute(settings).await
        };
        let begin = limits(time.min(STATEMENT_TIMEOUT));
        // What is joined is sent together.
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

    /// A connection of one's own: one that is idle, or a new one.
    pub(super) async fn lease(&self) -> Result<Lease<'_>, Failure> {
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

/// How long a statement of a call that began then may run at the server, were it sent now.
pub(super) fn time_left(began: Instant) -> Result<Duration, Failure> {
    let left = (ENDS - UNACKNOWLEDGED).checked_sub(began.elapsed());
    left.filter(|left| *left >= MIN_STATEMENT_TIMEOUT)
        .ok_or_else(|| {
            temporary(
                "The vector store was too slow to begin a delete",
                "too late",
            )
        })
}

/// What a delete begins with: its time, and row security as the role has it by default, since triggers may rely on that.
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

/// A connection of one's own. One that is not given back is closed, and what it still does at the server is canceled: nobody
/// waits for it any more.
pub(super) struct Lease<'a> {
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
    pub(super) fn client(&self) -> &Client {
        self.client.as_ref().expect("a lease that goes on")
    }

    /// What makes the session as each call expects it.
    pub(super) fn session(&self) -> &str {
        self.pool.connector.session()
    }

    /// Ends the lease after all was answered.
    pub(super) fn give_back(mut self) {
        if let Some(client) = self.client.take() {
            self.pool.idle().push((client, Instant::now()));
        }
    }

    /// Ends the lease after an error. The connection goes back if only the statement failed. If it is lost, so are likely
    /// those that are idle.
    pub(super) fn failed(self, failure: Failure) -> Failure {
        if failure.is_of_the_statement() {
            self.give_back();
            return failure;
        }
        self.close(failure)
    }

    /// Ends the lease after an error within a transaction, which is rolled back.
    #[cfg(feature = "embedding-studio")]
    pub(super) async fn roll_back(self, failure: Failure) -> Failure {
        if failure.is_of_the_statement() && self.client().batch_execute("ROLLBACK").await.is_ok() {
            self.give_back();
            return failure;
        }
        // The transaction ends with its connection.
        self.close(failure)
    }

    /// Ends the lease, and the connection with it, after an error that leaves the session in who knows what state.
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
