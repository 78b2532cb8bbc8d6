//! SQS: rustack, in memory.

use crate::error::StartError;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::body::SqsResponseBody;
use rustack_sqs_http::dispatch::{SqsHandler, dispatch_operation};
use rustack_sqs_http::response::error_to_response;
use rustack_sqs_http::router::resolve_operation;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use web::{Guard, Reply, Server, Site, problem};

const SERVICE: &str = "SQS";
/// The limits of the server. The service itself refuses a message that is too large.
const SITE: Site = Site {
    max_body: 4 * 1024 * 1024,
    too_large: || problem(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large"),
    is_page: |_| false,
};

#[derive(Debug)]
pub(crate) struct Sqs {
    server: Server,
    provider: Arc<RustackSqs>,
}

impl Sqs {
    /// Starts SQS, without queues.
    pub(crate) fn start(listener: TcpListener, guard: Guard) -> Result<Self, StartError> {
        let address = listener.local_addr().map_err(StartError::setup(SERVICE))?;
        let provider = Arc::new(RustackSqs::new(SqsConfig {
            // Queue URLs begin with this host and port, and the SDK calls the URLs unchanged.
            host: address.ip().to_string(),
            port: address.port(),
            ..SqsConfig::default()
        }));
        let handler = Arc::new(RustackSqsHandler::new(Arc::clone(&provider)));
        let respond = move |request| {
            let handler = Arc::clone(&handler);
            async move { respond(handler.as_ref(), request).await }
        };
        let server = Server::start(listener, guard, SITE, respond);
        Ok(Self {
            server: server.map_err(StartError::setup(SERVICE))?,
            provider,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Stops SQS. The messages are lost; the sweeper finds their tasks.
    pub(crate) async fn shutdown(self) {
        self.server.shutdown().await;
        self.provider.shutdown_all().await;
    }
}

/// Responds to a call of the protocol AWS JSON 1.0.
async fn respond(handler: &impl SqsHandler, request: Request<Bytes>) -> Reply {
    let (parts, body) = request.into_parts();
    let request_id = uuid::Uuid::new_v4().to_string();
    let body = without_groups(body);
    let response = match resolve_operation(&parts.headers) {
        Ok(operation) => dispatch_operation(handler, operation, body).await,
        Err(error) => Err(error),
    };
    let response = response.unwrap_or_else(|error| error_to_response(&error, &request_id));
    let (mut parts, body) = response.into_parts();
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        parts.headers.entry("x-amzn-requestid").or_insert(id);
    }
    let kind = HeaderValue::from_static("application/x-amz-json-1.0");
    parts.headers.entry(CONTENT_TYPE).or_insert(kind);
    Response::from_parts(parts, Full::new(whole(body).await))
}

/// Removes the message groups from a request. SQS uses them for fairness on standard queues.
/// rustack supports them only on FIFO queues, and refuses them on others.
fn without_groups(body: Bytes) -> Bytes {
    let Ok(mut request) = serde_json::from_slice::<Value>(&body) else {
        return body;
    };
    let Some(fields) = request.as_object_mut() else {
        return body;
    };
    let mut had_some = fields.remove("MessageGroupId").is_some();
    let entries = fields.get_mut("Entries").and_then(Value::as_array_mut);
    for entry in entries
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        had_some |= entry.remove("MessageGroupId").is_some();
    }
    if had_some {
        request.to_string().into()
    } else {
        body
    }
}

async fn whole(body: SqsResponseBody) -> Bytes {
    let read = body.collect().await;
    read.map(Collected::to_bytes).unwrap_or_default()
}

/// The queue and its dead-letter queue.
#[derive(Clone, Debug)]
pub(crate) struct Queues {
    pub(crate) url: String,
    pub(crate) arn: String,
    pub(crate) dead_letter_url: String,
}

/// Creates the queue `name` and its dead-letter queue `name-dlq`. A message goes there after
/// `max_receive_count` receives.
pub(crate) async fn create_queues(
    client: &Client,
    name: &str,
    visibility_timeout: Duration,
    max_receive_count: u32,
) -> Result<Queues, StartError> {
    let dead_letter_name = format!("{name}-dlq");
    let dead_letter = client
        .create_queue()
        .queue_name(dead_letter_name)
        .send()
        .await;
    let dead_letter_url = dead_letter.map_err(StartError::setup(SERVICE))?.queue_url;
    let dead_letter_url = dead_letter_url.unwrap_or_default();
    let redrive = json!({
        "deadLetterTargetArn": arn(client, &dead_letter_url).await?,
        "maxReceiveCount": max_receive_count,
    });
    let seconds = visibility_timeout.as_millis().div_ceil(1000);
    let queue = client
        .create_queue()
        .queue_name(name)
        .attributes(QueueAttributeName::VisibilityTimeout, seconds.to_string())
        .attributes(QueueAttributeName::RedrivePolicy, redrive.to_string())
        .send()
        .await;
    let url = queue
        .map_err(StartError::setup(SERVICE))?
        .queue_url
        .unwrap_or_default();
    Ok(Queues {
        arn: arn(client, &url).await?,
        url,
        dead_letter_url,
    })
}

async fn arn(client: &Client, url: &str) -> Result<String, StartError> {
    let attributes = client
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await
        .map_err(StartError::setup(SERVICE))?
        .attributes;
    attributes
        .and_then(|mut attributes| attributes.remove(&QueueAttributeName::QueueArn))
        .ok_or("the queue has no ARN")
        .map_err(StartError::setup(SERVICE))
}
