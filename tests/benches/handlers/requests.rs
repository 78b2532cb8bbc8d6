//! The requests to the handlers: the events of `events/`, with other tasks in them.

use aws_sdk_dynamodb::config::SharedHttpClient;
use lambda_http::lambda_runtime::{Context, LambdaEvent};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, Error, Request, Response, Service};
use local::Clients;
use serde_json::{Value, json};
use shared::api::{Cancel, Endpoint as _, Info, List, Restart, Run};
use shared::clock::Clock;
use shared::worker::Worker;
use tests::bench::INVOCATION;
use tests::handlers::{Addresses, Wiring, stores_at};
use tests::runtime_api::event;
use tests::seed::{OBJECTS_SEED, run_text};

/// Objects of each task.
pub(crate) const OBJECTS: usize = 10;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Endpoint {
    /// `/run` of a new task.
    Run,
    /// `/run` of an existing task.
    Repeated,
    /// `/info` of a task that is done, with half of its objects among the failures.
    Info,
    /// `/list`, the first page of 100.
    List,
    /// `/restart` of a canceled task.
    Restart,
    /// `/cancel` of a pending task.
    Cancel,
    /// The worker's batch of one message, of a task that is one item.
    Worker,
}

impl Endpoint {
    pub(crate) const ALL: [Self; 7] = [
        Self::Run,
        Self::Repeated,
        Self::Info,
        Self::List,
        Self::Restart,
        Self::Cancel,
        Self::Worker,
    ];

    /// Its name on the command line and in a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Repeated => "repeated",
            Self::Info => "info",
            Self::List => "list",
            Self::Restart => "restart",
            Self::Cancel => "cancel",
            Self::Worker => "worker",
        }
    }

    /// The event for this task, as Lambda passes it.
    pub(crate) fn event(self, id: &str, index: &str) -> Value {
        let about = |name: &str, parameter: &str, value: &str| {
            let mut event = event(name);
            event["queryStringParameters"] = json!({ parameter: value });
            event["multiValueQueryStringParameters"] = json!({ parameter: [value] });
            event
        };
        match self {
            Self::Run | Self::Repeated => {
                let mut event = event("create-deletion-task");
                event["body"] = run_text(index, id, OBJECTS_SEED, OBJECTS).into();
                event
            }
            Self::Info => about("get-deletion-task", "task_id", id),
            Self::List => about("list-deletion-tasks", "limit", "100"),
            Self::Restart => about("restart-deletion-task", "task_id", id),
            Self::Cancel => about("cancel-deletion-task", "task_id", id),
            Self::Worker => {
                let mut event = event("deletion-worker");
                let mut record = event["Records"][0].take();
                record["body"] = json!({"task_id": id, "attempt": 1}).to_string().into();
                event["Records"] = json!([record]);
                event
            }
        }
    }

    /// Fails unless this is the response to an event that was handled successfully.
    pub(crate) fn check(self, answer: &[u8]) {
        let answer: Value = serde_json::from_slice(answer).expect("JSON");
        let went_well = match self {
            Self::Worker => answer["batchItemFailures"] == json!([]),
            _ => answer["statusCode"] == 200,
        };
        assert!(went_well, "{self:?}: {answer}");
    }
}

/// The handlers, as the functions' `main`s make them.
#[derive(Clone, Debug)]
pub(crate) struct Handlers {
    run: Run,
    info: Info,
    list: List,
    restart: Restart,
    cancel: Cancel,
    worker: Worker,
}

impl Handlers {
    /// Creates the handlers over these clients. `http_client` is for the vector store, which
    /// creates its SDK client itself.
    pub(crate) fn over(sdk: &Clients, http_client: SharedHttpClient, services: &Addresses) -> Self {
        let sqs = sdk.sqs.clone();
        let wiring = Wiring::over(sdk.dynamodb.clone(), move || sqs, &services.queue);
        let worker = wiring.worker(stores_at(services, Some(http_client)));
        let Wiring {
            store,
            queue,
            api,
            clock,
        } = wiring;
        Self {
            run: Run::new(store.clone(), queue.clone(), api, clock.clone()),
            info: Info::new(store.clone(), clock.clone()),
            list: List::new(store.clone(), clock.clone()),
            restart: Restart::new(store.clone(), queue, clock.clone()),
            cancel: Cancel::new(store, clock),
            worker,
        }
    }

    /// Handles an event, as the text that Lambda passes. Returns the text that Lambda would get.
    pub(crate) async fn handle(&self, endpoint: Endpoint, event: &str) -> Vec<u8> {
        if endpoint == Endpoint::Worker {
            let batch = serde_json::from_str(event).expect("an SQS event");
            let deadline = Clock::System.now() + INVOCATION;
            let answer = self.worker.handle(batch, deadline).await;
            return serde_json::to_vec(&answer).expect("JSON");
        }
        let answer = async |request| {
            Ok(match endpoint {
                Endpoint::Run | Endpoint::Repeated => self.run.handle(request).await,
                Endpoint::Info => self.info.handle(request).await,
                Endpoint::List => self.list.handle(request).await,
                Endpoint::Restart => self.restart.handle(request).await,
                Endpoint::Cancel => self.cancel.handle(request).await,
                Endpoint::Worker => unreachable!("the worker takes no request"),
            })
        };
        through(lambda_http::service_fn(answer), event).await
    }
}

/// Passes an event to a service as `lambda_http` does.
pub(crate) async fn through<'a, S>(service: S, event: &str) -> Vec<u8>
where
    S: Service<Request, Response = Response<Body>, Error = Error>,
    S::Future: Send + 'a,
{
    let request: LambdaRequest = serde_json::from_str(event).expect("a request");
    let request = LambdaEvent::new(request, Context::default());
    let answer = Adapter::from(service).call(request).await;
    serde_json::to_vec(&answer.expect("a response")).expect("JSON")
}
