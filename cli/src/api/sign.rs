//! AWS Signature Version 4, with the credentials that the AWS CLI would use.

use crate::args::Connection;
use crate::error::Error;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use reqwest::Method;
use shared::clock::Clock;
use std::error::Error as StdError;
use std::time::SystemTime;
use url::Url;

/// The name of API Gateway in a signature.
const SERVICE: &str = "execute-api";

/// Signs calls. The SDK caches the credentials and renews them.
#[derive(Debug)]
pub(super) struct Signer {
    config: SdkConfig,
    region: String,
}

impl Signer {
    /// # Errors
    /// If no region is known or no credentials are found.
    pub(super) async fn open(connection: &Connection, base: &Url) -> Result<Self, Error> {
        // The SDK's own client, for SSO and roles, with the TLS that everything else here has.
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone());
        if let Some(profile) = &connection.profile {
            // As with the AWS CLI, a profile that is named goes before keys in the environment.
            let region = connection.region.clone().or_else(|| region_of(base));
            let provider = ProviderConfig::without_region()
                .with_http_client(http)
                .with_region(region.map(Region::new));
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&provider)
                .profile_name(profile)
                .build();
            loader = loader.profile_name(profile).credentials_provider(provider);
        }
        let named = connection.region.clone().or_else(|| region_of(base));
        if let Some(region) = &named {
            loader = loader.region(Region::new(region.clone()));
        }
        let config = loader.load().await;
        let region = named.or_else(|| config.region().map(ToString::to_string));
        let region = region.ok_or_else(|| {
            Error::Usage(
                "The AWS region to sign for is not known: set AWS_REGION, or give --region"
                    .to_owned(),
            )
        })?;
        let signer = Self { config, region };
        signer.credentials().await?;
        Ok(signer)
    }

    async fn credentials(&self) -> Result<aws_credential_types::Credentials, Error> {
        let none = |why: &str| {
            Error::Usage(format!(
                "There are no AWS credentials to sign with: {why}\n\
                 Log in (aws sso login, or aws login), or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            ))
        };
        let provider = self.config.credentials_provider();
        let provider = provider.ok_or_else(|| none("no provider is configured"))?;
        provider.provide_credentials().await.map_err(|error| {
            let mut innermost: &dyn StdError = &error;
            while let Some(source) = innermost.source() {
                innermost = source;
            }
            none(&innermost.to_string())
        })
    }

    /// The headers to add to a request.
    pub(super) async fn sign(
        &self,
        method: &str,
        url: &Url,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Vec<(String, String)>, Error> {
        let unsigned =
            |error: Box<dyn StdError>| Error::Usage(format!("The call cannot be signed: {error}"));
        let identity = self.credentials().await?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(SystemTime::from(Clock::System.now()))
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsigned(error.into()))?;
        let headers = headers.iter().copied();
        let signable =
            SignableRequest::new(method, url.as_str(), headers, SignableBody::Bytes(body));
        let signable = signable.map_err(|error| unsigned(error.into()))?;
        let signed = sign(signable, &parameters.into()).map_err(|error| unsigned(error.into()))?;
        let (instructions, _) = signed.into_parts();
        let headers = instructions.headers();
        Ok(headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }

    /// What to do about a 403 whose text is `refusal`.
    pub(super) fn advice(
        &self,
        refusal: &str,
        method: &Method,
        base: &Url,
        endpoint: &str,
    ) -> String {
        if refusal.contains("expired") {
            return "Log in again (aws sso login, or aws login), and check this machine's clock."
                .to_owned();
        }
        if refusal.contains("signature") {
            return format!(
                "Check the secret key, that the region is {} and that no proxy changes the request.",
                self.region
            );
        }
        let (api, stage) = names_of(base);
        let partition = match self.region.split('-').next() {
            Some("cn") => "aws-cn",
            _ if self.region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!(
            "Allow {SERVICE}:Invoke on arn:{partition}:{SERVICE}:{}:*:{api}/{stage}/{method}/internal/deletion-tasks/{endpoint} in the \
             policy of your user or role, and in the API's resource policy if it has one. Or sign as somebody else, with --profile.",
            self.region
        )
    }
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

/// The API's id and its stage, or `*` where a custom domain hides them.
fn names_of(base: &Url) -> (&str, &str) {
    let host = base.host_str().unwrap_or_default();
    let Some((id, _)) = host.split_once(".execute-api.") else {
        return ("*", "*");
    };
    // A private API behind a VPC endpoint: API-ENDPOINT.execute-api…
    let id = id.split_once("-vpce-").map_or(id, |(id, _)| id);
    let stage = base
        .path_segments()
        .and_then(|mut segments| segments.next());
    (id, stage.unwrap_or("*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_api_gateway_names_the_region_the_api_and_the_stage() {
        for (url, region, names) in [
            (
                "https://a1b2.execute-api.eu-west-1.amazonaws.com/live/internal/deletion-tasks/",
                Some("eu-west-1"),
                ("a1b2", "live"),
            ),
            (
                "https://a1b2-vpce-0f.execute-api.us-east-1.amazonaws.com/live/x/",
                Some("us-east-1"),
                ("a1b2", "live"),
            ),
            (
                "https://a1b2.execute-api.cn-north-1.amazonaws.com.cn/live/x/",
                Some("cn-north-1"),
                ("a1b2", "live"),
            ),
            (
                "https://tasks.example.com/internal/deletion-tasks/",
                None,
                ("*", "*"),
            ),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(region_of(&url).as_deref(), region, "{url}");
            assert_eq!(names_of(&url), names, "{url}");
        }
    }
}
