//! The built functions, run as Lambda runs them.
//!
//! Each is a process with only the variables that `template.yaml` and Lambda give it, and is fed by
//! a Lambda Runtime API on loopback.
//!
//! `binaries.rs` builds the functions, `variables.rs` is their environment, and `server.rs` is the
//! Runtime API.

mod binaries;
mod server;
mod variables;

pub use binaries::cargo;
pub use variables::{SECRET, template_variables};

use crate::files::in_repository;
use crate::http::Reply;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use local::Running;
use serde_json::Value;
use server::RuntimeApi;
use std::collections::BTreeSet;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long an invocation may take: the longest that `template.yaml` allows any function.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long after its deadline a function counts as not responding. A test that must be as exact as
/// Lambda kills the function.
const SLACK: Duration = Duration::from_secs(1);
/// How long a process may take until it asks for its first event.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a process may take to end after it has nothing more to do.
const EXIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A running function: one process that is invoked once or many times. It is killed when this is
/// dropped.
#[derive(Debug)]
pub struct Function {
    name: String,
    process: Child,
    api: RuntimeApi,
    stdout: Captured,
    stderr: Captured,
}

/// A function that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it logged.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// The names of the functions: the folders in `functions/`.
pub fn function_names() -> BTreeSet<String> {
    names_in("functions")
}

/// The names of the events: the files in `events/`, without `.json`.
pub fn event_names() -> BTreeSet<String> {
    names_in("events")
}

/// Builds the functions. Otherwise the first start of a function builds them.
///
/// # Panics
/// When they cannot be built.
pub async fn build() {
    for name in function_names() {
        binaries::built(&name).await;
    }
}

fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(in_repository(folder)).expect("a folder of the repository");
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let name = path.file_stem().expect("a name");
            name.to_str().expect("a name in UTF-8").to_owned()
        })
        .collect()
}

/// Reads the event of this name from `events/`.
pub fn event(name: &str) -> Value {
    let path = in_repository("events").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Function {
    /// Starts the function of this name over the services of `running`.
    pub async fn start(name: &str, running: &Running) -> Self {
        Self::start_with(name, variables::of(name, running)).await
    }

    /// Starts the function over the services of `running`, with some variables of its environment
    /// changed.
    pub async fn start_changed(name: &str, running: &Running, changes: &[(&str, String)]) -> Self {
        Self::start_with(name, changed(name, running, changes)).await
    }

    /// Starts the function with only the variables that Lambda itself sets, and none of
    /// `template.yaml`.
    pub async fn start_unconfigured(name: &str) -> Self {
        Self::start_with(name, Vec::new()).await
    }

    async fn start_with(name: &str, variables: Vec<(String, String)>) -> Self {
        let command = Command::new(binaries::built(name).await);
        Self::spawn(name, command, variables).await
    }

    /// As [`Function::start_changed`], for a program that replaces the function or runs it.
    pub async fn start_command(
        name: &str,
        command: Command,
        running: &Running,
        changes: &[(&str, String)],
    ) -> Self {
        Self::spawn(name, command, changed(name, running, changes)).await
    }

    async fn spawn(name: &str, mut command: Command, variables: Vec<(String, String)>) -> Self {
        let api = RuntimeApi::start(name).await;
        let mut process = command
            .env_clear()
            .envs(variables::of_lambda(name, api.address()))
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            stdout: Captured::of(process.stdout.take().expect("it is piped")),
            stderr: Captured::of(process.stderr.take().expect("it is piped")),
            name: name.to_owned(),
            process,
            api,
        }
    }

    /// What the function logged so far.
    pub fn log(&self) -> String {
        self.stdout.text()
    }

    /// Waits until the function has started and asks for an event.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ready(&self) {
        let ready = timeout(START_TIMEOUT, self.api.asked()).await;
        ready.unwrap_or_else(|_| panic!("{} does not start: {}", self.name, self.stderr.text()));
    }

    /// Invokes the function. Returns `Ok` with its response, or `Err` with the error that it
    /// reported.
    ///
    /// # Panics
    /// When it ends instead of responding, does not respond in time, or misuses the Runtime API.
    pub async fn invoke(&mut self, event: &Value) -> Result<Value, Value> {
        self.invoke_within(INVOCATION_TIMEOUT, event).await
    }

    /// As [`Function::invoke`], for a function whose timeout is `time`. If a call is dropped
    /// half-way, as when the function is killed, it must be the last call of this process.
    ///
    /// # Panics
    /// As [`Function::invoke`].
    pub async fn invoke_within(&mut self, time: Duration, event: &Value) -> Result<Value, Value> {
        let outcome = self.api.invoke(event, time);
        let outcome = tokio::select! {
            outcome = timeout(time + SLACK, outcome) => outcome.map_err(|_| "does not respond".to_owned()),
            status = self.process.wait() => Err(match status {
                Ok(status) => format!("ended instead of responding: {status}"),
                Err(error) => format!("is lost: {error}"),
            }),
        };
        let complaints = self.api.complaints();
        let outcome = match outcome {
            Ok(outcome) if complaints.is_empty() => return outcome,
            Ok(_) => "misused the Runtime API".to_owned(),
            Err(what) => what,
        };
        panic!(
            "{} {outcome}\n{}\n-- standard output:\n{}\n-- standard error:\n{}",
            self.name,
            complaints.join("\n"),
            self.stdout.text(),
            self.stderr.text(),
        );
    }

    /// Invokes the function with a request from API Gateway, and returns what API Gateway's caller
    /// sees.
    ///
    /// # Panics
    /// As [`Function::invoke`], and when the function reports an error or its response is not one
    /// for API Gateway.
    pub async fn call(&mut self, event: &Value) -> Reply {
        match self.invoke(event).await {
            Ok(answer) => reply(&answer),
            Err(error) => panic!("{} failed: {error}", self.name),
        }
    }

    /// The process's memory in kilobytes, if the system reports it. `field` is a field of the
    /// process's status (proc(5)), such as `VmHWM`, the peak of the resident memory.
    pub fn memory(&self, field: &str) -> Option<u64> {
        let path = format!("/proc/{}/status", self.process.id()?);
        let status = std::fs::read_to_string(path).ok()?;
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }

    /// The process's id, as long as it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Kills the function (SIGKILL), as Lambda does when it no longer needs it, and returns all its
    /// output.
    pub async fn end(mut self) -> Ended {
        self.process.start_kill().expect("it can be killed");
        self.ended().await
    }

    /// Waits until the function ends by itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ended(mut self) -> Ended {
        let status = timeout(EXIT_TIMEOUT, self.process.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("{} does not end", self.name));
        Ended {
            status: status.expect("its status can be asked for"),
            stdout: self.stdout.whole().await,
            stderr: self.stderr.whole().await,
        }
    }
}

/// The variables of a function, with some of them changed.
fn changed(name: &str, running: &Running, changes: &[(&str, String)]) -> Vec<(String, String)> {
    let mut variables = variables::of(name, running);
    let changes = changes.iter();
    // If a variable has two values, the process gets the last.
    variables.extend(changes.map(|(name, value)| ((*name).to_owned(), value.clone())));
    variables
}

/// The HTTP response that API Gateway makes from a function's response, for a REST API or an HTTP
/// API.
///
/// # Panics
/// When API Gateway could not make one.
pub fn reply(answer: &Value) -> Reply {
    let status = answer["statusCode"].as_u64();
    let status = status.and_then(|status| u16::try_from(status).ok());
    assert_ne!(answer["isBase64Encoded"], true, "JSON needs no base64");
    let text = answer["body"].as_str().unwrap_or_default().to_owned();
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &Value| {
        let name: HeaderName = name.parse().expect("a header's name");
        let value = value.as_str().expect("a header's value is a string");
        headers.append(
            name,
            HeaderValue::from_str(value).expect("a header's value"),
        );
    };
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        add(name, value);
    }
    for (name, values) in answer["multiValueHeaders"]
        .as_object()
        .into_iter()
        .flatten()
    {
        for value in values.as_array().into_iter().flatten() {
            add(name, value);
        }
    }
    Reply {
        status: status.unwrap_or_else(|| panic!("not an answer to API Gateway: {answer}")),
        headers,
        json: serde_json::from_str(&text).unwrap_or_default(),
        text,
    }
}

/// The output of a process, read as it arrives.
#[derive(Debug)]
struct Captured {
    text: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Captured {
    fn of(stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let text = Arc::<Mutex<String>>::default();
        let reading = tokio::spawn({
            let text = Arc::clone(&text);
            async move {
                let mut lines = BufReader::new(stream).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let mut text = text.lock().expect("not poisoned");
                    text.push_str(&line);
                    text.push('\n');
                }
            }
        });
        Self { text, reading }
    }

    /// What was read so far.
    fn text(&self) -> String {
        self.text.lock().expect("not poisoned").clone()
    }

    /// All of the output, once the process has ended.
    async fn whole(mut self) -> String {
        let read = timeout(EXIT_TIMEOUT, &mut self.reading).await;
        read.expect("the stream ends with the process")
            .expect("reading does not panic");
        self.text()
    }
}
