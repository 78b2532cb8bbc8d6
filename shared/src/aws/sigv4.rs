//! AWS Signature Version 4 for requests that no SDK client makes.

use crate::clock::Clock;
use aws_sdk_dynamodb::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use std::error::Error;
use std::time::SystemTime;

/// Returns the headers that sign a request to `service` in `region`. Add them to `headers`, which
/// the signature covers.
///
/// They are dated by the system's clock, since AWS compares the date with its own clock.
///
/// # Errors
/// If the URL or a header is not well-formed.
pub fn signature(
    credentials: Credentials,
    (service, region): (&str, &str),
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Vec<(String, String)>, Box<dyn Error + Send + Sync>> {
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(SystemTime::from(Clock::System.now()))
        .settings(SigningSettings::default())
        .build()?;
    let headers = headers.iter().copied();
    let request = SignableRequest::new(method, url, headers, SignableBody::Bytes(body))?;
    let (instructions, _) = sign(request, &parameters.into())?.into_parts();
    let headers = instructions.headers();
    Ok(headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}
