//! AWS Signature Version 4, with the credentials that the AWS CLI would use.

use crate::args::Connection;
use crate::error::{Error, causes, innermost};
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::default_provider::region::DefaultRegionChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use reqwest::Method;
use shared::aws;
use shared::clock::Clock;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use url::Url;

/// The name of API Gateway in a signature.
const SERVICE: &str = "execute-api";
/// Credentials are renewed this long before they expire. Those without an expiry are renewed this
/// long after they were fetched.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);

/// Signs calls.
#[derive(Debug)]
pub(super) struct Signer {
    profile: Option<String>,
    /// Whether the profile was given by option.
    is_profile_given: bool,
    http: SharedHttpClient,
    /// The credentials that were last fetched. Fetching them may take calls to AWS.
    known: Mutex<Option<Known>>,
    region: Region,
}

#[derive(Debug)]
struct Known {
    credentials: Credentials,
    renewed_at: SystemTime,
}

impl Signer {
    /// # Errors
    /// If no region is known or no credentials are found.
    pub(super) async fn open(connection: &Connection, base: &Url) -> Result<Self, Error> {
        // To the AWS CLI an empty AWS_PROFILE means no profile, to the SDK it is a name.
        #[expect(
            clippy::disallowed_methods,
            reason = "the SDK reads its variables itself, but for this case"
        )]
        let is_empty = std::env::var_os("AWS_PROFILE").is_some_and(|name| name.is_empty());
        let profile = connection.profile.as_deref();
        let profile = profile.or_else(|| is_empty.then_some("default"));
        let mut regions = DefaultRegionChain::builder();
        if let Some(profile) = profile {
            regions = regions.profile_name(profile);
        }
        let region = match connection.region.clone().or_else(|| region_of(base)) {
            Some(region) => Some(Region::new(region)),
            None => regions.build().region().await,
        };
        // The SDK takes an empty AWS_REGION for a region.
        let region = region.filter(|region| !region.as_ref().is_empty());
        let region = region.ok_or_else(|| {
            Error::Usage(
                "The AWS region to sign for is not known: set AWS_REGION, or give --region"
                    .to_owned(),
            )
        })?;
        let signer = Self {
            profile: profile.map(str::to_owned),
            is_profile_given: connection.profile.is_some(),
            http: http_client(),
            known: Mutex::default(),
            region,
        };
        signer.credentials().await?;
        Ok(signer)
    }

    /// A new provider of credentials. Each keeps the profiles' files as it first read them, so it
    /// would not see what somebody has written to them since.
    async fn provider(&self) -> SharedCredentialsProvider {
        let settings = ProviderConfig::without_region()
            .with_http_client(self.http.clone())
            .with_region(Some(self.region.clone()));
        let profile = self.profile.iter();
        if self.is_profile_given {
            // As in the AWS CLI, a profile given by option takes precedence over keys in the
            // environment.
            let provider = ProfileFileCredentialsProvider::builder().configure(&settings);
            let provider = profile.fold(provider, |it, name| it.profile_name(name));
            SharedCredentialsProvider::new(provider.build())
        } else {
            let provider = DefaultCredentialsChain::builder().configure(settings);
            let provider = profile.fold(provider, |it, name| it.profile_name(name));
            SharedCredentialsProvider::new(provider.build().await)
        }
    }

    async fn credentials(&self) -> Result<Credentials, Error> {
        let mut known = self.known.lock().await;
        let now = SystemTime::from(Clock::System.now());
        if let Some(known) = known.as_ref().filter(|known| now < known.renewed_at) {
            return Ok(known.credentials.clone());
        }
        match self.provider().await.provide_credentials().await {
            Ok(credentials) => {
                let renewed_at = renewed_at(credentials.expiry(), now);
                *known = Some(Known {
                    credentials: credentials.clone(),
                    renewed_at,
                });
                Ok(credentials)
            }
            Err(error) => {
                // The known credentials may still be valid.
                let known = known.as_ref().map(|known| &known.credentials);
                let valid = known.filter(|known| may_be_valid(known.expiry(), now));
                valid.cloned().ok_or_else(|| missing(&error))
            }
        }
    }

    /// Forgets credentials that AWS has refused. The next call fetches them again, since somebody
    /// may have logged in.
    pub(super) fn forget(&self) {
        if let Ok(mut known) = self.known.try_lock() {
            *known = None;
        }
    }

    /// The headers to add to a request.
    pub(super) async fn sign(
        &self,
        method: &str,
        url: &Url,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Vec<(String, String)>, Error> {
        let credentials = self.credentials().await?;
        let to = (SERVICE, self.region.as_ref());
        aws::signature(credentials, to, method, url.as_str(), headers, body)
            .map_err(|error| Error::Usage(format!("The call cannot be signed: {error}")))
    }

    /// What to do about a 403 whose text is `refusal`.
    pub(super) fn advice(
        &self,
        refusal: &str,
        method: &Method,
        base: &Url,
        endpoint: &str,
    ) -> String {
        let (api, stage) = names_of(base);
        if refusal.contains("not signed") || stage == Some("internal") {
            return "Check --api: API Gateway has no such path. Give the output ApiUrl of the stack, with its stage.".to_owned();
        }
        if refusal.contains("expired") {
            return "Log in again (aws sso login, or aws login), and check this machine's clock."
                .to_owned();
        }
        if refusal.contains("token") && refusal.contains("invalid") {
            return "Check the access key and the session token, or log in again (aws sso login, or aws login).".to_owned();
        }
        if refusal.contains("signature") {
            return format!(
                "Check the secret key, that the region is {} and that no proxy changes the request.",
                self.region
            );
        }
        let stage = stage.unwrap_or("*");
        let partition = match self.region.as_ref().split('-').next() {
            Some("cn") => "aws-cn",
            _ if self.region.as_ref().starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!(
            "Allow {SERVICE}:Invoke on arn:{partition}:{SERVICE}:{}:*:{api}/{stage}/{method}/internal/deletion-tasks/{endpoint} in the \
             policy of your user or role, and in the API's resource policy if it has one. Or sign as somebody else, with --profile.",
            self.region
        )
    }
}

/// When credentials are renewed: five minutes before they expire or, if they are valid for a short
/// time, in the last fifth of it.
fn renewed_at(expiry: Option<SystemTime>, now: SystemTime) -> SystemTime {
    let Some(expiry) = expiry else {
        return now + RENEWED_BEFORE;
    };
    let left = expiry.duration_since(now).unwrap_or_default();
    expiry - RENEWED_BEFORE.min(left / 5)
}

/// Whether credentials have not expired, as far as is known.
fn may_be_valid(expiry: Option<SystemTime>, now: SystemTime) -> bool {
    expiry.is_none_or(|expiry| now < expiry)
}

/// The error for a chain without credentials.
fn missing(error: &CredentialsError) -> Error {
    let why = innermost(error);
    if causes(error).any(|cause| cause.to_string().contains("dispatch failure")) {
        return Error::Unreachable(format!(
            "AWS cannot be reached for the credentials to sign with: {why}"
        ));
    }
    Error::Usage(format!(
        "There are no AWS credentials to sign with: {why}\n\
         Log in (aws sso login, or aws login), or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    ))
}

/// The region in a host name such as `a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com`.
fn region_of(base: &Url) -> Option<String> {
    let mut labels = base
        .host_str()?
        .split('.')
        .skip_while(|label| *label != SERVICE);
    labels.next()?;
    labels.next().map(str::to_owned)
}

/// The API's id, or `*` if a custom domain hides it, and its stage if the host is API Gateway's.
fn names_of(base: &Url) -> (&str, Option<&str>) {
    let host = base.host_str().unwrap_or_default();
    let Some((id, _)) = host.split_once(".execute-api.") else {
        return ("*", None);
    };
    // A private API behind a VPC endpoint: API-ENDPOINT.execute-api…
    let id = id.split_once("-vpce-").map_or(id, |(id, _)| id);
    let stage = base
        .path_segments()
        .and_then(|mut segments| segments.next());
    (id, stage)
}

/// The SDK's HTTP client, for SSO and roles, with the same TLS and proxy as all other calls.
fn http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder()
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|it| it.sleep_impl()));
        connector.build()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_renewed_before_they_expire_however_short_they_last() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (lasts, renewed_after) in [
            (Some(3_600), 3_300),
            (Some(200), 160),
            (Some(0), 0),
            (None, 300),
        ] {
            let expiry = lasts.map(|seconds| now + Duration::from_secs(seconds));
            let expected = now + Duration::from_secs(renewed_after);
            assert_eq!(renewed_at(expiry, now), expected, "{lasts:?}");
            assert_eq!(may_be_valid(expiry, now), lasts != Some(0), "{lasts:?}");
        }
    }

    #[test]
    fn an_address_of_api_gateway_names_the_region_the_api_and_the_stage() {
        for (url, region, names) in [
            (
                "https://a1b2.execute-api.eu-west-1.amazonaws.com/live/internal/deletion-tasks/",
                Some("eu-west-1"),
                ("a1b2", Some("live")),
            ),
            (
                "https://a1b2-vpce-0f.execute-api.us-east-1.amazonaws.com/live/x/",
                Some("us-east-1"),
                ("a1b2", Some("live")),
            ),
            (
                "https://a1b2.execute-api.cn-north-1.amazonaws.com.cn/live/x/",
                Some("cn-north-1"),
                ("a1b2", Some("live")),
            ),
            (
                "https://tasks.example.com/internal/deletion-tasks/",
                None,
                ("*", None),
            ),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(region_of(&url).as_deref(), region, "{url}");
            assert_eq!(names_of(&url), names, "{url}");
        }
    }
}
