//! What the clients of AWS take from the environment.

use super::Environment;
use crate::aws::TlsRoots;
use std::collections::HashMap;
use std::fmt;

/// Where AWS is, who calls it, and whose certificates it has.
///
/// Nothing is read but the environment, as it is in Lambda: no profile, no file, no instance metadata.
#[derive(Clone)]
pub struct AwsSettings {
    /// The region, such as `eu-west-1`.
    pub region: String,
    /// Who calls.
    pub access_key_id: String,
    /// What requests are signed with.
    pub secret_access_key: String,
    /// The token of temporary credentials, as a function's are.
    pub session_token: Option<String>,
    /// Whether to call FIPS endpoints.
    pub use_fips: Option<bool>,
    /// Whether to call dual-stack endpoints.
    pub use_dual_stack: Option<bool>,
    /// The roots of trust for TLS.
    pub tls_roots: TlsRoots,
    /// Endpoints other than AWS's own: `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<service>` by name.
    pub endpoint_urls: HashMap<String, String>,
}

/// Without what is secret.
impl fmt::Debug for AwsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSettings")
            .field("region", &self.region)
            .field("tls_roots", &self.tls_roots)
            .field("endpoint_urls", &self.endpoint_urls)
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// `TLS_ROOTS`, and the AWS SDK's own variables.
    pub fn aws(&mut self) -> AwsSettings {
        let region = match self.get("AWS_REGION").or(self.get("AWS_DEFAULT_REGION")) {
            Some(region) => region.to_owned(),
            None => self.required("AWS_REGION", "the AWS region, such as eu-west-1"),
        };
        let ignores_urls =
            self.optional("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", SWITCH) == Some(true);
        let urls = self.variables.iter().filter(|(name, url)| {
            name.starts_with("AWS_ENDPOINT_URL") && !url.is_empty() && !ignores_urls
        });
        AwsSettings {
            region,
            endpoint_urls: urls.map(|(n, url)| (n.clone(), url.clone())).collect(),
            access_key_id: self.required("AWS_ACCESS_KEY_ID", CREDENTIALS),
            secret_access_key: self.required("AWS_SECRET_ACCESS_KEY", CREDENTIALS),
            session_token: self.get("AWS_SESSION_TOKEN").map(str::to_owned),
            use_fips: self.optional("AWS_USE_FIPS_ENDPOINT", SWITCH),
            use_dual_stack: self.optional("AWS_USE_DUALSTACK_ENDPOINT", SWITCH),
            tls_roots: self.parsed("TLS_ROOTS", TlsRoots::CHOICES),
        }
    }
}

const SWITCH: &str = "`true` or `false`";
const CREDENTIALS: &str = "the credentials to call AWS with; Lambda sets it, elsewhere \
                           `aws configure export-credentials --format env` prints it";

#[cfg(test)]
mod tests {
    use super::super::tests::environment;
    use super::*;

    const GIVEN_BY_LAMBDA: [(&str, &str); 4] = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_SESSION_TOKEN", "hunter2-too"),
    ];

    fn with(more: &[(&str, &str)]) -> Environment {
        environment(&[&GIVEN_BY_LAMBDA, more].concat())
    }

    #[test]
    fn what_lambda_gives_is_enough_and_secrets_are_never_shown() {
        let mut env = with(&[]);
        let aws = env.aws();
        assert_eq!(aws.region, "eu-west-1");
        assert_eq!(aws.session_token.as_deref(), Some("hunter2-too"));
        assert_eq!(aws.tls_roots, TlsRoots::Amazon);
        assert!(!format!("{aws:?}{env:?}").contains("hunter2"));
        env.finish().unwrap();
    }

    #[test]
    fn endpoints_roots_and_switches_are_taken_from_the_environment() {
        let urls = [
            ("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9003"),
            ("AWS_ENDPOINT_URL_DYNAMODB", ""),
        ];
        let switches = [("TLS_ROOTS", "system"), ("AWS_USE_FIPS_ENDPOINT", "true")];
        let aws = with(&[urls, switches].concat()).aws();
        assert_eq!(aws.endpoint_urls.len(), 1);
        assert_eq!(
            aws.endpoint_urls["AWS_ENDPOINT_URL_SQS"],
            "http://127.0.0.1:9003"
        );
        assert_eq!((aws.use_fips, aws.use_dual_stack), (Some(true), None));
        assert_eq!(aws.tls_roots, TlsRoots::System);
        let ignored = [urls[0], ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
        assert!(with(&ignored).aws().endpoint_urls.is_empty());
    }

    #[test]
    fn what_is_missing_or_odd_is_named() {
        let mut env = environment(&[("TLS_ROOTS", "mine"), ("AWS_USE_FIPS_ENDPOINT", "perhaps")]);
        let _ = env.aws();
        let text = env.finish().unwrap_err().to_string();
        for name in [
            "AWS_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "TLS_ROOTS",
            "AWS_USE_FIPS_ENDPOINT",
        ] {
            let lines = text.lines().filter(|line| line.starts_with(name));
            assert_eq!(lines.count(), 1, "{name}: {text}");
        }
    }
}
