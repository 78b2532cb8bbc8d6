//! What can be chosen about a run.

use aws_sdk_dynamodb::config::SharedHttpClient;
use shared::clock::Clock;
use shared::task::ChunkLimits;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The default of `VECTOR_STORES`: every model's index is in the embedded S3 Vectors bucket `demo`.
pub const DEFAULT_VECTOR_STORES: &str = r#"{"*": "s3vectors://demo/{embedding_model_id}"}"#;

/// A message stays invisible for this many times the worker's timeout, as AWS asks for.
const VISIBILITY_FACTOR: u32 = 6;

/// What can be chosen about a run. The default is what the tests want: any free ports, state in memory.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen, on loopback.
    pub ports: Ports,
    /// Names of this machine, beside those of loopback, that a request's `Host` may have.
    pub allow_hosts: Vec<String>,
    /// The directory that keeps the tasks; absent: memory.
    pub data: Option<PathBuf>,
    /// How long one worker invocation may take.
    pub worker_timeout: Duration,
    /// How many worker invocations run at a time; with 0 nothing is received, and whoever started this calls the worker.
    pub worker_concurrency: usize,
    /// The most messages in one invocation, 1 to 10.
    pub batch_size: u8,
    /// How long a received message stays invisible; absent: six times `worker_timeout`. SQS counts in whole seconds.
    pub visibility_timeout: Option<Duration>,
    /// How often a message is received before it goes to the dead-letter queue.
    pub max_receive_count: u32,
    /// How often the sweeper runs; absent: never, and whoever started this calls it.
    pub sweep_interval: Option<Duration>,
    /// Where the handlers, and DynamoDB's Time to Live in memory, get the time from.
    pub clock: Clock,
    /// How large a chunk of a task may be. As deployed, unless a test wants large tasks of few objects.
    pub chunk_limits: ChunkLimits,
    /// Settings by their environment variables' names, such as `VECTOR_STORES`. The process's environment is not read.
    pub settings: Vec<(String, String)>,
    /// Whether the embedded S3 Vectors refuses what is beyond the real service's rates.
    pub throttle: Throttle,
    /// The HTTP client under the handlers' SDK clients, for tests that count or break calls on the wire. What the runner
    /// itself calls (setup, the event source) and [`crate::Running::clients`] do not use it.
    pub http_client: Option<SharedHttpClient>,
}

/// A switch, off at first. Clones are one, so it may be turned on while everything runs.
#[derive(Clone, Debug, Default)]
pub struct Throttle(Arc<AtomicBool>);

impl Throttle {
    /// Turns it on or off.
    pub fn turn(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where to listen; 0 is any free port.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// The API.
    pub api: u16,
    /// DynamoDB.
    pub dynamodb: u16,
    /// SQS.
    pub sqs: u16,
    /// S3 Vectors.
    pub s3vectors: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ports: Ports::default(),
            allow_hosts: Vec::new(),
            data: None,
            worker_timeout: Duration::from_secs(30),
            worker_concurrency: 2,
            batch_size: 10,
            visibility_timeout: None,
            max_receive_count: 20,
            sweep_interval: Some(Duration::from_secs(60)),
            clock: Clock::System,
            chunk_limits: ChunkLimits::default(),
            settings: Vec::new(),
            throttle: Throttle::default(),
            http_client: None,
        }
    }
}

impl Options {
    pub(crate) fn visibility_timeout(&self) -> Duration {
        self.visibility_timeout
            .unwrap_or(self.worker_timeout * VISIBILITY_FACTOR)
    }
}
