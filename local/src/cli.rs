//! The command line.

use crate::options::{Events, Options, Ports, Throttle};
use crate::output;
use clap::error::ErrorKind;
use clap::{Parser, value_parser};
use shared::events::TaskEvent;
use shared::telemetry::LogLevel;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The exit code for a wrong command line, the same as clap's own.
const USAGE: u8 = 2;

const EXAMPLE: &str = r#"Example:
  deletion-tasks --port 9000 --data ./data

  In another terminal, paste the `curl` command that it prints, then read the task:
    curl 'http://127.0.0.1:9000/internal/deletion-tasks/info?task_id=delete-xyz'

  To inspect the embedded services with the AWS CLI or any SDK, export the three
  AWS_ENDPOINT_URL_… lines that it prints. Credentials and a region are required, but any
  values work:
    export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1
    aws dynamodb scan --table-name deletion-tasks
    aws sqs get-queue-url --queue-name deletion-tasks-dlq --endpoint-url "$AWS_ENDPOINT_URL_SQS"
    aws s3vectors get-vectors --vector-bucket-name demo --index-name embed-456 --keys obj-1

  Each change of a task's status is printed: in a terminal as a line of text, otherwise as the
  JSON of its EventBridge event.

  Ctrl-C stops it. Logs go to standard error."#;

/// Runs Deletion Tasks on one machine: the API, the worker and the sweeper, with embedded DynamoDB,
/// SQS and S3 Vectors.
///
/// It needs no Docker, no Java and no AWS account, and listens only on 127.0.0.1. State is in
/// memory and lost at exit, unless --data keeps the tasks. For a first try, the index `embed-456`
/// holds obj-1 and obj-3 to obj-1000.
#[derive(Debug, Parser)]
#[command(name = "deletion-tasks", version, after_long_help = EXAMPLE, after_help = "For details and an example, use --help.")]
pub struct Arguments {
    /// Port of the API; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 9000)]
    port: u16,

    /// Port of DynamoDB; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    dynamodb_port: u16,

    /// Port of SQS; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    sqs_port: u16,

    /// Port of S3 Vectors; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    s3vectors_port: u16,

    /// Also accept this name in a request's `Host` header; may be repeated
    ///
    /// By default only 127.0.0.0/8, `[::1]` and localhost are accepted, so that no page of another
    /// origin can reach the runner through its own name. Containers and forwarded ports may need
    /// another name, such as host.docker.internal.
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    allow_host: Vec<String>,

    /// Enforce the rate limits of the real S3 Vectors in the embedded one
    ///
    /// Each index accepts 2,500 written vectors, 1,000 write calls and 300 read calls per second. A
    /// call above these rates gets a 429.
    #[arg(long)]
    throttle: bool,

    /// Keep the tasks in this directory; by default they are in memory
    ///
    /// The queue and the vectors are always in memory. At the next start, the sweeper finds the
    /// unfinished tasks.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Send and print no events for changes of a task's status
    #[arg(long)]
    no_events: bool,

    /// Send the events to EventBridge at this URL instead of printing them
    #[arg(
        long,
        value_name = "URL",
        env = "AWS_ENDPOINT_URL_EVENTBRIDGE",
        hide_env_values = true
    )]
    eventbridge: Option<String>,

    /// Event bus to use with --eventbridge
    #[arg(
        long,
        value_name = "NAME",
        env = "EVENT_BUS",
        hide_env_values = true,
        default_value = "default"
    )]
    event_bus: String,

    /// Vector stores by embedding model
    ///
    /// A JSON object that maps patterns of model ids to store URLs. The first match, in the order
    /// written, wins. `s3vectors://` is the embedded S3 Vectors, `postgres://` your own database,
    /// `https://` any store that speaks the store protocol. By default, the index of each model has
    /// the model's name and is in the bucket `demo`: {"*": "s3vectors://demo/{embedding_model_id}"}
    #[arg(
        long,
        value_name = "JSON",
        env = "VECTOR_STORES",
        hide_env_values = true
    )]
    vector_stores: Option<String>,

    /// Password for a PostgreSQL store whose URL has none; prefer the environment variable
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "VECTOR_STORE_PASSWORD",
        hide_env_values = true
    )]
    vector_store_password: Option<String>,

    /// Token for a store at an https:// URL with auth=bearer; prefer the environment variable
    #[arg(
        long,
        value_name = "TOKEN",
        env = "VECTOR_STORE_TOKEN",
        hide_env_values = true
    )]
    vector_store_token: Option<String>,

    /// Run no worker, and leave the messages to one that runs elsewhere, such as under
    /// `cargo lambda watch`
    #[arg(long)]
    no_worker: bool,

    /// Timeout of one worker invocation
    ///
    /// The queue's visibility timeout is six times as long.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = value_parser!(u64).range(1..=900))]
    worker_timeout: u64,

    /// How often the sweeper runs
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = value_parser!(u64).range(1..=86_400))]
    sweep_interval: u64,

    /// How many days a task is kept [default: 90]
    #[arg(
        long,
        value_name = "DAYS",
        env = "RETENTION_DAYS",
        hide_env_values = true
    )]
    retention_days: Option<String>,

    /// If a task id is reused with another model or other objects, `return` the stored task or
    /// `reject` with 409 [default: return]
    #[arg(
        long,
        value_name = "CHOICE",
        env = "TASK_ID_REUSE",
        hide_env_values = true
    )]
    task_id_reuse: Option<String>,

    /// Index partitions per status; never reduce it for an existing --data directory [default: 4]
    #[arg(
        long,
        value_name = "NUMBER",
        env = "LIST_SHARDS",
        hide_env_values = true
    )]
    list_shards: Option<String>,

    /// How much to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL", hide_env_values = true, value_parser = log_level)]
    log_level: Option<LogLevel>,
}

/// Reads the command line. If it is wrong or asks for help, prints the error or the help and
/// returns the exit code.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, ExitCode> {
    Arguments::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::print(error.render().ansi());
            ExitCode::SUCCESS
        }
        _ => {
            output::fail(in_one_line(&error));
            ExitCode::from(USAGE)
        }
    })
}

impl Arguments {
    /// How much to log.
    pub fn log_level(&self) -> LogLevel {
        self.log_level.unwrap_or_default()
    }

    /// The options of the run. `print`: prints an event.
    pub fn options(self, print: impl Fn(&TaskEvent) + Send + Sync + 'static) -> Options {
        let events = match self.eventbridge.filter(|url| !url.trim().is_empty()) {
            _ if self.no_events => None,
            None => Some(Events::Told(Arc::new(print))),
            Some(endpoint) => Some(Events::Bus {
                endpoint,
                name: self.event_bus,
            }),
        };
        let settings = [
            ("VECTOR_STORES", self.vector_stores),
            ("VECTOR_STORE_PASSWORD", self.vector_store_password),
            ("VECTOR_STORE_TOKEN", self.vector_store_token),
            ("RETENTION_DAYS", self.retention_days),
            ("TASK_ID_REUSE", self.task_id_reuse),
            ("LIST_SHARDS", self.list_shards),
        ];
        let defaults = Options::default();
        let worker_concurrency = if self.no_worker {
            0
        } else {
            defaults.worker_concurrency
        };
        let throttle = Throttle::default();
        throttle.turn(self.throttle);
        Options {
            events,
            throttle,
            ports: Ports {
                api: self.port,
                dynamodb: self.dynamodb_port,
                sqs: self.sqs_port,
                s3vectors: self.s3vectors_port,
            },
            allow_hosts: self.allow_host,
            data: self.data,
            worker_timeout: Duration::from_secs(self.worker_timeout),
            worker_concurrency,
            sweep_interval: Some(Duration::from_secs(self.sweep_interval)),
            settings: settings
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect(),
            ..defaults
        }
    }
}

fn host_name(text: &str) -> Result<String, &'static str> {
    let is_ip = text.parse::<std::net::IpAddr>().is_ok();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._[]".contains(c);
    if is_ip || (!text.is_empty() && text.chars().all(is_part)) {
        Ok(text.to_owned())
    } else {
        Err("give only a name or an address, without http:// and without a port")
    }
}

fn log_level(text: &str) -> Result<LogLevel, &'static str> {
    match text.trim() {
        "" => Ok(LogLevel::default()),
        text => text
            .parse()
            .map_err(|()| "choose error, warn, info, debug or trace"),
    }
}

/// clap's message on one line: the error, its tip, and a pointer to the help.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let parts = text.lines().map(str::trim).filter(|line| {
        !line.is_empty() && !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    let line = parts.collect::<Vec<_>>().join("; ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    format!("{line}; see --help")
}

#[cfg(test)]
mod tests;
