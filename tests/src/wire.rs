//! What goes over the wire to AWS, beneath the SDK: counted, held, broken.

use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It never arrives.
    Unsent,
    /// It is carried out, and its answer is lost.
    AnswerLost,
    /// It is answered with this status and error type, and not carried out.
    Refused(u16, &'static str),
    /// DynamoDB answers a batch and has processed none of it.
    Unprocessed,
    /// DynamoDB answers a query with at most so many rows, and says where to go on.
    Paged(u32),
    /// SQS takes the first message of a batch and none of the others.
    OnlyFirst,
    /// DynamoDB answers that a transaction on the same item is under way, and does not carry it out.
    Conflict,
    /// It is answered as S3 Vectors answers a call that names an invalid key, and not carried out.
    InvalidKeys,
    /// S3 Vectors acknowledges it and keeps these keys.
    Kept(Vec<String>),
    /// It waits before it is sent, until it is let go.
    HeldBefore(Hold),
    /// It is carried out, and its answer waits until it is let go.
    HeldAfter(Hold),
}

/// A call that waits. Clones are one.
#[derive(Clone, Debug)]
pub struct Hold(Arc<(Semaphore, Semaphore)>);

impl Hold {
    fn new() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }

    /// Waits until the call is there.
    ///
    /// # Panics
    /// When it does not come within half a minute.
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

/// The wire. Clones are one.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: Vec<String>,
    faults: Vec<(String, usize, Fault)>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    /// The HTTP client to put under the SDK.
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(Watching {
            wire: self.clone(),
            inner: shared::aws::http_client(shared::aws::TlsRoots::default()),
        })
    }

    /// The calls since the last time this was asked, such as `DynamoDB.PutItem`, in the order they were sent.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("not poisoned").calls)
    }

    /// Breaks the next call of this name.
    pub fn next(&self, call: &str, fault: Fault) {
        self.next_times(1, call, fault);
    }

    /// Breaks the next calls of this name, so many of them.
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

    /// Holds the next calls of this name, so many of them, before they are sent: each is reached and released by itself.
    pub fn hold_times(&self, times: usize, call: &str) -> Hold {
        let hold = Hold::new();
        self.next_times(times, call, Fault::HeldBefore(hold.clone()));
        hold
    }

    /// Holds the answer to the next call of this name.
    pub fn hold_answer(&self, call: &str) -> Hold {
        let hold = Hold::new();
        self.next(call, Fault::HeldAfter(hold.clone()));
        hold
    }

    fn observe(&self, request: &HttpRequest) -> Option<Fault> {
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
        state.calls.push(call);
        fault
    }
}

/// What a request to AWS asks for: `Service.Operation`.
pub fn name_of(request: &HttpRequest) -> String {
    match request
        .headers()
        .get("x-amz-target")
        .and_then(|target| target.split_once('.'))
    {
        Some((target, operation)) if target.starts_with("DynamoDB") => {
            format!("DynamoDB.{operation}")
        }
        Some((_, operation)) => format!("SQS.{operation}"),
        None => {
            let path = request.uri().rsplit('/').next().unwrap_or_default();
            format!("S3Vectors.{path}")
        }
    }
}

#[derive(Debug)]
struct Watching {
    wire: Wire,
    inner: SharedHttpClient,
}

impl HttpClient for Watching {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(WatchingConnector {
            wire: self.wire.clone(),
            inner: self.inner.http_connector(settings, components),
        })
    }
}

#[derive(Debug)]
struct WatchingConnector {
    wire: Wire,
    inner: SharedHttpConnector,
}

impl HttpConnector for WatchingConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let fault = self.wire.observe(&request);
        let inner = self.inner.clone();
        HttpConnectorFuture::new(async move {
            match fault {
                None => inner.call(request).await,
                Some(Fault::Unsent) => Err(lost("the request was lost")),
                Some(Fault::AnswerLost) => {
                    inner.call(request).await?;
                    Err(lost("the answer was lost"))
                }
                Some(Fault::Refused(status, kind)) => Ok(refusal(status, kind, "[]")),
                Some(Fault::Unprocessed) => Ok(unprocessed(&request)),
                Some(Fault::Paged(rows)) => {
                    let limit = |body: &mut Value| body["Limit"] = rows.into();
                    inner.call(changed(&request, limit)).await
                }
                Some(Fault::OnlyFirst) => inner.call(changed(&request, only_first)).await,
                Some(Fault::Conflict) => Ok(conflict(&request)),
                Some(Fault::InvalidKeys) => {
                    let fields = r#"[{"path":"keys","message":"refused by the test"}]"#;
                    Ok(refusal(400, "ValidationException", fields))
                }
                Some(Fault::Kept(keys)) => match without(&request, &keys) {
                    Some(request) => inner.call(request).await,
                    None => Ok(HttpResponse::new(
                        200.try_into().expect("a status code"),
                        "{}".into(),
                    )),
                },
                Some(Fault::HeldBefore(hold)) => {
                    hold.wait().await;
                    inner.call(request).await
                }
                Some(Fault::HeldAfter(hold)) => {
                    let answer = inner.call(request).await;
                    hold.wait().await;
                    answer
                }
            }
        })
    }
}

/// A delete of vectors without these keys. `None`: of none.
fn without(request: &HttpRequest, keys: &[String]) -> Option<HttpRequest> {
    let mut is_empty = false;
    let request = changed(request, |body| {
        let listed = body["keys"].as_array_mut().expect("keys");
        listed.retain(|key| !keys.iter().any(|kept| key == kept));
        is_empty = listed.is_empty();
    });
    (!is_empty).then_some(request)
}

/// A batch of messages without all but the first.
fn only_first(batch: &mut Value) {
    let entries = batch["Entries"].as_array_mut().expect("messages");
    entries.truncate(1);
}

/// A request with its body changed.
fn changed(request: &HttpRequest, change: impl FnOnce(&mut Value)) -> HttpRequest {
    let mut body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default())
        .expect("the SDK sends JSON");
    change(&mut body);
    let body = body.to_string();
    let mut request = request.try_clone().expect("a body in memory");
    let length = body.len().to_string();
    request.headers_mut().insert("content-length", length);
    *request.body_mut() = body.into();
    request
}

fn lost(what: &str) -> ConnectorError {
    ConnectorError::io(what.into())
}

/// The answer to a batch of which nothing was processed.
fn unprocessed(request: &HttpRequest) -> HttpResponse {
    let field = match name_of(request).as_str() {
        "DynamoDB.BatchGetItem" => "UnprocessedKeys",
        _ => "UnprocessedItems",
    };
    let asked: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default())
        .expect("the SDK sends JSON");
    let body = serde_json::json!({ field: asked["RequestItems"] }).to_string();
    HttpResponse::new(200.try_into().expect("a status code"), body.into())
}

/// A conflict as DynamoDB words it: of a transaction it gives the reason of each of its parts.
fn conflict(request: &HttpRequest) -> HttpResponse {
    if name_of(request) != "DynamoDB.TransactWriteItems" {
        return refusal(400, "TransactionConflictException", "[]");
    }
    let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message":"Transaction cancelled","CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]}"#;
    HttpResponse::new(400.try_into().expect("a status code"), body.into())
}

fn refusal(status: u16, kind: &str, fields: &str) -> HttpResponse {
    let body =
        format!(r#"{{"__type":"{kind}","message":"refused by the test","fieldList":{fields}}}"#);
    let status = status.try_into().expect("a status code");
    let mut response = HttpResponse::new(status, body.into());
    response
        .headers_mut()
        .insert("x-amzn-errortype", kind.to_owned());
    response
}
