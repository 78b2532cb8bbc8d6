//! The two sides that take turns in the process that is counted: the handler, and the bare client.

use crate::calls::{Call, Steps, make};
use crate::recorded::Recorder;
use crate::requests::{Endpoint, Handlers, OBJECTS, through};
use lambda_http::{Body, Response, service_fn};
use local::Clients;
use serde_json::{Value, json};
use shared::aws;
use shared::telemetry::{self, TelemetryConfig};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tests::bench::{self, attribute};
use tests::handlers::{Addresses, clients};
use tests::seed::{self, OBJECTS_SEED, object_ids, tasks};

/// Tasks in the table for `list`.
const LISTED: usize = 1000;
const HANDLER: usize = 0;
const BARE: usize = 1;

/// Starts the services for an endpoint's measurement.
pub(crate) async fn hosts(endpoint: Endpoint) -> local::Running {
    if endpoint != Endpoint::List {
        return bench::start(bench::services_only()).await;
    }
    let options = local::Options {
        sweep_interval: None,
        ..local::Options::default()
    };
    let hosts = bench::start(options).await;
    tasks::fill(&hosts, LISTED).await;
    hosts
}

/// Makes this many requests of each side. Returns how many calls one request makes.
pub(crate) async fn requests(endpoint: Endpoint, times: usize, services: &Addresses) -> Value {
    // As in a function, each request writes a line to standard output.
    telemetry::init(TelemetryConfig {
        metrics: Some("DeletionTasks".parse().expect("a namespace")),
        ..TelemetryConfig::default()
    });
    let mut bench = Bench::new(endpoint, services).await;
    for number in 0..times {
        for turn in 0..2 {
            let side = (number + turn) % 2;
            let twin = bench.prepare(side).await;
            bench.one(side, &twin).await;
        }
    }
    json!({ "calls": bench.calls })
}

/// A task that a request is about. The tasks of the two sides differ only in these fields, which
/// have the same lengths.
#[derive(Clone, Debug, Default)]
struct Twin {
    id: String,
    nonce: String,
    index: String,
    /// The token of a restart or cancel.
    op: String,
}

struct Bench {
    endpoint: Endpoint,
    sdk: Clients,
    handlers: Handlers,
    /// The task of each side, if it is always the same.
    fixed: Vec<Twin>,
    random: fastrand::Rng,
    /// The recorded calls of the handler, and their task.
    template: (Twin, Steps),
    calls: usize,
    /// A body with the length of the handler's.
    answer: String,
}

impl Bench {
    /// Creates what the requests are about, and records the calls of one request.
    async fn new(endpoint: Endpoint, services: &Addresses) -> Self {
        let http_client = aws::http_client(aws::TlsRoots::default());
        let sdk = clients(services, Some(http_client.clone()));
        let handlers = Handlers::over(&sdk, http_client, services);
        let mut bench = Self {
            endpoint,
            sdk,
            handlers,
            fixed: Vec::new(),
            random: fastrand::Rng::new(),
            template: Default::default(),
            calls: 0,
            answer: String::new(),
        };
        for side in [HANDLER, BARE] {
            bench.make_twin(side).await;
        }
        let recorder = Recorder::default();
        let (listened, http_client) = recorder.in_front_of(&bench.sdk, services);
        let handlers = Handlers::over(&listened, http_client, services);
        let mut twin = bench.prepare(HANDLER).await;
        let event = endpoint.event(&twin.id, &twin.index).to_string();
        let answer: Value = serde_json::from_slice(&handlers.handle(endpoint, &event).await)
            .expect("a response in JSON");
        let body = answer["body"].as_str();
        bench.answer = " ".repeat(body.map_or(0, str::len));
        let (steps, wire) = recorder.take();
        let mut tokens = steps.iter().flatten().filter_map(|call| {
            let restart = call.value(":restart_op");
            restart.or_else(|| call.value(":cancel_op"))
        });
        twin.op = tokens.next_back().unwrap_or_default().to_owned();
        bench.template = (twin, steps);
        bench.calls = wire.len();

        // The bare client's calls must match the handler's: the same operations, with bodies of the
        // same size.
        let twin = bench.prepare(BARE).await;
        let succeeded = make(&listened, &bench.bare(&twin)).await;
        assert_eq!(recorder.take().1, wire, "{}", endpoint.name());
        bench.check(succeeded);
        bench
    }

    /// Creates the task that all requests of a side are about.
    async fn make_twin(&mut self, side: usize) {
        let index = format!("index-{side}");
        if matches!(self.endpoint, Endpoint::Info | Endpoint::Worker) {
            let client = &self.sdk.s3vectors;
            seed::half_index(client, &index, OBJECTS_SEED, OBJECTS).await;
        }
        let twin = Twin {
            id: self.new_id(),
            index,
            ..Twin::default()
        };
        if !matches!(
            self.endpoint,
            Endpoint::Run | Endpoint::List | Endpoint::Worker
        ) {
            self.ask(Endpoint::Run, &twin).await;
        }
        if self.endpoint == Endpoint::Info {
            self.ask(Endpoint::Worker, &twin).await;
        }
        self.fixed.push(twin);
    }

    /// Prepares one request of a side.
    async fn prepare(&mut self, side: usize) -> Twin {
        let mut twin = self.fixed[side].clone();
        match self.endpoint {
            Endpoint::Repeated | Endpoint::Info | Endpoint::List => {}
            Endpoint::Run => twin.id = self.new_id(),
            Endpoint::Restart => {
                self.ask(Endpoint::Cancel, &twin).await;
                twin.op = self.new_id().replace('-', "");
            }
            Endpoint::Cancel => {
                self.ask(Endpoint::Restart, &twin).await;
                twin.op = self.new_id().replace('-', "");
            }
            Endpoint::Worker => {
                twin.id = self.new_id();
                self.ask(Endpoint::Run, &twin).await;
                twin.nonce = attribute(&self.sdk.dynamodb, &twin.id, "nonce").await;
                let present: Vec<_> = object_ids(OBJECTS_SEED, OBJECTS).step_by(2).collect();
                seed::insert(&self.sdk.s3vectors, &twin.index, &present).await;
            }
        }
        twin
    }

    async fn ask(&self, endpoint: Endpoint, twin: &Twin) {
        let event = endpoint.event(&twin.id, &twin.index).to_string();
        let answer = self.handlers.handle(endpoint, &event).await;
        endpoint.check(&answer);
    }

    fn new_id(&mut self) -> String {
        let bytes = self.random.u128(..).to_be_bytes();
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        id.to_string()
    }

    /// The calls of a request about this task.
    fn bare(&self, twin: &Twin) -> Steps {
        let (of, steps) = &self.template;
        let pairs = [
            (&of.id, &twin.id),
            (&of.nonce, &twin.nonce),
            (&of.index, &twin.index),
            (&of.op, &twin.op),
        ];
        let pairs = pairs.into_iter().filter(|(from, _)| !from.is_empty());
        let pairs: Vec<_> = pairs.map(|(a, b)| (a.clone(), b.clone())).collect();
        let other = |call: &Call| call.clone().with(&pairs);
        steps
            .iter()
            .map(|step| step.iter().map(other).collect())
            .collect()
    }

    /// Makes one request of a side.
    async fn one(&self, side: usize, twin: &Twin) {
        let endpoint = self.endpoint;
        let event = endpoint.event(&twin.id, &twin.index).to_string();
        if side == HANDLER {
            let mut handled = pin!(self.handlers.handle(endpoint, &event));
            let answer = poll_fn(|cx| poll_handler(handled.as_mut(), cx)).await;
            endpoint.check(&answer);
        } else {
            let steps = self.bare(twin);
            let mut made = pin!(self.bare_text(&steps, &event));
            let succeeded = poll_fn(|cx| poll_bare(made.as_mut(), cx)).await;
            self.check(succeeded);
        }
    }

    /// Makes the calls as a function would that reads its event and sends a response of the same
    /// size as ours.
    async fn bare_text(&self, steps: &Steps, event: &str) -> usize {
        if self.endpoint == Endpoint::Worker {
            let event: shared::worker::SqsEvent =
                serde_json::from_str(event).expect("an SQS event");
            let succeeded = make(&self.sdk, steps).await;
            assert_eq!(event.records.len(), 1);
            let answer = shared::worker::SqsBatchResponse::default();
            assert!(serde_json::to_vec(&answer).is_ok());
            return succeeded;
        }
        let succeeded = std::sync::atomic::AtomicUsize::new(0);
        let count = &succeeded;
        let answer = async |_| {
            let made = make(&self.sdk, steps).await;
            count.store(made, std::sync::atomic::Ordering::Relaxed);
            let mut response = Response::new(Body::Text(self.answer.clone()));
            let headers = response.headers_mut();
            headers.insert("content-type", "application/json".parse()?);
            headers.insert("cache-control", "no-store".parse()?);
            Ok(response)
        };
        through(service_fn(answer), event).await;
        succeeded.into_inner()
    }

    /// Checks that all calls succeeded, except the put of an existing task, which is refused.
    fn check(&self, succeeded: usize) {
        let refused = usize::from(self.endpoint == Endpoint::Repeated);
        assert_eq!(succeeded, self.calls - refused, "{}", self.endpoint.name());
    }
}

/// Polls the handler's future. It is a separate function, so that callgrind can separate its work
/// by its name.
#[inline(never)]
fn poll_handler<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(context)
}

/// Polls the bare client's future.
#[inline(never)]
fn poll_bare<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(context)
}
