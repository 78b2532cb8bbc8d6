//! The handlers over the simulated services, and processes that run them.

use super::checks::Shown;
use super::connector::{PROCESS, http_client};
use super::dynamodb::TABLE;
use super::queue::URL;
use super::unsound::UnsoundStore;
use super::world::{ProcessId, State, World};
use crate::handlers::{self, Wiring};
use crate::queue::{event, failed};
use crate::stores::Believing;
use aws_sdk_dynamodb::config::StalledStreamProtectionConfig;
use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_eventbridge::Client;
use chrono::TimeDelta;
use lambda_http::http::Request;
use lambda_http::{Body, Response};
use serde_json::{Value, json};
use shared::api::{Api, ApiConfig, TaskIdReuse};
use shared::aws;
use shared::events::{EventBus, TaskEvents};
use shared::store::StoreConfig;
use shared::task::ChunkLimits;
use shared::vector::{Services, VectorStores};
use shared::worker::{SweepBounds, Sweeper, Worker};
use std::sync::Arc;
use std::time::Duration;

/// How long one sweep may take.
const SWEEPER_TIMEOUT: TimeDelta = TimeDelta::seconds(60);

/// The service. Clones share it.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) world: World,
    api: Api,
    worker: Worker,
    sweeper: Sweeper,
    pub(super) events: TaskEvents,
}

/// What confirms a delete to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The store's acknowledgement, which is the default.
    Acknowledgement,
    /// A read after the delete.
    ReadBack,
    /// Any response. Such a service is wrong, and the simulation must find out.
    Anything,
}

/// A response to a caller.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
    replayed: bool,
}

impl Service {
    /// The service in `world`.
    pub(crate) fn new(
        world: &World,
        chunk_limits: ChunkLimits,
        list_shards: u32,
        trust: Trust,
        objects_per_second: Option<u32>,
    ) -> Self {
        let config = aws::local_config("http://simulation", Some(http_client(world)))
            .into_builder()
            // This protection measures real streams. Here every body is complete at once.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        // The SDK counts retries for the whole life of a process, so a schedule would depend on the
        // schedules before it.
        let partition = || {
            RetryPartition::custom("simulation")
                .token_bucket(TokenBucket::default())
                .build()
        };
        let dynamodb = aws::dynamodb_client(&config).config().to_builder();
        let dynamodb = dynamodb.retry_partition(partition()).build();
        let sqs = aws::sqs_client(&config).config().to_builder();
        let sqs = sqs.retry_partition(partition()).build();
        let clock = world.with(|state| state.clock.clone());
        let bus = aws::eventbridge_client(&config).config().to_builder();
        let bus = bus.retry_partition(partition()).build();
        let bus = EventBus::new(Client::from_conf(bus), "default".to_owned());
        let events = TaskEvents::new(bus, clock.clone());
        let store = StoreConfig {
            table_name: TABLE.to_owned(),
            list_shards,
            chunk_limits,
        };
        let services = Services {
            aws: config,
            password: None,
            token: None,
            clock: clock.clone(),
        };
        let vectors = stores(world, services, trust, objects_per_second);
        let api = ApiConfig {
            retention: TimeDelta::days(90),
            task_id_reuse: TaskIdReuse::Return,
        };
        let wiring = Wiring::new(
            aws_sdk_dynamodb::Client::from_conf(dynamodb),
            move || aws_sdk_sqs::Client::from_conf(sqs),
            URL,
            store,
            api,
            clock,
        );
        Self {
            world: world.clone(),
            api: wiring.api(),
            worker: wiring.worker(vectors),
            sweeper: wiring.sweeper(),
            events,
        }
    }

    /// Returns the service with sweeps of at most this many pages and rows.
    pub(crate) fn sweeping(self, bounds: SweepBounds) -> Self {
        Self {
            sweeper: self.sweeper.bounded(bounds),
            ..self
        }
    }

    /// Runs `work` as a separate process, which may be killed. Returns `None` if it was killed.
    pub(super) async fn process<T: Send + 'static>(
        &self,
        kind: &'static str,
        timeout: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<(ProcessId, T)> {
        let process = self.world.with(|state| state.begin_process(kind));
        let world = self.world.clone();
        let running = tokio::spawn(PROCESS.scope(process, async move {
            let done = work.await;
            world.with(|state| state.end_process(process));
            done
        }));
        self.world
            .with(|state| state.set_abort(process, running.abort_handle()));
        match tokio::time::timeout(timeout, running).await {
            Ok(Ok(done)) => Some((process, done)),
            Ok(Err(error)) => {
                if error.is_panic() {
                    self.world
                        .with(|state| state.violated(format!("process {process} panicked")));
                }
                None
            }
            Err(_) => {
                self.world.kill(process);
                None
            }
        }
    }

    /// Makes a request as a caller would. Returns `None` if its process died.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<Reply> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://simulation/internal/deletion-tasks/{path}"))
            .body(body.map_or(Body::Empty, |body| Body::Text(body.to_string())))
            .expect("a request");
        let api = self.api.clone();
        let lambda_timeout = Duration::from_secs(29);
        let work = async move { read(&api.handle(request).await) };
        let (process, reply) = self.process("caller", lambda_timeout, work).await?;
        let line = format!("{method} {path} has response {}", reply.status);
        self.world.with(|state| {
            state.note(process, &line);
            if reply.status == 500 {
                state.violated(format!("{method} {path} has response 500"));
            }
        });
        Some(reply)
    }

    /// `POST /run`.
    pub(crate) async fn run(&self, id: &str, model: &str, object_ids: &[String]) -> Option<Reply> {
        let body = json!({"embedding_model_id": model, "task_id": id, "object_ids": object_ids});
        let reply = self.shows(id, "POST", "run", Some(&body)).await?;
        if reply.status == 200 {
            self.world.with(|state| {
                let checked = state.checks.accepted(id, reply.replayed);
                state.expect(checked);
            });
        }
        Some(reply)
    }

    /// A request whose response shows task `id`.
    pub(crate) async fn shows(
        &self,
        id: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<Reply> {
        let before = self.world.with(|state| state.checks.told_of(id));
        let reply = self.call(method, path, body).await?;
        if let Some(shown) = Shown::of(&reply.body) {
            self.world.with(|state| {
                let checked = state.checks.shown(id, shown, &before);
                state.expect(checked);
            });
        }
        Some(reply)
    }

    /// Runs one worker invocation with what is on the queue, as Lambda does. Returns `false` if the
    /// queue had nothing.
    pub(crate) async fn invoke(&self, timeout: TimeDelta) -> bool {
        let (messages, deadline) = self.world.with(|state| {
            let now = state.now();
            (state.queue.receive(now, &mut state.rng), now + timeout)
        });
        if messages.is_empty() {
            return false;
        }
        let worker = self.worker.clone();
        let bodies = messages.iter();
        let mut event = event(bodies.map(|message| (message.id.to_string(), message.body.clone())));
        for (record, message) in event.records.iter_mut().zip(&messages) {
            record.receipt_handle = Some(message.id.to_string());
            let receives = (
                "ApproximateReceiveCount".to_owned(),
                message.receives.to_string(),
            );
            record.attributes.extend([receives]);
        }
        let work = async move { worker.handle(event, deadline).await };
        let longest = timeout.to_std().expect("not negative");
        let Some((process, response)) = self.process("worker", longest, work).await else {
            return true; // its messages come back
        };
        let failed = failed(&response);
        self.world.with(|state| {
            state.note(process, &format!("hands back {failed:?}"));
            for message in messages {
                if !failed.contains(message.id.to_string().as_str()) {
                    state.acknowledge(message.id);
                }
            }
        });
        true
    }

    /// One sweep.
    pub(crate) async fn sweep(&self) {
        let sweeper = self.sweeper.clone();
        let deadline = self.world.with(|state| state.now()) + SWEEPER_TIMEOUT;
        let work = async move { sweeper.sweep(deadline).await };
        let longest = SWEEPER_TIMEOUT.to_std().expect("not negative");
        self.process("sweeper", longest, work).await;
    }
}

/// The stores of the service.
fn stores(
    world: &World,
    services: Services,
    trust: Trust,
    objects_per_second: Option<u32>,
) -> VectorStores {
    let reads_back = match trust {
        Trust::Acknowledgement => "",
        Trust::ReadBack | Trust::Anything => "&confirm=read-back",
    };
    let limit = objects_per_second.map(|limit| format!("&objects_per_second={limit}"));
    let limit = limit.unwrap_or_default();
    let url = format!("s3vectors://bucket/{{embedding_model_id}}?{reads_back}{limit}");
    let setting = json!({ "embed*": url }).to_string();
    let world = world.clone();
    handlers::stores(&setting, services).wrapped(move |store| {
        let world = world.clone();
        let store = Arc::new(UnsoundStore { world, store });
        match trust {
            Trust::Acknowledgement | Trust::ReadBack => store,
            Trust::Anything => Arc::new(Believing(store)),
        }
    })
}

impl State {
    /// Deletes a message that was handled, unless the delete is lost too.
    fn acknowledge(&mut self, id: u64) {
        if self.chance(self.queue.repeated) {
            self.fault("message repeated")
        } else {
            self.queue.delete(id)
        }
    }
}

fn read(response: &Response<Body>) -> Reply {
    let body = match response.body() {
        Body::Text(text) => serde_json::from_str(text),
        Body::Binary(bytes) => serde_json::from_slice(bytes),
        _ => Ok(Value::Null),
    };
    Reply {
        status: response.status().as_u16(),
        body: body.expect("a JSON response"),
        replayed: response.headers().contains_key("idempotent-replayed"),
    }
}
