//! The HTTP client under the SDK's clients: hyper's, over TLS by rustls with ring. It speaks
//! HTTP/1.1 only, as DynamoDB and SQS do.
//!
//! The SDK's own HTTP client is not used. It links HTTP/2, proxies and a second loader of the
//! system's roots into every function, and makes a new TLS configuration for each of the SDK's
//! clients.

use super::roots::TlsRoots;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::client::legacy::{self, Client, connect};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ClientConfig};

/// The time limit for making a TCP connection. The TLS handshake is part of the time limit of a
/// try.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// An HTTP client that trusts `roots`. The SDK clients that use it share its connections.
pub fn http_client(roots: TlsRoots) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Hyper(hyper_client(roots)));
    http_client_fn(move |_, _| connector.clone())
}

#[derive(Debug)]
struct Hyper(HyperClient);

type HyperClient = Client<HttpsConnector<connect::HttpConnector>, SdkBody>;

/// hyper's client, which trusts `roots`, follows no redirect and uses no proxy.
pub(crate) fn hyper_client(roots: TlsRoots) -> HyperClient {
    let mut tcp = connect::HttpConnector::new();
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls_config(roots))
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(connector)
}

fn tls_config(roots: TlsRoots) -> ClientConfig {
    #[expect(
        clippy::expect_used,
        reason = "ring has cipher suites for both versions of TLS"
    )]
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring can speak TLS 1.2 and 1.3")
        .with_root_certificates(roots.load())
        .with_no_client_auth()
}

impl HttpConnector for Hyper {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let connection = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || poisonable(&connection));
        }
        let response = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let response = response.await.map_err(connector_error)?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Lets the SDK stop using a connection over which a service responded with an error of the service
/// itself.
fn poisonable(connection: &CaptureConnection) -> Option<ConnectionMetadata> {
    connection.connection_metadata().as_ref()?;
    let connection = connection.clone();
    let poison = move || {
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.poison();
        }
    };
    Some(
        ConnectionMetadata::builder()
            .proxied(false)
            .poison_fn(poison)
            .build(),
    )
}

/// Sorts an error, so that the SDK can decide whether to try again.
fn connector_error(error: legacy::Error) -> ConnectorError {
    let is_connect = error.is_connect();
    let error: BoxError = error.into();
    let hyper = find::<hyper::Error>(error.as_ref());
    let is = |test: fn(&hyper::Error) -> bool| hyper.is_some_and(test);
    if is(hyper::Error::is_user) {
        ConnectorError::user(error)
    } else if is(hyper::Error::is_incomplete_message) {
        ConnectorError::other(error, Some(ErrorKind::TransientError))
    } else if is_connect
        || is(hyper::Error::is_closed)
        || is(hyper::Error::is_canceled)
        || find::<io::Error>(error.as_ref()).is_some()
    {
        ConnectorError::io(error)
    } else {
        ConnectorError::other(error, None)
    }
}

/// Whether a call failed because the service's certificate is not trusted.
pub(super) fn is_untrusted(error: &ConnectorError) -> bool {
    wrong_certificate(error).is_some()
}

/// What is wrong with the service's certificate, if a call failed because of that.
pub(crate) fn wrong_certificate<'a>(
    error: &'a (dyn Error + 'static),
) -> Option<&'a rustls::CertificateError> {
    match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(wrong)) => Some(wrong),
        _ => None,
    }
}

/// The first error of this type among an error and its sources.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut errors = std::iter::successors(Some(error), |&error| {
        // The `source` of an I/O error is not the error in it, but the source of that error.
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    });
    errors.find_map(|error| error.downcast_ref())
}
