//! The settings of the AWS clients.

use super::roots::TlsRoots;
use std::collections::HashMap;
use std::fmt;

/// The region, the endpoints, the credentials, and the trusted root certificates.
///
/// They come from environment variables only, as Lambda sets them, and never from a profile, a file
/// or instance metadata.
#[derive(Clone)]
pub struct AwsSettings {
    /// The region, such as `eu-west-1`.
    pub region: String,
    /// The access key's id.
    pub access_key_id: String,
    /// The access key's secret, which signs requests.
    pub secret_access_key: String,
    /// The token of temporary credentials. The credentials of a function have one.
    pub session_token: Option<String>,
    /// Whether to call FIPS endpoints.
    pub use_fips: Option<bool>,
    /// Whether to call dual-stack endpoints.
    pub use_dual_stack: Option<bool>,
    /// The root certificates for TLS.
    pub tls_roots: TlsRoots,
    /// Endpoints that replace AWS's own, by variable: `AWS_ENDPOINT_URL` and
    /// `AWS_ENDPOINT_URL_<service>`.
    pub endpoint_urls: HashMap<String, String>,
}

/// Leaves out the secrets.
impl fmt::Debug for AwsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSettings")
            .field("region", &self.region)
            .field("tls_roots", &self.tls_roots)
            .field("endpoint_urls", &self.endpoint_urls)
            .finish_non_exhaustive()
    }
}
