//! The options of a run.

use aws_sdk_dynamodb::config::SharedHttpClient;
use shared::clock::Clock;
use shared::events::TaskEvent;
use shared::task::ChunkLimits;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The default of `VECTOR_STORES`: every model's index is in the embedded S3 Vectors bucket `demo`.
pub const DEFAULT_VECTOR_STORES: &str = r#"{"*": "s3vectors://demo/{embedding_model_id}"}"#;

/// The default visibility timeout is this many times the worker's timeout, as AWS advises.
const VISIBILITY_FACTOR: u32 = 6;

/// The options of a run. The defaults suit tests: free ports, state in memory.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen, on loopback.
    pub ports: Ports,
    /// Host names that a request's `Host` may have in addition to those of loopback.
    pub allow_hosts: Vec<String>,
    /// The directory that keeps the tasks. If absent, they are in memory.
    pub data: Option<PathBuf>,
    /// How long one worker invocation may take.
    pub worker_timeout: Duration,
    /// The most worker invocations at a time. With 0, no message is received, and the caller runs
    /// the worker.
    pub worker_concurrency: usize,
    /// The most messages in one invocation, 1 to 10.
    pub batch_size: u8,
    /// The queue's visibility timeout, in whole seconds as in SQS. If absent, it is six times
    /// `worker_timeout`.
    pub visibility_timeout: Option<Duration>,
    /// How many times a message is received before it goes to the dead-letter queue.
    pub max_receive_count: u32,
    /// How often the sweeper runs. If absent, it never runs, and the caller runs it.
    pub sweep_interval: Option<Duration>,
    /// The clock of the handlers, and of Time to Live in a DynamoDB in memory.
    pub clock: Clock,
    /// The size of a task's chunks: as deployed, unless a test needs tasks of many chunks with few
    /// objects.
    pub chunk_limits: ChunkLimits,
    /// Settings by the names of their environment variables, such as `VECTOR_STORES`. The
    /// environment of the process is not read.
    pub settings: Vec<(String, String)>,
    /// Where the events of status changes go. If absent, the table has no stream.
    pub events: Option<Events>,
    /// Whether the embedded S3 Vectors throttles calls above the real service's rates.
    pub throttle: Throttle,
    /// The HTTP client of the handlers' SDK clients, for tests that count calls or let them fail on
    /// the wire. The runner's own calls (setup, the event source) and [`crate::Running::clients`]
    /// do not use it.
    pub http_client: Option<SharedHttpClient>,
}

/// Where the events of status changes go.
#[derive(Clone)]
pub enum Events {
    /// To this function, which must not block.
    Told(Arc<dyn Fn(&TaskEvent) + Send + Sync>),
    /// To an event bus of EventBridge.
    Bus {
        /// The URL of EventBridge.
        endpoint: String,
        /// The bus's name.
        name: String,
    },
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(_) => f.write_str("Told"),
            Self::Bus { endpoint, name } => write!(f, "Bus({endpoint}, {name})"),
        }
    }
}

/// A switch, off at first. Clones share their state, so it can be turned on while the service runs.
#[derive(Clone, Debug, Default)]
pub struct Throttle(Arc<AtomicBool>);

impl Throttle {
    /// Turns the switch on or off.
    pub fn turn(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The ports to listen on; 0 picks a free one.
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
            worker_concurrency: 10,
            batch_size: 10,
            visibility_timeout: None,
            max_receive_count: 1_000,
            sweep_interval: Some(Duration::from_secs(60)),
            clock: Clock::System,
            chunk_limits: ChunkLimits::default(),
            settings: Vec::new(),
            events: None,
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
