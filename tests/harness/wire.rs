//! The wire to AWS: the single place where the harness intercepts calls between an SDK client and
//! the network.
//!
//! [`intercept`] makes an HTTP client that gives every request to a hook. A hook may pass the
//! request on, delay it, refuse it, lose its response, count it or record it. [`Wire`] is the
//! suite's hook: it lists calls, and breaks or holds them by name. The other hooks are the
//! benchmarks' meters, the recorder of `benches/handlers`, and the network of the simulation, which
//! passes nothing on.
//!
//! A hook cannot reach a worker in another process, so the kill tests use a proxy on a socket
//! instead (`kills/line.rs`).

use crate::contention::{self, Items};
use aws_sdk_dynamodb::config::{HttpClient, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What a client gets for a request: a response, or an error because the wire is broken.
pub type Outcome = Result<HttpResponse, ConnectorError>;

/// The network behind a hook. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Network(SharedHttpConnector);

impl Network {
    /// Passes a request on.
    pub async fn send(&self, request: HttpRequest) -> Outcome {
        self.0.call(request).await
    }
}

/// Returns the HTTP client to put under the SDK's clients: each of their requests goes to `hook`.
pub fn intercept<F>(
    hook: impl Fn(HttpRequest, Network) -> F + Send + Sync + 'static,
) -> SharedHttpClient
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let hook = Arc::new(move |request, network| HttpConnectorFuture::new(hook(request, network)));
    let inner = shared::aws::http_client(shared::aws::TlsRoots::default());
    http_client_fn(move |settings, components| {
        let network = Network(inner.http_connector(settings, components));
        let hook = hook.clone();
        SharedHttpConnector::new(Intercepted { hook, network })
    })
}

struct Intercepted<H> {
    hook: Arc<H>,
    network: Network,
}

impl<H> fmt::Debug for Intercepted<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intercepted").finish_non_exhaustive()
    }
}

impl<H> HttpConnector for Intercepted<H>
where
    H: Fn(HttpRequest, Network) -> HttpConnectorFuture + Send + Sync,
{
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        (self.hook)(request, self.network.clone())
    }
}

/// The name of the call in a request to AWS: `Service.Operation`, such as `DynamoDB.PutItem`.
pub fn name_of(request: &HttpRequest) -> String {
    match request
        .headers()
        .get("x-amz-target")
        .and_then(|target| target.split_once('.'))
    {
        Some((target, operation)) if target.starts_with("DynamoDB") => {
            format!("DynamoDB.{operation}")
        }
        Some(("AWSEvents", operation)) => format!("EventBridge.{operation}"),
        Some((_, operation)) => format!("SQS.{operation}"),
        None => {
            let path = request.uri().rsplit('/').next().unwrap_or_default();
            format!("S3Vectors.{path}")
        }
    }
}

/// The body of a request.
///
/// # Panics
/// When it is not JSON, which all these services use.
pub fn body_of(request: &HttpRequest) -> Value {
    let body = request.body().bytes().unwrap_or_default();
    serde_json::from_slice(body).expect("the SDK sends JSON")
}

/// Gives a request another body. Its signature is then wrong, but the embedded services do not
/// check it.
pub fn set_body(request: &mut HttpRequest, body: &Value) {
    let body = body.to_string();
    let length = body.len().to_string();
    request.headers_mut().insert("content-length", length);
    *request.body_mut() = body.into();
}

/// A response made by the test.
///
/// # Panics
/// When there is no such status.
pub fn response(status: u16, body: String) -> HttpResponse {
    HttpResponse::new(status.try_into().expect("a status code"), body.into())
}

/// The names of the calls that the service makes, as [`Wire`] takes them.
pub mod call {
    /// Creates a task.
    pub const PUT_TASK: &str = "DynamoDB.PutItem";
    /// Reads a task.
    pub const GET_TASK: &str = "DynamoDB.GetItem";
    /// Changes a task; for a small one also its settlement.
    pub const WRITE_TASK: &str = "DynamoDB.UpdateItem";
    /// Claims a task or a chunk, or defers it.
    pub const CLAIM: &str = WRITE_TASK;
    /// Writes the ids of a large task's chunks.
    pub const PUT_IDS: &str = "DynamoDB.BatchWriteItem";
    /// Reads the ids and states of a large task's chunks.
    pub const READ_CHUNKS: &str = "DynamoDB.BatchGetItem";
    /// Settles chunks of a large task.
    pub const SETTLE_CHUNKS: &str = "DynamoDB.TransactWriteItems";
    /// Reads a page of a list.
    pub const QUERY: &str = "DynamoDB.Query";
    /// Sends the message of a task.
    pub const SEND: &str = "SQS.SendMessage";
    /// Sends the messages of several tasks, or of several chunks.
    pub const SEND_BATCH: &str = "SQS.SendMessageBatch";
    /// Sets when received messages come back.
    pub const RETURN: &str = "SQS.ChangeMessageVisibilityBatch";
    /// The existence check.
    pub const CHECK: &str = "S3Vectors.GetVectors";
    /// Deletes objects.
    pub const DELETE: &str = "S3Vectors.DeleteVectors";
}

/// The vector store fails.
pub const FAILING: Fault = Fault::Refused(503, "ServiceUnavailableException");
/// The vector store throttles.
pub const THROTTLING: Fault = Fault::Refused(429, "TooManyRequestsException");
/// The service has no permission for the call.
pub const DENIED: Fault = Fault::Refused(400, "AccessDeniedException");

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The call never arrives.
    Unsent,
    /// The call is carried out, and its response is lost.
    ResponseLost,
    /// The call is refused with this status and error type, and not carried out.
    Refused(u16, &'static str),
    /// DynamoDB responds to a batch and has processed none of it.
    Unprocessed,
    /// DynamoDB responds to a query with at most this many rows, and says where to continue.
    Paged(u32),
    /// SQS takes the first message of a batch and none of the others.
    OnlyFirst,
    /// DynamoDB cancels the transaction, with this code as the reason of its first part.
    Canceled(&'static str),
    /// S3 Vectors refuses the call because it names an invalid key.
    InvalidKeys,
    /// S3 Vectors acknowledges the call and keeps these keys.
    Kept(Vec<String>),
    /// The call waits before it is sent, until it is released.
    HeldBefore(Hold),
    /// The call is carried out, and its response waits until it is released.
    HeldAfter(Hold),
}

/// A call that waits. Clones share their state.
#[derive(Clone, Debug)]
pub struct Hold(Arc<(Semaphore, Semaphore)>);

impl Hold {
    fn new() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }

    /// Waits until the call has reached the hold.
    pub async fn reached(&self) {
        let reached = tokio::time::timeout(Duration::from_secs(30), self.0.0.acquire()).await;
        let reached = reached.expect("the call that is to be held was never made");
        reached.expect("never closed").forget();
    }

    /// Lets the call go on.
    pub fn release(&self) {
        self.0.1.add_permits(1);
    }

    async fn wait(&self) {
        self.0.0.add_permits(1);
        self.0.1.acquire().await.expect("never closed").forget();
    }
}

/// The suite's hook. Clones share their state.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The name and the body of each request.
    calls: Vec<(String, Vec<u8>)>,
    delays: Vec<i64>,
    faults: Vec<(String, usize, Fault)>,
    items: Option<Items>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    /// Returns the HTTP client to put under the SDK's clients.
    pub fn http_client(&self) -> SharedHttpClient {
        let wire = self.clone();
        intercept(move |request, network| {
            let (fault, items) = wire.observe(&request);
            carry(request, network, fault, items)
        })
    }

    /// Returns the calls since this function was last called, such as `DynamoDB.PutItem`, in the
    /// order in which they were sent.
    pub fn calls(&self) -> Vec<String> {
        self.take_calls().map(|(call, _)| call).collect()
    }

    /// Returns how many calls of this name there were, of those that [`Self::calls`] would return.
    pub fn count(&self, call: &str) -> usize {
        self.take_calls().filter(|(made, _)| made == call).count()
    }

    /// Returns the bodies of the calls of this name, of those that [`Self::calls`] would return.
    pub fn requests(&self, call: &str) -> Vec<Value> {
        let requests = self.take_calls().filter(|(made, _)| made == call);
        let parse = |(_, body): (_, Vec<u8>)| serde_json::from_slice(&body).expect("JSON");
        requests.map(parse).collect()
    }

    /// Returns the delays of returned messages, in seconds, since this function was last called.
    /// They are sorted.
    pub fn delays(&self) -> Vec<i64> {
        let mut delays = std::mem::take(&mut self.0.lock().expect("not poisoned").delays);
        delays.sort_unstable();
        delays
    }

    fn take_calls(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        std::mem::take(&mut self.0.lock().expect("not poisoned").calls).into_iter()
    }

    /// Breaks the next call of this name.
    pub fn next(&self, call: &str, fault: Fault) {
        self.next_times(1, call, fault);
    }

    /// Breaks the next `times` calls of this name.
    pub fn next_times(&self, times: usize, call: &str, fault: Fault) {
        let mut state = self.0.lock().expect("not poisoned");
        state.faults.push((call.to_owned(), times, fault));
    }

    /// Stops breaking calls.
    pub fn heal(&self) {
        self.0.lock().expect("not poisoned").faults.clear();
    }

    /// Holds the next call of this name before it is sent.
    pub fn hold(&self, call: &str) -> Hold {
        self.hold_times(1, call)
    }

    /// Holds the next `times` calls of this name before they are sent. Each is reached and released
    /// on its own.
    pub fn hold_times(&self, times: usize, call: &str) -> Hold {
        let hold = Hold::new();
        self.next_times(times, call, Fault::HeldBefore(hold.clone()));
        hold
    }

    /// Holds the response to the next call of this name.
    pub fn hold_response(&self, call: &str) -> Hold {
        let hold = Hold::new();
        self.next(call, Fault::HeldAfter(hold.clone()));
        hold
    }

    /// Makes DynamoDB's transactions hold their items for this long from now on.
    pub fn hold_items(&self, time: Duration) -> Items {
        let items = Items::held_for(time);
        self.0.lock().expect("not poisoned").items = Some(items.clone());
        items
    }

    fn observe(&self, request: &HttpRequest) -> (Option<Fault>, Option<Items>) {
        let call = name_of(request);
        let mut state = self.0.lock().expect("not poisoned");
        let found = state
            .faults
            .iter_mut()
            .find(|(name, times, _)| *name == call && *times > 0);
        let fault = found.map(|(_, times, fault)| {
            *times -= 1;
            fault.clone()
        });
        if call == call::RETURN {
            let body = body_of(request);
            let entries = body["Entries"].as_array().into_iter().flatten();
            let seconds = entries.filter_map(|entry| entry["VisibilityTimeout"].as_i64());
            state.delays.extend(seconds);
        }
        let body = request.body().bytes().unwrap_or_default();
        state.calls.push((call, body.to_vec()));
        (fault, state.items.clone())
    }
}

async fn carry(
    mut request: HttpRequest,
    network: Network,
    fault: Option<Fault>,
    items: Option<Items>,
) -> Outcome {
    match fault {
        None => match items {
            None => network.send(request).await,
            Some(items) => items.carry(request, network).await,
        },
        Some(Fault::Unsent) => Err(lost("the request was lost")),
        Some(Fault::ResponseLost) => {
            network.send(request).await?;
            Err(lost("the response was lost"))
        }
        Some(Fault::Refused(status, kind)) => Ok(refusal(status, kind, "[]")),
        Some(Fault::Unprocessed) => Ok(unprocessed(&request)),
        Some(Fault::Canceled(code)) => Ok(response(
            400,
            contention::canceled([code, "None"]).to_string(),
        )),
        Some(Fault::InvalidKeys) => {
            let fields = r#"[{"path":"keys","message":"refused by the test"}]"#;
            Ok(refusal(400, "ValidationException", fields))
        }
        Some(Fault::Paged(rows)) => {
            let mut body = body_of(&request);
            body["Limit"] = rows.into();
            set_body(&mut request, &body);
            network.send(request).await
        }
        Some(Fault::OnlyFirst) => {
            let mut body = body_of(&request);
            let entries = body["Entries"].as_array_mut().expect("messages");
            entries.truncate(1);
            set_body(&mut request, &body);
            network.send(request).await
        }
        Some(Fault::Kept(kept)) => {
            let mut body = body_of(&request);
            let keys = body["keys"].as_array_mut().expect("keys");
            keys.retain(|key| !kept.iter().any(|kept| key == kept));
            // S3 Vectors does not accept a delete of no keys.
            if keys.is_empty() {
                return Ok(response(200, "{}".to_owned()));
            }
            set_body(&mut request, &body);
            network.send(request).await
        }
        Some(Fault::HeldBefore(hold)) => {
            hold.wait().await;
            network.send(request).await
        }
        Some(Fault::HeldAfter(hold)) => {
            let outcome = network.send(request).await;
            hold.wait().await;
            outcome
        }
    }
}

fn lost(what: &str) -> ConnectorError {
    ConnectorError::io(what.into())
}

/// The response that reports a whole batch as not processed.
fn unprocessed(request: &HttpRequest) -> HttpResponse {
    let field = match name_of(request).as_str() {
        "DynamoDB.BatchGetItem" => "UnprocessedKeys",
        _ => "UnprocessedItems",
    };
    let body = json!({ field: body_of(request)["RequestItems"] });
    response(200, body.to_string())
}

fn refusal(status: u16, kind: &str, fields: &str) -> HttpResponse {
    let body =
        format!(r#"{{"__type":"{kind}","message":"refused by the test","fieldList":{fields}}}"#);
    let mut response = response(status, body);
    response
        .headers_mut()
        .insert("x-amzn-errortype", kind.to_owned());
    response
}
