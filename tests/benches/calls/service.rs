//! The whole service with a meter under its clients.
//!
//! The benchmark itself invokes the worker, with one batch of messages per invocation, as Lambda
//! does.

use local::{Clients, Options, Running};
use serde_json::Value;
use shared::telemetry::{TelemetryConfig, lines};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tests::bench;
use tests::bench::meter::{Meter, Tally};
use tests::handlers::{Addresses, clients};
use tests::http::{self, ROOT};
use tests::queue::{Queue, Receive};

/// The log lines since they were last taken.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What an operation took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    /// Calls by `Service.Operation`.
    pub(crate) calls: BTreeMap<String, u64>,
    pub(crate) read: f64,
    pub(crate) write: f64,
    /// Requests of the API.
    pub(crate) requests: u64,
    /// Invocations of functions, including those for requests.
    pub(crate) invocations: u64,
    /// Log lines, without their line feeds.
    pub(crate) lines: Vec<String>,
}

impl Cost {
    pub(crate) fn new(tally: Tally, requests: u64, invocations: u64, lines: Vec<String>) -> Self {
        Self {
            calls: tally.calls,
            read: tally.read_units,
            write: tally.write_units,
            requests,
            invocations,
            lines,
        }
    }

    /// Calls to a service.
    pub(crate) fn calls_to(&self, service: &str) -> u64 {
        let calls = self.calls.iter();
        let calls = calls.filter(|(call, _)| call.starts_with(service));
        calls.map(|(_, count)| count).sum()
    }

    /// The maximum length of a line in bytes, without the task's id in it.
    pub(crate) fn longest_line(&self) -> usize {
        let beside = |line: &String| {
            let fields: Value = serde_json::from_str(line).expect("a line is JSON");
            let id = match &fields["task_id"] {
                Value::String(_) => fields["task_id"].to_string().len() - 2,
                _ => 0,
            };
            line.len() - id
        };
        self.lines.iter().map(beside).max().unwrap_or_default()
    }
}

/// The service, and its meter.
pub(crate) struct Metered {
    pub(crate) running: Running,
    pub(crate) meter: Meter,
    /// Clients on the meter, for the calls that Lambda itself makes, and for the plain design.
    pub(crate) clients: Clients,
}

impl Metered {
    pub(crate) async fn start() -> Self {
        let config = TelemetryConfig {
            metrics: Some("DeletionTasks/deletion-tasks".parse().expect("a namespace")),
            ..TelemetryConfig::default()
        };
        let lines = lines(config, |line| {
            let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(line.trim_end().to_owned());
        });
        tracing::subscriber::set_global_default(lines).expect("the only one");
        let meter = Meter::default();
        let running = bench::start(Options {
            worker_concurrency: 0,
            sweep_interval: None,
            ..bench::unpaced(Some(meter.http_client()))
        })
        .await;
        let addresses = Addresses::of(&running);
        Self {
            clients: clients(&addresses, Some(meter.http_client())),
            running,
            meter,
        }
    }

    /// Measures `work`, which returns how many requests and invocations there were.
    pub(crate) async fn cost(&self, work: impl Future<Output = (u64, u64)>) -> Cost {
        take_lines();
        self.meter.turn_on();
        let (requests, invocations) = work.await;
        let tally = self.meter.turn_off();
        Cost::new(tally, requests, invocations, take_lines())
    }

    /// Measures a successful request of the API.
    pub(crate) async fn cost_of_call(&self, method: &str, path: &str, body: String) -> Cost {
        let call = async {
            self.call(method, path, body).await;
            (1, 1)
        };
        self.cost(call).await
    }

    /// Makes a request of the API, which must succeed.
    pub(crate) async fn call(&self, method: &str, path: &str, body: String) -> Value {
        let json = (!body.is_empty()).then_some("application/json");
        let path = format!("{ROOT}{path}");
        http::send(self.running.api, method, &path, json, body)
            .await
            .ok()
    }

    /// Receives a batch and lets the worker carry it out. Returns how many messages there were.
    async fn work_once(&self, most: i32) -> usize {
        let receive = Receive {
            most,
            ..Receive::default()
        };
        let queue = Queue::new(&self.clients.sqs, &self.running.queue_url);
        bench::invoke(&self.running.handlers.worker, &queue, receive).await
    }

    /// Carries out this many messages. Returns how many invocations that took.
    pub(crate) async fn work(&self, messages: usize) -> u64 {
        let (mut done, mut invocations) = (0, 0);
        while done < messages {
            done += self.work_once(10).await;
            invocations += 1;
        }
        invocations
    }

    /// Carries out one message.
    pub(crate) async fn work_one(&self) {
        assert_eq!(self.work_once(1).await, 1);
    }
}

fn take_lines() -> Vec<String> {
    std::mem::take(&mut LINES.lock().unwrap_or_else(PoisonError::into_inner))
}
