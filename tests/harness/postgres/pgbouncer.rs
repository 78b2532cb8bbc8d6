//! A real PgBouncer in front of a database.

use super::{Database, free_port};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;

/// The program's path in Debian.
const PROGRAM: &str = "/usr/sbin/pgbouncer";
/// The user `nobody`. PgBouncer refuses to run as root.
const NOBODY: u32 = 65534;

/// A running PgBouncer. It ends when this is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    /// The address that it listens on.
    pub address: SocketAddr,
    home: PathBuf,
    child: Child,
}

impl PgBouncer {
    /// Starts PgBouncer in this pool mode. If the program is not installed, prints that and returns
    /// `None`. `.ci/run` installs it.
    ///
    /// # Panics
    /// When it does not start, or when it is missing under `.ci/run`.
    pub async fn before(database: &Database, pool_mode: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            #[allow(
                clippy::disallowed_methods,
                reason = "the service does not know this variable"
            )]
            let is_ci = std::env::var_os("CI").is_some();
            assert!(!is_ci, "there is no {PROGRAM}: .ci/run installs it");
            #[allow(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("SKIPPED: there is no {PROGRAM}. On Debian: apt-get install pgbouncer");
            }
            return None;
        }
        let port = free_port();
        let name = format!("deletion-tasks-pgbouncer-{}-{port}", std::process::id());
        let home = std::env::temp_dir().join(name);
        fs::create_dir(&home).expect("a directory");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {pool_mode}\ndefault_pool_size = 2\n",
            database.server.port(),
            home.join("users").display(),
        );
        let users = format!("\"{}\" \"{}\"\n", database.name, database.password);
        fs::write(home.join("users"), users).expect("a file can be written");
        let file = home.join("settings");
        fs::write(&file, settings).expect("a file can be written");
        let mut command = Command::new(PROGRAM);
        command.arg("-q").arg(&file);
        if fs::metadata(&home).expect("it is there").uid() == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let this = Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            home,
            child: child.expect("PgBouncer can be run"),
        };
        let ready = async {
            while TcpStream::connect(this.address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), ready).await;
        waited.expect("PgBouncer listens");
        Some(this)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}
