//! What the clients of AWS are set to.

use super::roots::TlsRoots;
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
