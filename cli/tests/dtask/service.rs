//! The service to call, the built command line, and a proxy between them that can lose responses.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tests::{http, seed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// A generous limit for steps that take milliseconds.
const LONG: Duration = Duration::from_secs(60);

/// The whole service, running in this process.
pub(crate) struct Service {
    pub(crate) running: local::Running,
    folder: TempDir,
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::with(local::Options::default()).await
    }

    /// A service whose tasks stay pending.
    pub(crate) async fn without_worker() -> Self {
        Self::with(local::Options {
            worker_concurrency: 0,
            ..Default::default()
        })
        .await
    }

    async fn with(options: local::Options) -> Self {
        Self {
            running: local::start(options).await.expect("the service starts"),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.running.api)
    }

    /// Runs the command line to its end.
    pub(crate) async fn dtask(&self, arguments: &[&str]) -> Ran {
        dtask(&self.url(), arguments).await
    }

    /// Runs the command line with this standard input to its end.
    pub(crate) async fn dtask_with(&self, arguments: &[&str], input: String) -> Ran {
        let mut child = self.spawn(arguments);
        let mut stdin = child.stdin.take().expect("a pipe");
        let written = async move { stdin.write_all(input.as_bytes()).await };
        let (written, ran) = tokio::join!(written, finished(child));
        written.expect("it reads its input");
        ran
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        spawn(&self.url(), arguments)
    }

    /// Writes a file of lines, and returns its path.
    pub(crate) fn file<'a>(
        &self,
        name: &str,
        lines: impl IntoIterator<Item = &'a String>,
    ) -> String {
        let path: PathBuf = self.folder.path().join(name);
        let lines: String = lines
            .into_iter()
            .flat_map(|line| [line.as_str(), "\n"])
            .collect();
        std::fs::write(&path, lines).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }

    pub(crate) async fn index(&self, name: &str, ids: &[String]) {
        seed::index(&self.running.clients.s3vectors, name, ids).await;
    }

    pub(crate) async fn present(&self, index: &str, ids: &[String]) -> Vec<String> {
        seed::present(&self.running.clients.s3vectors, index, ids).await
    }

    /// Creates a task, without the command line.
    pub(crate) async fn create(&self, name: &str, ids: &[String]) {
        let body = serde_json::json!({"embedding_model_id": "embed-456", "task_id": name, "object_ids": ids});
        let path = format!("{}/run", http::ROOT);
        let kind = Some("application/json");
        let sent = http::send(self.running.api, "POST", &path, kind, body.to_string());
        sent.await.ok();
    }

    /// All tasks, as the service lists them.
    pub(crate) async fn tasks(&self) -> Vec<Value> {
        let path = format!("{}/list", http::ROOT);
        let list = http::send(self.running.api, "GET", &path, None, "")
            .await
            .ok();
        list["tasks"].as_array().expect("tasks").clone()
    }

    /// Fails the test unless there are tasks, and each has this value.
    pub(crate) async fn assert_every_task(&self, field: &str, value: impl Into<Value>) {
        let (tasks, value) = (self.tasks().await, value.into());
        assert!(!tasks.is_empty());
        for task in tasks {
            assert_eq!(task[field], value, "{task}");
        }
    }

    pub(crate) async fn until(&self, holds: impl Fn(&[Value]) -> bool) {
        let waited = tokio::time::timeout(LONG, async {
            while !holds(&self.tasks().await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("it comes true");
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn assert(&self, status: i32) {
        assert_eq!(self.status, Some(status), "{}\n{}", self.out, self.err);
    }

    /// Fails the test unless the standard output has this text.
    #[track_caller]
    pub(crate) fn assert_out(&self, text: &str) {
        assert!(self.out.contains(text), "{text:?} is not in:\n{}", self.out);
    }

    /// Fails the test unless the standard error has this text.
    #[track_caller]
    pub(crate) fn assert_err(&self, text: &str) {
        assert!(self.err.contains(text), "{text:?} is not in:\n{}", self.err);
    }

    /// The output's lines as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        self.assert(0);
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }
}

pub(crate) async fn dtask(api: &str, arguments: &[&str]) -> Ran {
    let mut child = spawn(api, arguments);
    drop(child.stdin.take());
    finished(child).await
}

pub(crate) fn spawn(api: &str, arguments: &[&str]) -> Child {
    spawn_with(api, arguments, &[])
}

/// Starts the command line with these variables and no other setting of AWS.
pub(crate) fn spawn_with(api: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
    let aws = std::env::vars().map(|(name, _)| name);
    let aws = aws.filter(|name| name.starts_with("AWS_"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtask"));
    for name in aws {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .env("DTASK_API", api)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the command line runs")
}

pub(crate) async fn finished(child: Child) -> Ran {
    let output = tokio::time::timeout(LONG, child.wait_with_output()).await;
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("it ends").expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        status: status.code(),
        out: text(stdout),
        err: text(stderr),
    }
}

/// Returns the first line of its output. The rest can still be read.
pub(crate) async fn first_line(child: &mut Child) -> String {
    let mut line = Vec::new();
    let out = child.stdout.as_mut().expect("a pipe");
    while line.last() != Some(&b'\n') {
        line.push(out.read_u8().await.expect("a line"));
    }
    String::from_utf8(line)
        .expect("UTF-8")
        .trim_end()
        .to_owned()
}

/// Interrupts it, like Ctrl-C.
pub(crate) fn interrupt(child: &Child) {
    let id = child.id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill")
        .args(["-s", "INT", &id])
        .status();
    assert!(sent.expect("kill runs").success());
}

/// What the proxy does to requests. A text is the beginning of the requests that are meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    /// The service carries the first such request out, and its response is lost.
    LoseResponse(&'static str),
    /// The very first request gets this response and does not reach the service.
    Respond(&'static str),
    /// All such requests get this response.
    RespondTo(&'static str, &'static str),
    /// No such request gets a response.
    Hold(&'static str),
}

/// A proxy in front of a service.
pub(crate) struct Proxy {
    address: std::net::SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    faults: AtomicU32,
    /// The beginnings of the requests.
    asked: Mutex<Vec<String>>,
}

impl Proxy {
    pub(crate) async fn start(service: &Service, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = Self {
            address: listener.local_addr().expect("an address"),
            state: Arc::default(),
        };
        let (upstream, state) = (service.running.api, Arc::clone(&proxy.state));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                let server = TcpStream::connect(upstream)
                    .await
                    .expect("the service listens");
                // This ends when either side hangs up.
                tokio::spawn(async move { state.pass(client, server, fault).await });
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often the fault happened.
    pub(crate) fn faults(&self) -> u32 {
        self.state.faults.load(Ordering::SeqCst)
    }

    /// Whether a request contained this text.
    pub(crate) fn was_asked(&self, text: &str) -> bool {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().any(|asked| asked.contains(text))
    }

    pub(crate) async fn until_asked(&self, beginning: &str) {
        self.until_asked_times(beginning, 1).await;
    }

    pub(crate) async fn until_asked_times(&self, beginning: &str, times: usize) {
        let asked = || {
            let asked = self.state.asked.lock().unwrap();
            asked
                .iter()
                .filter(|asked| asked.starts_with(beginning))
                .count()
                >= times
        };
        let waited = tokio::time::timeout(LONG, async {
            while !asked() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("it asks");
    }
}

impl State {
    async fn pass(
        &self,
        mut client: TcpStream,
        mut server: TcpStream,
        fault: Fault,
    ) -> std::io::Result<()> {
        let (mut sent, mut received) = ([0; 65_536], [0; 65_536]);
        let mut loses = false;
        loop {
            tokio::select! {
                read = client.read(&mut sent) => {
                    let bytes = &sent[..read?];
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    let is_first = self.faults.load(Ordering::SeqCst) == 0;
                    match fault {
                        Fault::LoseResponse(beginning) if is_first && text.starts_with(beginning) => {
                            self.faults.fetch_add(1, Ordering::SeqCst);
                            loses = true;
                        }
                        Fault::Hold(beginning) if text.starts_with(beginning) => {
                            self.asked.lock().unwrap().push(text);
                            // Wait until the caller hangs up.
                            let _ = client.read(&mut sent).await;
                            return Ok(());
                        }
                        Fault::RespondTo(beginning, response) if text.starts_with(beginning) => {
                            self.asked.lock().unwrap().push(text);
                            return client.write_all(response.as_bytes()).await;
                        }
                        Fault::Respond(response) if is_first => {
                            self.faults.fetch_add(1, Ordering::SeqCst);
                            return client.write_all(response.as_bytes()).await;
                        }
                        _ => {}
                    }
                    self.asked.lock().unwrap().push(text);
                    server.write_all(bytes).await?;
                }
                read = server.read(&mut received) => {
                    let bytes = &received[..read?];
                    if bytes.is_empty() || loses {
                        return Ok(());
                    }
                    client.write_all(bytes).await?;
                }
            }
        }
    }
}
