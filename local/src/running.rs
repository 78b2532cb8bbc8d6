//! Starts everything, and stops it.

use crate::docs;
use crate::embedded::demo;
use crate::embedded::dynamodb::{self, DynamoDb};
use crate::embedded::s3vectors::S3Vectors;
use crate::embedded::sqs::{self, Queues, Sqs};
use crate::error::StartError;
use crate::event_source::EventSource;
use crate::http::ApiServer;
use crate::options::{DEFAULT_VECTOR_STORES, Events, Options};
use crate::schedule;
use crate::stream_source::{self, StreamSource};
use aws_sdk_dynamodb::config::SharedHttpClient;
use lambda_http::Body;
use shared::api::{Api, ApiConfig};
use shared::aws;
use shared::clock::Clock;
use shared::config::Environment;
use shared::events::{EventBus, StreamResponse, TaskEvents, events_of};
use shared::queue::TaskQueue;
use shared::store::{StoreConfig, TaskStore};
use shared::vector::{Password, Services, VectorStoreRules, VectorStores};
use shared::worker::{Sweeper, Worker};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use web::stop::{self, Stop, Stopper};
use web::{GRACE, Guard, console, listen};

/// The name of the table and of the queue. The dead-letter queue has this name with `-dlq`.
pub const NAME: &str = "deletion-tasks";
/// The sweeper's timeout, as deployed.
const SWEEPER_TIMEOUT: Duration = Duration::from_secs(60);
/// How soon the sweeper first runs if there may be tasks of an earlier run.
const FIRST_SWEEP_OF_KEPT_TASKS: Duration = Duration::from_secs(1);

/// The running service.
#[derive(Debug)]
pub struct Running {
    /// The API's address.
    pub api: SocketAddr,
    /// DynamoDB's address.
    pub dynamodb: SocketAddr,
    /// The address of SQS.
    pub sqs: SocketAddr,
    /// The address of S3 Vectors.
    pub s3vectors: SocketAddr,
    /// The URL of the queue.
    pub queue_url: String,
    /// The URL of the dead-letter queue.
    pub dead_letter_queue_url: String,
    /// Clients of the embedded services. They never use [`Options::http_client`].
    pub clients: Clients,
    /// The handlers, for calls without HTTP or a queue.
    pub handlers: Handlers,
    server: ApiServer,
    embedded: Embedded,
    stopper: Stopper,
    background: JoinSet<()>,
    /// Stops the events, after everything that can change a task has stopped.
    events_stopper: Stopper,
    events: JoinSet<()>,
}

/// Clients of the embedded services, with the SDK's default retries and timeouts.
#[derive(Clone, Debug)]
pub struct Clients {
    /// DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// S3 Vectors.
    pub s3vectors: aws_sdk_s3vectors::Client,
}

/// The deployed handlers over the embedded services.
#[derive(Clone)]
pub struct Handlers {
    /// The tasks.
    pub store: TaskStore,
    /// The queue.
    pub queue: TaskQueue,
    /// The five endpoints.
    pub api: Arc<Api>,
    /// Carries out messages.
    pub worker: Arc<Worker>,
    /// Finds tasks that are due and sends their messages again.
    pub sweeper: Arc<Sweeper>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handlers").finish_non_exhaustive()
    }
}

/// The validated settings.
struct Settings {
    store: StoreConfig,
    api: ApiConfig,
    vector_stores: VectorStoreRules,
    vector_store_password: Option<Password>,
    vector_store_token: Option<Password>,
}

impl Settings {
    fn read(given: &[(String, String)]) -> Result<Self, StartError> {
        let defaults = [
            ("TABLE_NAME", NAME),
            ("VECTOR_STORES", DEFAULT_VECTOR_STORES),
        ];
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let given = given.iter().filter(|(_, value)| !value.trim().is_empty());
        let mut environment = Environment::from_pairs(defaults.into_iter().chain(given.cloned()));
        let settings = Self {
            store: environment.store(),
            api: environment.api(),
            vector_stores: environment.vector_stores(),
            vector_store_password: environment.vector_store_password(),
            vector_store_token: environment.vector_store_token(),
        };
        environment.finish()?;
        Ok(settings)
    }
}

/// Starts everything. Everything stops when this fails or when the [`Running`] is dropped.
///
/// # Errors
/// The text says what to change: in one line, or in one line for each setting.
pub async fn start(options: Options) -> Result<Running, StartError> {
    let mut settings = Settings::read(&options.settings)?;
    settings.store.chunk_limits = options.chunk_limits;
    let listener = listen(options.ports.api, "--port").await?;
    let embedded = Embedded::start(&options).await?;
    let clients = embedded.clients(None);
    let data = options.data.as_deref();
    dynamodb::create_table(&clients.dynamodb, &settings.store.table_name, data).await?;
    embedded.dynamodb.mark_created()?;
    let stream = match options.events.clone() {
        None => {
            stream_source::end(&settings.store.table_name, &clients.dynamodb).await?;
            None
        }
        Some(events) => Some((embedded.stream(&clients.dynamodb, &settings).await?, events)),
    };
    let visible = options.visibility_timeout();
    let queues = sqs::create_queues(&clients.sqs, NAME, visible, options.max_receive_count).await?;
    demo::seed(&clients.s3vectors).await?;

    let handlers = embedded.handlers(settings, &queues, &options);
    let guard = Guard::of(&options.allow_hosts, "--allow-host");
    let server = serve(listener, guard, &handlers).map_err(StartError::setup("API"))?;
    let (stopper, stop) = stop::signal();
    let mut background = JoinSet::new();
    let (events_stopper, events_stop) = stop::signal();
    let mut events = JoinSet::new();
    if let Some((stream, told)) = stream {
        events.spawn(tell(stream, told, options.clock.clone(), events_stop));
    }
    if options.worker_concurrency > 0 {
        background.spawn(worker(&clients, &queues, &handlers, &options, stop.clone()));
    }
    if let Some(interval) = options.sweep_interval {
        let first = data.map_or(interval, |_| interval.min(FIRST_SWEEP_OF_KEPT_TASKS));
        background.spawn(sweeper(first, interval, &handlers, &options, stop));
    }
    Ok(Running {
        api: server.address(),
        dynamodb: embedded.dynamodb.address(),
        sqs: embedded.sqs.address(),
        s3vectors: embedded.s3vectors.address(),
        queue_url: queues.url,
        dead_letter_queue_url: queues.dead_letter_url,
        clients,
        handlers,
        server,
        embedded,
        stopper,
        background,
        events_stopper,
        events,
    })
}

impl Running {
    /// Stops everything within about three seconds. Running requests and invocations have one
    /// second to finish. An invocation that does not finish leaves its tasks as a killed worker
    /// would.
    pub async fn shutdown(mut self) {
        self.stopper.stop();
        let background = async { while self.background.join_next().await.is_some() {} };
        tokio::join!(self.server.shutdown(), background);
        self.events_stopper.stop();
        let told = async { while self.events.join_next().await.is_some() {} };
        let _ = timeout(GRACE, told).await;
        let Embedded {
            dynamodb,
            sqs,
            s3vectors,
        } = self.embedded;
        tokio::join!(dynamodb.shutdown(), sqs.shutdown(), s3vectors.shutdown());
    }
}

/// Serves the API, its document and the console.
fn serve(listener: TcpListener, guard: Guard, handlers: &Handlers) -> io::Result<ApiServer> {
    let api = Arc::clone(&handlers.api);
    ApiServer::start(listener, guard, move |request| {
        let api = Arc::clone(&api);
        async move {
            if let Some(file) = console::respond(&request) {
                return file.map(Body::from);
            }
            match docs::respond(&request) {
                Some(page) => page,
                None => api.handle(request).await,
            }
        }
    })
}

fn worker(
    clients: &Clients,
    queues: &Queues,
    handlers: &Handlers,
    options: &Options,
    stop: Stop,
) -> impl Future<Output = ()> + use<> {
    let source = EventSource {
        client: clients.sqs.clone(),
        queue_url: queues.url.clone(),
        queue_arn: queues.arn.clone(),
        batch_size: options.batch_size,
        concurrency: options.worker_concurrency,
        worker_timeout: options.worker_timeout,
        clock: options.clock.clone(),
    };
    let worker = Arc::clone(&handlers.worker);
    source.run(
        move |event, deadline| {
            let worker = Arc::clone(&worker);
            async move { worker.handle(event, deadline).await }
        },
        stop,
    )
}

/// Sends the events of status changes.
async fn tell(stream: StreamSource, events: Events, clock: Clock, stop: Stop) {
    match events {
        Events::Told(tell) => {
            let tell = async |batch| {
                events_of(batch).iter().for_each(|event| tell(event));
                StreamResponse::default()
            };
            stream.run(tell, stop).await;
        }
        Events::Bus { endpoint, name } => {
            let client = aws::eventbridge_client(&aws::local_config(&endpoint, None));
            let events = TaskEvents::new(EventBus::new(client, name), clock);
            stream
                .run(async |batch| events.handle(batch).await, stop)
                .await;
        }
    }
}

fn sweeper(
    first: Duration,
    interval: Duration,
    handlers: &Handlers,
    options: &Options,
    stop: Stop,
) -> impl Future<Output = ()> + use<> {
    let (sweeper, clock) = (Arc::clone(&handlers.sweeper), options.clock.clone());
    schedule::every(first, interval, stop, move || {
        let (sweeper, deadline) = (Arc::clone(&sweeper), clock.now() + SWEEPER_TIMEOUT);
        async move {
            sweeper.sweep(deadline).await;
        }
    })
}

#[derive(Debug)]
struct Embedded {
    dynamodb: DynamoDb,
    sqs: Sqs,
    s3vectors: S3Vectors,
}

impl Embedded {
    async fn start(options: &Options) -> Result<Self, StartError> {
        // Listen on all ports before anything starts, so that a taken port leaves nothing behind.
        let dynamodb = listen(options.ports.dynamodb, "--dynamodb-port").await?;
        let sqs = listen(options.ports.sqs, "--sqs-port").await?;
        let s3vectors = listen(options.ports.s3vectors, "--s3vectors-port").await?;
        let guard = Guard::of(&options.allow_hosts, "--allow-host");
        let (data, clock) = (options.data.as_deref(), &options.clock);
        Ok(Self {
            dynamodb: DynamoDb::start(dynamodb, guard.clone(), data, clock).await?,
            sqs: Sqs::start(sqs, guard.clone())?,
            s3vectors: S3Vectors::start(s3vectors, guard, options.throttle.clone())?,
        })
    }

    /// The stream of the table.
    async fn stream(
        &self,
        dynamodb: &aws_sdk_dynamodb::Client,
        settings: &Settings,
    ) -> Result<StreamSource, StartError> {
        let config = aws::local_config(&url(self.dynamodb.address()), None);
        let client = aws_sdk_dynamodbstreams::Client::new(&config);
        StreamSource::begin(&settings.store.table_name, dynamodb, client).await
    }

    /// Clients that use `http_client`, or otherwise one of their own each.
    fn clients(&self, http_client: Option<SharedHttpClient>) -> Clients {
        let config = |address| aws::local_config(&url(address), http_client.clone());
        Clients {
            dynamodb: aws_sdk_dynamodb::Client::new(&config(self.dynamodb.address())),
            sqs: aws_sdk_sqs::Client::new(&config(self.sqs.address())),
            s3vectors: aws_sdk_s3vectors::Client::new(&config(self.s3vectors.address())),
        }
    }

    fn handlers(&self, settings: Settings, queues: &Queues, options: &Options) -> Handlers {
        let config = |address| aws::local_config(&url(address), options.http_client.clone());
        let dynamodb = aws::dynamodb_client(&config(self.dynamodb.address()));
        let sqs = aws::sqs_client(&config(self.sqs.address()));
        let services = Services {
            aws: config(self.s3vectors.address()),
            password: settings.vector_store_password,
            token: settings.vector_store_token,
            clock: options.clock.clone(),
        };
        let clock = &options.clock;
        let store = TaskStore::new(dynamodb, settings.store);
        let queue = TaskQueue::new(move || sqs, queues.url.clone());
        let stores = VectorStores::new(settings.vector_stores, services);
        Handlers {
            api: Arc::new(Api::new(
                store.clone(),
                queue.clone(),
                settings.api,
                clock.clone(),
            )),
            worker: Arc::new(Worker::new(
                store.clone(),
                queue.clone(),
                stores,
                clock.clone(),
            )),
            sweeper: Arc::new(Sweeper::new(store.clone(), queue.clone(), clock.clone())),
            store,
            queue,
        }
    }
}

/// An address as a URL for the AWS SDK.
pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

#[cfg(test)]
mod tests;
