//! The AWS SDK clients, built once before the first request.
//!
//! `settings.rs` holds the region, the endpoints and the credentials, `http.rs` is the HTTP client
//! under all SDK clients, and `roots.rs` has the certificates that it trusts. Every call has a time
//! limit. The SDK may send a write again if it is guarded by a condition (each carries a token of
//! its own). It never sends a delete from a vector store again, since the worker must read the task
//! before a second delete.
//!
//! The future of a call takes six kilobytes, so each is boxed where it is made. Otherwise the
//! futures of all callers would contain it, and it would be copied once for each of them.

mod http;
mod roots;
mod settings;
#[cfg(feature = "sigv4")]
mod sigv4;

pub use http::http_client;
#[cfg(feature = "store-protocol")]
pub(crate) use http::{hyper_client, wrong_certificate};
pub use roots::TlsRoots;
pub use settings::AwsSettings;
#[cfg(feature = "sigv4")]
pub use sigv4::signature;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use std::collections::HashMap;
use std::time::Duration;

/// The time limit of a call to a vector store. The call is tried once.
pub const VECTOR_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit of a call to DynamoDB or SQS, with all its tries.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// The configuration of the SDK's clients.
///
/// The SDK's own loader is not used: it links the whole chain of credential providers, and a
/// function needs none of them.
pub fn config(settings: AwsSettings) -> SdkConfig {
    let credentials = Credentials::new(
        settings.access_key_id,
        settings.secret_access_key,
        settings.session_token,
        None,
        "environment",
    );
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http_client(settings.tls_roots))
        .service_config(EndpointUrls(settings.endpoint_urls));
    config.set_use_fips(settings.use_fips);
    config.set_use_dual_stack(settings.use_dual_stack);
    config.build()
}

/// The variables that name endpoints: one for each service, and one for all services.
#[derive(Debug)]
struct EndpointUrls(HashMap<String, String>);

impl LoadServiceConfig for EndpointUrls {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace(' ', "_");
        let own = self.0.get(&format!("{}_{service}", key.env()));
        own.or_else(|| self.0.get(key.env())).cloned()
    }
}

/// A configuration for a service on this machine at `endpoint`, independent of the environment.
/// `http_client`: one that observes the requests, for tests.
pub fn local_config(endpoint: &str, http_client: Option<SharedHttpClient>) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .http_client(http_client.unwrap_or_else(|| self::http_client(TlsRoots::default())))
        .build()
}

/// Makes a client of DynamoDB, with up to three tries.
pub fn dynamodb_client(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config)
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(timeouts(CALL_TIMEOUT, CALL_TIMEOUT / 2))
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// Makes a client of SQS, with two tries. The sweeper later sends a message that could not be sent.
pub fn sqs_client(config: &SdkConfig) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::config::Builder::from(config)
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(timeouts(CALL_TIMEOUT, CALL_TIMEOUT / 2))
        .build();
    aws_sdk_sqs::Client::from_conf(config)
}

/// Makes a client of EventBridge, with three tries. The next invocation sends the events that could
/// not be sent.
#[cfg(feature = "events")]
pub fn eventbridge_client(config: &SdkConfig) -> aws_sdk_eventbridge::Client {
    let config = aws_sdk_eventbridge::config::Builder::from(config)
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(timeouts(CALL_TIMEOUT, CALL_TIMEOUT / 2))
        .build();
    aws_sdk_eventbridge::Client::from_conf(config)
}

/// Makes a client of S3 Vectors, with one try. The worker decides about a second one.
#[cfg(feature = "s3vectors")]
pub fn s3vectors_client(config: &SdkConfig) -> aws_sdk_s3vectors::Client {
    let config = aws_sdk_s3vectors::config::Builder::from(config)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(VECTOR_CALL_TIMEOUT, VECTOR_CALL_TIMEOUT))
        .build();
    aws_sdk_s3vectors::Client::from_conf(config)
}

/// Makes a client of Secrets Manager in this region, with two tries, within the time limit for
/// logging in to a store.
#[cfg(feature = "secrets-manager")]
pub fn secretsmanager_client(config: &SdkConfig, region: Region) -> aws_sdk_secretsmanager::Client {
    let time = Duration::from_secs(4);
    let config = aws_sdk_secretsmanager::config::Builder::from(config)
        .region(region)
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(timeouts(time, time / 2))
        .build();
    aws_sdk_secretsmanager::Client::from_conf(config)
}

fn timeouts(operation: Duration, attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

/// What a log line says of a failed call: the service's error code, or what became of the call. It
/// is never the whole error, which may contain ARNs and parts of the request.
pub fn error_code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    match error {
        SdkError::ConstructionFailure(_) => "not built",
        SdkError::TimeoutError(_) => "timeout",
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(error) if http::is_untrusted(error) => "certificate not trusted, see TLS_ROOTS",
            _ => "out of reach",
        },
        SdkError::ResponseError(_) => "unreadable response",
        _ => error.code().unwrap_or("no code"),
    }
}
