//! What the clients of AWS are set to.

use super::roots::TlsRoots;
use std::collections::HashMap;
use std::fmt;

/// Where AWS is, who calls it, and which root certificates are trusted.
///
/// They come from environment variables only, as Lambda sets them: from no profile, file or
/// instance metadata.
#[derive(Clone)]
pub struct AwsSettings {
    /// The region, such as `eu-west-1`.
    pub region: String,
    /// The access key's id.
    pub access_key_id: String,
    /// The access key's secret, which signs requests.
    pub secret_access_key: String,
    /// The token of temporary credentials. Those of a function have one.
    pub session_token: Option<String>,
    /// Whether to call FIPS endpoints.
    pub use_fips: Option<bool>,
    /// Whether to call dual-stack endpoints.
    pub use_dual_stack: Option<bool>,
    /// The root certificates for TLS.
    pub tls_roots: TlsRoots,
    /// Endpoints in place of AWS's own, by variable: `AWS_ENDPOINT_URL` and
    /// `AWS_ENDPOINT_URL_<service>`.
    pub endpoint_urls: HashMap<String, String>,
}

/// Without the secrets.
impl fmt::Debug for AwsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSettings")
            .field("region", &self.region)
            .field("tls_roots", &self.tls_roots)
            .field("endpoint_urls", &self.endpoint_urls)
            .finish_non_exhaustive()
    }
}
