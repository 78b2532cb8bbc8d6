//! A real PostgreSQL with pgvector, one for each test process, and a schema in it for each test.
//!
//! `programs.rs` finds or fetches the server's programs. `front.rs` is a proxy in front of the
//! server: it counts what goes over the wire, speaks TLS, and can go silent. `pgbouncer.rs` starts
//! a pooler in front of the server.

mod front;
mod pgbouncer;
mod programs;

pub use front::Front;
pub use pgbouncer::PgBouncer;

use programs::Home;
use shared::clock::Clock;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config, NoTls};

/// How long the server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The name of the role that owns everything.
const ADMIN: &str = "postgres";

/// A shell script that keeps the server. It restarts the server at each line of its input, and ends
/// the server at the end of its input, when the test process has ended in any way.
const KEEPER: &str = r#"
    while :; do
        "$1/bin/postgres" -D "$2/data" >>"$2/log" 2>&1 &
        server=$!
        if read -r _; then
            kill -INT $server; wait $server
        else
            kill -QUIT $server; wait $server
            rm -rf "$2"
            exit
        fi
    done
"#;

/// A server. It ends, and its data is removed, when this is dropped or the process ends.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    sockets: PathBuf,
    password: String,
    keeper: Mutex<Child>,
}

/// One test's part of a server: a schema, and a role that finds its tables there.
#[derive(Debug)]
pub struct Database {
    /// The name of the schema, and of the role that the service logs in as.
    pub name: String,
    /// The name of the database that has the schema.
    pub database: String,
    /// The address that the server listens on.
    pub server: SocketAddr,
    /// The directory of the server's Unix socket.
    pub sockets: PathBuf,
    /// The password that the service logs in with.
    pub password: String,
    /// A connection of the role that may do anything.
    pub admin: Client,
    config: Config,
}

impl Postgres {
    /// The server that all tests of this process share.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// Starts a separate server.
    ///
    /// # Panics
    /// When there is no server to start. The message says what to do.
    pub async fn start() -> Self {
        // Another program may take the port in between.
        for _ in 0..3 {
            let server = Self::start_in(&Home::new().await, free_port());
            if server.wait_until_ready().await {
                let admin = server.connect(ADMIN).await.expect("the server responds");
                let extension = admin.batch_execute("CREATE EXTENSION vector");
                extension.await.expect("the server has pgvector");
                return server;
            }
        }
        panic!("PostgreSQL does not start");
    }

    fn start_in(home: &Home, port: u16) -> Self {
        let password = format!("{:x}", new_number());
        let password_file = home.path.join("password");
        std::fs::write(&password_file, &password).expect("a file can be written");
        home.own(&password_file);
        let data = home.path.join("data");
        let made = home
            .command(home.programs.join("bin/initdb"))
            .args([
                "--username",
                ADMIN,
                "--auth=scram-sha-256",
                "--encoding=UTF8",
            ])
            .args(["--locale=C", "--no-sync", "--pgdata"])
            .arg(&data)
            .arg(format!("--pwfile={}", password_file.display()))
            .output()
            .expect("initdb can be run");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {said}");
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             max_connections = 300\nautovacuum = off\n",
            home.path.display()
        );
        let file = data.join("postgresql.auto.conf");
        std::fs::write(&file, settings).expect("a file can be written");
        let keeper = home
            .command("/bin/sh")
            .args(["-c", KEEPER, "keeper"])
            .args([&home.programs, &home.path])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // So Ctrl-C at the test's terminal does not reach the server.
            .process_group(0)
            .spawn();
        Self {
            port,
            sockets: home.path.clone(),
            password,
            keeper: Mutex::new(keeper.expect("a shell can be run")),
        }
    }

    async fn wait_until_ready(&self) -> bool {
        let ready = async {
            while self.connect(ADMIN).await.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(START_TIMEOUT, ready).await.is_ok()
    }

    /// Ends the server with all its connections, and starts it again on the same port.
    pub async fn restart(&self) {
        let before = self.started_at().await;
        {
            let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
            let stdin = keeper.stdin.as_mut().expect("a pipe");
            stdin.write_all(b"again\n").expect("the keeper reads");
        }
        let again = async {
            while [None, before.clone()].contains(&self.started_at().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(START_TIMEOUT, again).await;
        waited.expect("PostgreSQL starts again");
    }

    /// Restarts the server as a replica that its primary no longer reaches. It serves reads of the
    /// data that it has, and refuses writes.
    pub async fn restart_as_replica(&self) {
        let admin = self.connect(ADMIN).await.expect("the server responds");
        let row = admin.query_one("SHOW data_directory", &[]).await;
        let data: String = row.expect("a setting").get(0);
        let signal = std::path::Path::new(&data).join("standby.signal");
        std::fs::write(signal, "").expect("a file can be written");
        self.restart().await;
    }

    async fn started_at(&self) -> Option<String> {
        let admin = self.connect(ADMIN).await?;
        let row = admin.query_one("SELECT pg_postmaster_start_time()::text", &[]);
        row.await.ok().map(|row| row.get(0))
    }

    fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user(ADMIN)
            .password(&self.password)
            .dbname(database);
        config
    }

    async fn connect(&self, database: &str) -> Option<Client> {
        connect(&self.config(database)).await
    }

    /// Creates a schema in the database that the tests share, and a role that has no rights there
    /// yet.
    pub async fn database(&self) -> Database {
        self.schema_in(ADMIN).await
    }

    /// Creates the same in a separate database, which is created with these options.
    pub async fn database_with(&self, options: &str) -> Database {
        let name = new_name();
        let maker = self.connect(ADMIN).await.expect("the server responds");
        let make = format!("CREATE DATABASE {name} {options}");
        let made = maker.batch_execute(&make).await;
        made.expect("a database is made");
        self.schema_in(&name).await
    }

    /// Drops a database that [`Postgres::database_with`] created.
    pub async fn drop_database(&self, database: Database) {
        let name = &database.database;
        let maker = self.connect(ADMIN).await.expect("the server responds");
        let drop = format!("DROP DATABASE {name} WITH (FORCE)");
        let dropped = maker.batch_execute(&drop).await;
        dropped.expect("a database is dropped");
    }

    async fn schema_in(&self, database: &str) -> Database {
        let name = new_name();
        let password = format!("secret-of-{name}");
        let mut config = self.config(database);
        config.options(format!("-c search_path={name},public"));
        let admin = connect(&config).await.expect("the server responds");
        let make = format!(
            "CREATE SCHEMA {name}; CREATE ROLE {name} LOGIN PASSWORD '{password}'; \
             ALTER ROLE {name} SET search_path = {name}, public; GRANT USAGE ON SCHEMA {name} TO {name}"
        );
        let made = admin.batch_execute(&make).await;
        made.expect("a schema and a role are made");
        Database {
            name,
            database: database.to_owned(),
            server: SocketAddr::from(([127, 0, 0, 1], self.port)),
            sockets: self.sockets.clone(),
            password,
            admin,
            config,
        }
    }
}

fn new_name() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let keeper = self
            .keeper
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        drop(keeper.stdin.take());
        let _ = keeper.wait();
    }
}

impl Database {
    /// The database's URL for the service, with the password and these parameters.
    pub fn url(&self, parameters: &str) -> String {
        self.url_at(&self.server.to_string(), parameters)
    }

    /// The database's URL through a proxy that listens at `address`.
    pub fn url_at(&self, address: &str, parameters: &str) -> String {
        let Self {
            name,
            password,
            database,
            ..
        } = self;
        format!("postgres://{name}:{password}@{address}/{database}?{parameters}")
    }

    /// Connects again, as after the server was started again.
    pub async fn reconnect(&mut self) {
        self.admin = connect(&self.config).await.expect("the server responds");
    }

    /// Carries out statements as the role that may do anything.
    pub async fn run(&self, statements: &str) {
        let done = self.admin.batch_execute(statements).await;
        done.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    /// The number that a statement returns.
    pub async fn number(&self, statement: &str) -> i64 {
        let row = self.admin.query_one(statement, &[]).await;
        row.unwrap_or_else(|error| panic!("{statement}: {error:?}"))
            .get(0)
    }

    /// Locks a table's rows until what this returns is dropped.
    pub async fn lock_rows(&self, table: &str) -> Client {
        let client = connect(&self.config).await.expect("the server responds");
        let lock = format!("BEGIN; SELECT FROM {table} FOR UPDATE");
        client.batch_execute(&lock).await.expect("rows are locked");
        client
    }

    /// Cuts the service's connections, and returns how many there were.
    pub async fn cut_connections(&self) -> i64 {
        let name = &self.name;
        self.number(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{name}'"
        ))
        .await
    }

    /// Waits until the service runs no statement and no transaction.
    pub async fn until_nothing_runs(&self) {
        let name = &self.name;
        let running = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = '{name}' AND state <> 'idle'"
        );
        let ended = async {
            while self.number(&running).await > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
        ended.expect("every statement ends");
    }

    /// Waits until a statement of the service waits for a lock.
    pub async fn until_locked_out(&self) {
        let name = &self.name;
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = '{name}' AND wait_event_type = 'Lock'"
        );
        let waits = async {
            while self.number(&waiting).await == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), waits).await;
        waited.expect("a statement waits for a lock");
    }
}

async fn connect(config: &Config) -> Option<Client> {
    let (client, connection) = config.connect(NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A number for a password, different for each server of these tests.
fn new_number() -> u128 {
    let now = Clock::System
        .now()
        .timestamp_nanos_opt()
        .unwrap_or_default();
    (u128::from(now.unsigned_abs()) << 32) | u128::from(std::process::id())
}
