//! One call to a store: over TLS with the system's roots, without redirects or proxies, in bounded
//! time and size.

use super::address::{Address, Auth};
use super::pauses::Pauses;
use super::responses;
use crate::aws::{self, TlsRoots, VECTOR_CALL_TIMEOUT};
use crate::clock::Clock;
use crate::vector::Password;
use crate::vector::port::{Services, VectorError, VectorErrorKind};
#[cfg(feature = "secrets-manager")]
use crate::vector::secret::Secret;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::ProvideCredentials;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect};
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::rustls::CertificateError;

/// The most bytes of a response.
const MAX_RESPONSE: usize = 1024 * 1024;
/// The code of a request that was never sent.
pub(super) const OUT_OF_REACH: &str = "out of reach";
/// How long to wait for the body of an error. It only adds a text to what the status says.
const WORDS_TIMEOUT: Duration = Duration::from_secs(1);
/// The version of the store protocol.
const VERSION: (&str, &str) = ("deletion-tasks-protocol", "1");

/// The store at one URL.
pub(super) struct Http {
    client: Client<HttpsConnector<connect::HttpConnector>, SdkBody>,
    base: String,
    auth: Auth,
    /// `VECTOR_STORE_TOKEN`.
    token: Option<Password>,
    #[cfg(feature = "secrets-manager")]
    secret: Option<Secret>,
    aws: SdkConfig,
    clock: Clock,
    pauses: Pauses,
}

/// Leaves out the settings, which may hold a token.
impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http").field(&self.base).finish()
    }
}

impl Http {
    pub(super) fn new(address: &Address, services: &Services) -> Self {
        Self {
            client: aws::hyper_client(TlsRoots::System),
            base: address.base.clone(),
            auth: address.auth.clone(),
            token: services.token.clone(),
            #[cfg(feature = "secrets-manager")]
            secret: match &address.auth {
                Auth::BearerFromSecret(arn) => Some(Secret::new(&services.aws, arn)),
                _ => None,
            },
            aws: services.aws.clone(),
            clock: services.clock.clone(),
            pauses: Pauses::default(),
        }
    }

    /// The time by the worker's clock.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// How much longer an index must not be called.
    pub(super) fn pause(&self, index: &str) -> Duration {
        self.pauses.left(index, self.now())
    }

    /// Sends `question` to the store of an index, and returns the body of a success.
    pub(super) async fn call(
        &self,
        operation: &str,
        index: &str,
        question: &impl Serialize,
    ) -> Result<Bytes, VectorError> {
        if !self.pause(index).is_zero() {
            return Err(VectorError::rate_limited());
        }
        let call = async {
            let body = serde_json::to_vec(question).map_err(|error| not_made(error.into()))?;
            let response = self.respond(operation, body.into()).await?;
            let retry_after = response.headers().get(RETRY_AFTER);
            let retry_after = retry_after.and_then(|value| value.to_str().ok());
            if let (StatusCode::TOO_MANY_REQUESTS, Some(value)) = (response.status(), retry_after) {
                self.pauses.begin(index, value, self.now());
            }
            read(response, index).await
        };
        let called = timeout(VECTOR_CALL_TIMEOUT, call).await;
        called.unwrap_or_else(|_| Err(unanswered("timeout", None)))
    }

    async fn respond(
        &self,
        operation: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, VectorError> {
        #[cfg(feature = "secrets-manager")]
        if let Some(secret) = &self.secret {
            if let Some(known) = secret.known() {
                let token = known.password.as_ref();
                let response = self.send(operation, body.clone(), token).await?;
                // The token may have changed since it was fetched.
                if response.status() != StatusCode::UNAUTHORIZED {
                    return Ok(response);
                }
            }
            let token = secret.fetch().await?.password;
            return self.send(operation, body, token.as_ref()).await;
        }
        self.send(operation, body, self.token.as_ref()).await
    }

    async fn send(
        &self,
        operation: &str,
        body: Bytes,
        token: Option<&Password>,
    ) -> Result<Response<Incoming>, VectorError> {
        let request = self.request(operation, body, token).await?;
        self.client.request(request).await.map_err(unsent)
    }

    async fn request(
        &self,
        operation: &str,
        body: Bytes,
        token: Option<&Password>,
    ) -> Result<Request<SdkBody>, VectorError> {
        let url = format!("{}/{operation}", self.base);
        let headers = [(CONTENT_TYPE.as_str(), "application/json"), VERSION];
        let mut request = Request::post(&url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let authorization = match &self.auth {
            Auth::None => Vec::new(),
            Auth::SigV4 { service, region } => {
                self.signature(service, region, &url, &headers, &body)
                    .await?
            }
            _ => vec![(AUTHORIZATION.to_string(), bearer(token)?)],
        };
        for (name, value) in authorization {
            let name: HeaderName = name.parse().map_err(|_| not_made("a header".into()))?;
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| no_token("it is not one line of ASCII"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let request = request.body(SdkBody::from(body));
        request.map_err(|error| not_made(error.into()))
    }

    /// The headers of a signature with the function's own role.
    async fn signature(
        &self,
        service: &str,
        region: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Vec<(String, String)>, VectorError> {
        let provider = self.aws.credentials_provider();
        let provider = provider.ok_or_else(|| not_made("there are no credentials".into()))?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| not_made(error.into()))?;
        aws::signature(credentials, (service, region), "POST", url, headers, body).map_err(not_made)
    }
}

/// Returns the body of a success, or the error that a response means.
async fn read(response: Response<Incoming>, index: &str) -> Result<Bytes, VectorError> {
    let status = response.status();
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
    let body = Limited::new(response.into_body(), MAX_RESPONSE).collect();
    if status != StatusCode::OK {
        // The status decides the meaning, so the body may be missing.
        let body = timeout(WORDS_TIMEOUT, body).await.ok().and_then(Result::ok);
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        return Err(responses::error(
            status.as_u16(),
            &content_type,
            &body,
            index,
        ));
    }
    match body.await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(responses::out_of_form("it has more than 1 MB"))
        }
        Err(error) => Err(unanswered("cut off", Some(error))),
    }
}

/// The error of a request that got no response: either it was never sent, or that is not known.
fn unsent(error: hyper_util::client::legacy::Error) -> VectorError {
    if !error.is_connect() {
        return unanswered("no response", Some(error.into()));
    }
    let (kind, detail, code) = if let Some(wrong) = aws::wrong_certificate(&error) {
        let detail = match wrong {
            CertificateError::UnknownIssuer => {
                "The certificate of the vector store is not trusted: its authority must be among the system's, or in the file that SSL_CERT_FILE names"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "The certificate of the vector store has expired: renew it"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "The certificate of the vector store is for another host than the one in VECTOR_STORES"
            }
            _ => "The certificate of the vector store is not valid",
        };
        (VectorErrorKind::Denied, detail, "certificate not accepted")
    } else {
        (
            VectorErrorKind::Temporary,
            "The vector store cannot be reached",
            OUT_OF_REACH,
        )
    };
    VectorError {
        kind,
        detail: detail.to_owned(),
        code: code.to_owned(),
        source: Some(error.into()),
    }
}

fn unanswered(code: &str, source: Option<Box<dyn Error + Send + Sync>>) -> VectorError {
    VectorError {
        kind: VectorErrorKind::Unanswered,
        detail: "The vector store did not respond".to_owned(),
        code: code.to_owned(),
        source,
    }
}

fn bearer(token: Option<&Password>) -> Result<String, VectorError> {
    let token = token.ok_or_else(|| no_token("VECTOR_STORE_TOKEN is not set"))?;
    Ok(format!("Bearer {}", token.reveal()))
}

fn no_token(what: &str) -> VectorError {
    VectorError {
        kind: VectorErrorKind::Denied,
        detail: format!("The vector store needs a token, and {what}"),
        code: "no token".to_owned(),
        source: None,
    }
}

/// The error of a request that could not be made, because of this program or its environment.
fn not_made(source: Box<dyn Error + Send + Sync>) -> VectorError {
    VectorError {
        kind: VectorErrorKind::Temporary,
        detail: "The request to the vector store could not be made".to_owned(),
        code: "not made".to_owned(),
        source: Some(source),
    }
}
