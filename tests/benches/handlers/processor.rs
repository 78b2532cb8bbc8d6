//! The processor time of a request in a handler, beside that of the same SDK calls bare.
//!
//! A process hosts the embedded services and starts another for each endpoint, so that only the client's side counts. There, in
//! one thread as in a function, three kinds of requests take turns: through the handler, bare, and bare once more, which
//! shows how far two measurements of the same are apart.

use crate::calls::{Call, Sdk, Steps, make};
use crate::recorded::Recorder;
use crate::requests::{Endpoint, Given, Handlers, OBJECTS, through};
use lambda_http::{Body, Response, service_fn};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use shared::aws;
use shared::telemetry::{self, TelemetryConfig};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tests::measure::rows::Row;
use tests::measure::{self, OBJECTS_SEED, addresses, attribute, median, object_ids, ratio, tasks};

/// Tasks in the table that is listed.
const LISTED: usize = 1000;
/// Who takes turns: the handler, the bare client, and the bare client again.
const SIDES: usize = 3;
const HANDLER: usize = 0;

/// Measures each endpoint, with the handler alone and with its event read and its answer written too.
pub(crate) async fn measure(quick: bool) -> Vec<Row> {
    let (rounds, times) = match quick {
        true => ("3", "300"),
        false => ("5", "1000"),
    };
    let mut rows = Vec::new();
    for part in ["handler", "event"] {
        for endpoint in Endpoint::ALL {
            eprintln!("processor, {part}, {}", endpoint.name());
            let hosts = hosts(endpoint).await;
            let services = addresses(&hosts).to_string();
            let arguments = requests_arguments(endpoint, part, rounds, times, &services);
            let measured = measure::child(&arguments).await;
            rows.push(row(endpoint, part, &measured));
            hosts.shutdown().await;
        }
    }
    rows
}

/// Starts what an endpoint is measured with.
pub(crate) async fn hosts(endpoint: Endpoint) -> local::Running {
    if endpoint != Endpoint::List {
        return measure::start(measure::services_only()).await;
    }
    let options = local::Options {
        sweep_interval: None,
        ..local::Options::default()
    };
    let hosts = measure::start(options).await;
    tasks::fill(&hosts, LISTED).await;
    hosts
}

/// What this program is called with, to call [`requests`].
pub(crate) fn requests_arguments<'a>(
    endpoint: Endpoint,
    part: &'a str,
    rounds: &'a str,
    times: &'a str,
    services: &'a str,
) -> [&'a str; 9] {
    [
        "requests",
        endpoint.name(),
        part,
        "--rounds",
        rounds,
        "--times",
        times,
        "--services",
        services,
    ]
}

/// How much of a request is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Extent {
    /// The handler, from the request to the response.
    Handler,
    /// The same, and reading the event and writing the answer by `lambda_http`.
    Event,
}

/// Measures one endpoint in this process; answers the rounds' percentiles in microseconds.
pub(crate) async fn requests(
    endpoint: Endpoint,
    extent: Extent,
    rounds: usize,
    times: usize,
    services: &Value,
) -> Value {
    // As in a function: a line on standard output for each request.
    telemetry::init(TelemetryConfig {
        metrics: Some("DeletionTasks".parse().expect("a namespace")),
        ..TelemetryConfig::default()
    });
    let mut bench = Bench::new(endpoint, extent, services).await;
    let mut measured = Vec::new();
    for round in 0..=rounds {
        let mut spent: [Vec<f64>; SIDES] = Default::default();
        for number in 0..times {
            for turn in 0..SIDES {
                let side = (number + turn) % SIDES;
                let twin = bench.prepare(side).await;
                spent[side].push(bench.one(side, &twin).await);
            }
        }
        // The first round is the warm-up.
        if round > 0 {
            let sides = spent.map(|mut spent| {
                spent.sort_by(f64::total_cmp);
                [spent[times / 2], spent[times * 99 / 100]]
            });
            measured.push(json!(sides));
        }
    }
    json!({"calls": bench.calls, "rounds": measured})
}

/// A task that a request is about. Those of the sides are alike in all but these, which are of the same length.
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
    extent: Extent,
    sdk: Sdk,
    handlers: Handlers,
    /// The task of each side, where it is always the same.
    fixed: Vec<Twin>,
    random: fastrand::Rng,
    /// What the handler did once, and for which task.
    template: (Twin, Steps),
    calls: usize,
    /// As long as the handler's body.
    answer: String,
}

impl Bench {
    /// Makes what the requests are about, and takes down the calls of one.
    async fn new(endpoint: Endpoint, extent: Extent, services: &Value) -> Self {
        let http_client = aws::http_client(aws::TlsRoots::default());
        let sdk = Sdk::of(services, &http_client);
        let handlers = Handlers::over(&sdk, http_client, services);
        let mut bench = Self {
            endpoint,
            extent,
            sdk,
            handlers,
            fixed: Vec::new(),
            random: fastrand::Rng::new(),
            template: Default::default(),
            calls: 0,
            answer: String::new(),
        };
        for side in 0..SIDES {
            bench.make_twin(side).await;
        }
        let recorder = Recorder::default();
        let (listened, http_client) = recorder.in_front_of(&bench.sdk, services);
        let handlers = Handlers::over(&listened, http_client, services);
        let mut twin = bench.prepare(HANDLER).await;
        let event = endpoint.event(&twin.id, &twin.index).to_string();
        let answer: Value = serde_json::from_slice(&handlers.handle_text(endpoint, &event).await)
            .expect("an answer in JSON");
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

        // The bare client's calls are the handler's: the same operations, with bodies of the same size.
        let twin = bench.prepare(1).await;
        let succeeded = make(&listened, &bench.bare(&twin)).await;
        assert_eq!(recorder.take().1, wire, "{}", endpoint.name());
        bench.check(succeeded);
        bench
    }

    /// Makes what a side's requests are about from first to last.
    async fn make_twin(&mut self, side: usize) {
        let index = format!("index-{side}");
        if matches!(self.endpoint, Endpoint::Info | Endpoint::Worker) {
            let client = &self.sdk.s3vectors;
            measure::seed_index(client, &index, OBJECTS_SEED, OBJECTS).await;
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

    /// Makes ready for one request of a side.
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
                let present = object_ids(OBJECTS_SEED, OBJECTS).step_by(2).collect();
                measure::put_vectors(&self.sdk.s3vectors, &twin.index, present).await;
            }
        }
        twin
    }

    async fn ask(&self, endpoint: Endpoint, twin: &Twin) {
        let given = Given::of(endpoint, &endpoint.event(&twin.id, &twin.index));
        assert!(self.handlers.handle(endpoint, given).await, "{endpoint:?}");
    }

    fn new_id(&mut self) -> String {
        let bytes = self.random.u128(..).to_be_bytes();
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        id.to_string()
    }

    /// The calls that a request about this task is.
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

    /// One request, in microseconds of this thread's processor time.
    async fn one(&self, side: usize, twin: &Twin) -> f64 {
        let endpoint = self.endpoint;
        let event = endpoint.event(&twin.id, &twin.index);
        match (self.extent, side) {
            (Extent::Handler, HANDLER) => {
                let given = Given::of(endpoint, &event);
                let mut handled = pin!(self.handlers.handle(endpoint, given));
                let (spent, went_well) = timed(|cx| poll_handler(handled.as_mut(), cx)).await;
                assert!(went_well);
                spent
            }
            (Extent::Handler, _) => {
                let steps = self.bare(twin);
                let mut made = pin!(make(&self.sdk, &steps));
                let (spent, succeeded) = timed(|cx| poll_bare(made.as_mut(), cx)).await;
                self.check(succeeded);
                spent
            }
            (Extent::Event, HANDLER) => {
                let event = event.to_string();
                let mut handled = pin!(self.handlers.handle_text(endpoint, &event));
                let (spent, answer) = timed(|cx| poll_handler(handled.as_mut(), cx)).await;
                assert!(!answer.is_empty());
                spent
            }
            (Extent::Event, _) => {
                let (steps, event) = (self.bare(twin), event.to_string());
                let mut made = pin!(self.bare_text(&steps, &event));
                let (spent, succeeded) = timed(|cx| poll_bare(made.as_mut(), cx)).await;
                self.check(succeeded);
                spent
            }
        }
    }

    /// The calls in a function that reads its event and answers as much as ours.
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

    /// All calls succeed; but the put of a task that is there is refused.
    fn check(&self, succeeded: usize) {
        let refused = usize::from(self.endpoint == Endpoint::Repeated);
        assert_eq!(succeeded, self.calls - refused, "{}", self.endpoint.name());
    }
}

/// How long it takes until there is a result, in microseconds of this thread's processor time, and the result.
async fn timed<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> (f64, T) {
    let before = now();
    let result = poll_fn(poll).await;
    (now() - before, result)
}

/// Polls the handler's future. A function of its own so that a profiler can tell its work from all else, see `profile.rs`.
#[inline(never)]
fn poll_handler<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(context)
}

/// Polls the bare client's.
#[inline(never)]
fn poll_bare<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(context)
}

/// The processor time that this thread has had, in microseconds.
pub(crate) fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn row(endpoint: Endpoint, part: &str, measured: &Value) -> Row {
    let rounds = measured["rounds"].as_array().expect("rounds");
    let of = |side: usize, percentile: usize| {
        let values = rounds.iter().map(move |round| &round[side][percentile]);
        values
            .map(|value| value.as_f64().expect("a number"))
            .collect::<Vec<_>>()
    };
    let time = |side, percentile| format!("{:.0}", median(of(side, percentile))).into();
    let over = |side, percentile| ratio(&of(side, percentile), &of(1, percentile)).into();
    vec![
        (part_name(part), endpoint.name().into()),
        ("calls", measured["calls"].clone()),
        ("µs p50", time(HANDLER, 0)),
        ("bare p50", time(1, 0)),
        ("÷", over(HANDLER, 0)),
        ("bare again ÷ bare", over(2, 0)),
        ("µs p99", time(HANDLER, 1)),
        ("bare p99", time(1, 1)),
        ("÷ p99", over(HANDLER, 1)),
        ("bare again ÷ bare p99", over(2, 1)),
    ]
}

fn part_name(part: &str) -> &'static str {
    match part {
        "handler" => "handler",
        _ => "event to answer",
    }
}
