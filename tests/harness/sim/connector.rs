//! The path of a call from the SDK to its service and back, with its faults.

use super::faults::{Death, Fate, Target};
use super::world::{Life, ProcessId, State, World};
use crate::wire::{self, Outcome};
use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};
use std::future::pending;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// No process of ours needs more calls than this.
const MOST_CALLS: u32 = 1_000;

tokio::task_local! {
    /// The process that the running future is a part of. The SDK polls its connector within the
    /// caller's task.
    pub(crate) static PROCESS: ProcessId;
}

/// A request, as its service understands it.
pub(crate) struct Call {
    pub(crate) target: Target,
    /// The operation, such as `UpdateItem`.
    pub(crate) name: String,
    pub(crate) body: Value,
}

/// The response of a service.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn ok(body: &Value) -> Self {
        Self {
            status: 200,
            body: body.to_string(),
        }
    }

    pub(crate) fn refusal(status: u16, kind: &str) -> Self {
        let body = json!({"__type": kind, "message": "refused by the simulation"});
        Self {
            status,
            body: body.to_string(),
        }
    }
}

/// The HTTP client to put under the SDK's clients. Nothing reaches a network.
pub(crate) fn http_client(world: &World) -> SharedHttpClient {
    let world = world.clone();
    wire::intercept(move |request, _| {
        let world = world.clone();
        async move { carry(&world, &request).await }
    })
}

/// The process that makes the current call.
pub(super) fn current_process() -> ProcessId {
    PROCESS.try_with(|process| *process).unwrap_or(0)
}

/// Carries one request. The service serves it in a separate tokio task, so a request that was sent
/// arrives even if its sender stops waiting or dies.
async fn carry(world: &World, request: &HttpRequest) -> Outcome {
    let process = current_process();
    if world.with(|state| state.life(process)) == Life::Killed {
        return pending().await;
    }
    let call = read(request);
    let plan = world.with(|state| state.begin_call(process, &call));
    if plan.death == Some(Death::Before) {
        world.kill(process);
        return pending().await;
    }
    if let Fate::Unsent { noticed } = plan.fate {
        if plan.death.is_some() {
            world.kill(process);
        }
        sleep(plan.before).await;
        return lost(noticed, "the request was lost").await;
    }
    let (done, answered) = oneshot::channel();
    let server = world.clone();
    let (before, fate) = (plan.before, plan.fate);
    tokio::spawn(async move {
        sleep(before).await;
        let response = server.with(|state| state.serve(process, &call, fate));
        insert_again(&server);
        let _ = done.send(response); // its sender may not wait any more
    });
    if plan.death == Some(Death::OnTheWay) {
        world.kill(process);
        return pending().await;
    }
    let served = answered
        .await
        .map_err(|_| ConnectorError::io("the simulation ended".into()))?;
    if plan.death == Some(Death::After) {
        world.kill(process);
        return pending().await;
    }
    sleep(plan.after).await;
    if let Fate::ResponseLost { noticed } = plan.fate {
        return lost(noticed, "the response was lost").await;
    }
    response(served)
}

/// Lets others soon insert again what the service has just deleted or counted as deleted.
fn insert_again(world: &World) {
    for (key, after) in world.with(State::take_insertions) {
        let world = world.clone();
        tokio::spawn(async move {
            sleep(after).await;
            world.with(|state| state.insert_object(&key));
        });
    }
}

async fn lost(noticed: bool, what: &'static str) -> Outcome {
    if noticed {
        Err(ConnectorError::io(what.into()))
    } else {
        // The sender waits until its own timeout.
        pending().await
    }
}

fn read(request: &HttpRequest) -> Call {
    let name = wire::name_of(request);
    let (target, operation) = name.split_once('.').expect("a service and an operation");
    Call {
        target: match target {
            "DynamoDB" => Target::DynamoDb,
            "SQS" => Target::Sqs,
            "EventBridge" => Target::EventBridge,
            _ => Target::S3Vectors,
        },
        name: operation.to_owned(),
        body: wire::body_of(request),
    }
}

fn response(served: Response) -> Outcome {
    let mut response = wire::response(served.status, served.body);
    let content_type = "application/x-amz-json-1.0";
    response.headers_mut().insert("content-type", content_type);
    Ok(response)
}

impl State {
    /// Records a call that starts, checks that it is allowed, and decides what happens to it.
    fn begin_call(&mut self, process: ProcessId, call: &Call) -> super::faults::Plan {
        let number = usize::try_from(self.stats.calls).expect("few calls");
        self.stats.calls += 1;
        if self.one_more_call(process) > MOST_CALLS {
            self.violated(format!("process {process} goes on and on"));
            self.kill(process);
        }
        if self.life(process) == Life::Returned {
            self.violated(format!(
                "{} is called after the handler returned",
                call.name
            ));
        }
        if call.name == "DeleteVectors" {
            let now = self.now();
            let checked =
                self.checks
                    .delete_starts(process, super::index::keys_of(&call.body), now);
            self.expect(checked);
        }
        let plan = self
            .planner
            .plan(number, call.target, &call.name, &mut self.rng);
        let what = self.describe(call);
        self.note(
            process,
            &format!("{what} is sent ({:?}, {:?})", plan.fate, plan.death),
        );
        let kind = match plan.fate {
            Fate::Served => None,
            Fate::Unsent { .. } => Some("request lost"),
            Fate::ResponseLost { .. } => Some("response lost"),
            Fate::Partly => Some("partly served"),
            Fate::Refused(_, kind) => Some(kind),
        };
        if let Some(kind) = kind {
            self.fault(kind);
        }
        plan
    }

    /// Serves a request that has arrived.
    fn serve(&mut self, process: ProcessId, call: &Call, fate: Fate) -> Response {
        let response = match fate {
            Fate::Refused(status, "TransactionCanceledException") => Response {
                status,
                body: super::dynamodb::canceled(&call.body, &mut self.rng).to_string(),
            },
            Fate::Refused(status, kind) => Response::refusal(status, kind),
            Fate::Served | Fate::ResponseLost { .. } | Fate::Unsent { .. } | Fate::Partly => {
                let partly = fate == Fate::Partly;
                match call.target {
                    Target::DynamoDb => self.serve_dynamodb(process, call, partly),
                    Target::Sqs => self.serve_sqs(call, partly),
                    Target::EventBridge => self.serve_event_bus(call, partly),
                    Target::S3Vectors => self.serve_s3vectors(process, call, partly),
                }
            }
        };
        let what = self.describe(call);
        self.note(process, &format!("{what} has response {}", response.status));
        response
    }

    /// A call, for the trace.
    fn describe(&self, call: &Call) -> String {
        match call.target {
            Target::DynamoDb => {
                let keys = super::dynamodb::keys_of(&call.name, &call.body);
                let keys: Vec<_> = keys.iter().map(|key| self.checks.name_of(key)).collect();
                format!("{} {}", call.name, keys.join(" "))
            }
            Target::Sqs | Target::EventBridge => call.name.clone(),
            Target::S3Vectors => {
                let keys = super::index::keys_of(&call.body);
                format!("{} {}", call.name, keys.join(" "))
            }
        }
    }
}
