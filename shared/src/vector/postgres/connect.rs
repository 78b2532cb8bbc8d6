//! Connecting: credentials, TLS, and the settings of a session.

use super::address::{Address, PasswordSource};
use super::errors::Failure;
use super::tls::Tls;
use crate::vector::password::Credentials;
use crate::vector::port::{Services, VectorError, VectorErrorKind};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Config, Connection, NoTls, Socket};

/// The time after which a connection counts as lost if what was sent is not acknowledged.
pub(super) const UNACKNOWLEDGED: Duration = Duration::from_secs(4);
/// Sets the session up as each call expects it. It undoes what a trigger or a function has set in
/// the session, and removes temporary tables that were left there and would hide others of the same
/// name. It limits how long the server lets a statement run and wait for a lock. A delete must not
/// be carried out later than [`VECTOR_CALL_TIMEOUT`](crate::aws::VECTOR_CALL_TIMEOUT) after its
/// call began, so it gets what is left of that time.
const SESSION: &str = "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DISCARD TEMP; \
    SET statement_timeout = 4000; SET lock_timeout = 3000; SET idle_in_transaction_session_timeout = 9000";

/// Returns the statements that set a session up. Unless `may_hide`, a read fails if row security
/// would hide rows from it, even behind a view.
pub(super) fn session(may_hide: bool) -> String {
    format!(
        "{SESSION}; SET row_security = {}",
        if may_hide { "on" } else { "off" }
    )
}

/// The longest that a statement runs at the server.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// Where [`Credentials`] come from.
#[derive(Debug)]
enum CredentialsSource {
    Fixed(Credentials),
    #[cfg(feature = "secrets-manager")]
    Secret(crate::vector::secret::Secret),
}

/// Makes connections to one database.
pub(super) struct Connector {
    address: Address,
    session: String,
    credentials: CredentialsSource,
    tls: OnceCell<Option<Tls>>,
}

impl Connector {
    pub(super) fn new(address: Address, may_hide: bool, services: &Services) -> Self {
        let fixed = |password| {
            CredentialsSource::Fixed(Credentials {
                user: None,
                password,
            })
        };
        let credentials = match &address.password {
            PasswordSource::Environment => fixed(services.password.clone()),
            PasswordSource::Url(password) => fixed(Some(password.clone())),
            #[cfg(feature = "secrets-manager")]
            PasswordSource::Secret(arn) => {
                CredentialsSource::Secret(crate::vector::secret::Secret::new(&services.aws, arn))
            }
        };
        Self {
            address,
            session: session(may_hide),
            credentials,
            tls: OnceCell::new(),
        }
    }

    /// The statements that set a session up.
    pub(super) fn session(&self) -> &str {
        &self.session
    }

    /// The TLS of the connections so far, if any was made with TLS.
    pub(super) fn known_tls(&self) -> Option<Tls> {
        self.tls.get().cloned().flatten()
    }

    /// Logs in.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        match &self.credentials {
            CredentialsSource::Fixed(credentials) => self.connect_as(credentials).await,
            #[cfg(feature = "secrets-manager")]
            CredentialsSource::Secret(secret) => {
                if let Some(known) = secret.known() {
                    match self.connect_as(&known).await {
                        // The password may have changed since it was fetched.
                        Err(error) if error.is_authentication() => {}
                        other => return other,
                    }
                }
                self.connect_as(&secret.fetch().await?).await
            }
        }
    }

    async fn connect_as(&self, credentials: &Credentials) -> Result<Client, Failure> {
        let address = &self.address;
        let user = address.user.as_ref().or(credentials.user.as_ref());
        // Over a socket, the library logs in as the system's user, as libpq does.
        if user.is_none() && !address.is_socket() {
            return Err(Failure::Sorted(VectorError {
                kind: VectorErrorKind::Denied,
                detail: "Neither the vector store's URL nor its secret names a user".to_owned(),
                code: "no user".to_owned(),
                source: None,
            }));
        }
        let mut config = Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .dbname(&address.database)
            .application_name(&address.application_name)
            .ssl_mode(address.trust.ssl_mode())
            .connect_timeout(address.connect_timeout)
            .tcp_user_timeout(UNACKNOWLEDGED)
            .keepalives_idle(Duration::from_secs(30));
        if let Some(user) = user {
            config.user(user);
        }
        if let Some(ip) = address.host_address {
            config.hostaddr(ip);
        }
        if let Some(options) = &address.options {
            config.options(options);
        }
        if let Some(password) = &credentials.password {
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
        client.batch_execute(&self.session).await?;
        Ok(client)
    }

    async fn tls(&self) -> Result<Option<&Tls>, Failure> {
        let make = async || {
            self.address.trust.connector().map_err(|error| VectorError {
                kind: VectorErrorKind::Denied,
                detail: "TLS to the vector store could not be set up".to_owned(),
                code: "tls".to_owned(),
                source: Some(error.into()),
            })
        };
        Ok(self.tls.get_or_try_init(make).await?.as_ref())
    }
}

/// Drives the connection until it ends. A call that still waits for a response then gets its own
/// error.
fn spawn<T>(connection: Connection<Socket, T>)
where
    T: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        let _ = connection.await;
    });
}
