//! One call: it is signed, and retried while that may help. Its errors tell a person what to do.

use super::sign::Signer;
use crate::args::Connection;
use crate::error::{Error, innermost};
use crate::screen::Screen;
use crate::when::Moment;
use bytes::Bytes;
use chrono::DateTime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use url::{Host, Url};

/// The path of the calls below the service's URL.
const ROOT: &str = "internal/deletion-tasks";
/// What SigV4 requires to be encoded: everything except RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The time limit of one try. API Gateway gives up after 29 seconds.
const TRY_TIMEOUT: Duration = Duration::from_secs(35);
/// The time limit of one try with a body of up to 6 MB.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take, tries and pauses included, while a service that has responded before
/// does not respond.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same for a service that has never responded.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
/// The same while the service throttles.
const THROTTLED_PATIENCE: Duration = Duration::from_secs(900);
/// The longest pause between tries, unless the service asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest wait that the service may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(86_400);
/// How long to wait for a response before a note tells the person why nothing happens.
const NOTABLE: Duration = Duration::from_secs(5);

/// Connections to the service. Clones share them.
#[derive(Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    base: Url,
    signer: Option<Arc<Signer>>,
    /// Whether anything has responded.
    has_responded: Arc<AtomicBool>,
    /// When the service first responded with success, by its clock and by ours. An error may come
    /// from a proxy, whose clock may differ.
    first_response: Arc<OnceLock<(Moment, Instant)>>,
    screen: Screen,
}

/// A call of the service.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) endpoint: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<Bytes>,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, endpoint: &'a str, query: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            method,
            endpoint,
            query,
            body: None,
        }
    }
}

/// A response, read whole.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The service refused a call.
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The error for the person who made the call.
    pub(super) error: Error,
    /// Whether an earlier try of the same call may have taken effect.
    pub(super) may_have_happened: bool,
}

/// An error of the service: `application/problem+json` (RFC 9457).
#[derive(Debug, Deserialize)]
struct Problem {
    status: u16,
    detail: String,
    #[serde(default)]
    errors: Vec<ValidationError>,
}

#[derive(Debug, Deserialize)]
struct ValidationError {
    #[serde(alias = "parameter")]
    pointer: String,
    detail: String,
}

/// The result of one try.
enum Tried {
    Success(Response),
    Refused(Problem),
    Again(Again),
}

/// Why a call is made again.
struct Again {
    why: String,
    /// The pause that the service asks for.
    after: Option<Duration>,
    patience: Duration,
    /// Whether this try may have taken effect.
    may_have_happened: bool,
    /// The error if the call is given up.
    error: fn(String) -> Error,
}

impl Transport {
    /// # Errors
    /// If the URL is wrong, or there are no credentials to sign with.
    pub(super) async fn open(connection: &Connection, screen: Screen) -> Result<Self, Error> {
        let base = base(&connection.api)?;
        let is_local = is_loopback(&base);
        let signer = if connection.sign || !is_local {
            Some(Arc::new(Signer::open(connection, &base).await?))
        } else {
            None
        };
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("dtask/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if is_local {
            // A proxy cannot reach this machine.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| {
            Error::Unreachable(format!("HTTPS cannot be set up: {}", innermost(&error)))
        })?;
        Ok(Self {
            http,
            base,
            signer,
            has_responded: Arc::default(),
            first_response: Arc::default(),
            screen,
        })
    }

    /// The service's time when it first responded.
    pub(super) fn first_response(&self) -> Option<Moment> {
        self.first_response.get().map(|(time, _)| *time)
    }

    /// Waits until this time has come by the service's clock.
    pub(super) async fn until(&self, time: Moment) {
        // The service's time is in whole seconds, so the wait may be a little too long, never too
        // short.
        if let Some((then, at)) = self.first_response.get()
            && let Ok(wait) = (time - then).to_std()
        {
            sleep_until(*at + wait.min(LONGEST_PAUSE)).await;
        }
    }

    /// Makes a call, and retries it while the service throttles, is failing or does not respond.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Result<Response, Refusal>, Error> {
        let start = Instant::now();
        let (mut tries, mut may_have_happened) = (0, false);
        loop {
            let again = match self.try_once(&call).await? {
                Tried::Success(response) => return Ok(Ok(response)),
                Tried::Refused(problem) => {
                    return Ok(Err(Refusal {
                        status: problem.status,
                        error: self.refused(&call, problem),
                        may_have_happened,
                    }));
                }
                Tried::Again(again) => again,
            };
            may_have_happened |= again.may_have_happened;
            let longest =
                LONGEST_PAUSE.min(Duration::from_millis(200) * 2_u32.saturating_pow(tries));
            let pause = longest
                .mul_f64(fastrand::f64().mul_add(0.5, 0.5))
                .max(again.after.unwrap_or_default());
            if start.elapsed() + pause > again.patience {
                let mut why = again.why;
                if let Some(after) = again.after {
                    why += &format!(" It asks to wait {} s.", after.as_secs());
                }
                return Err((again.error)(why));
            }
            if start.elapsed() + pause >= NOTABLE {
                let note = format!("{} It is called again.", again.why);
                self.screen.note_now_and_then(&note);
            }
            sleep(pause).await;
            tries += 1;
        }
    }

    async fn try_once(&self, call: &Call<'_>) -> Result<Tried, Error> {
        let mut sent = std::pin::pin!(self.send(call));
        let sent = match timeout(NOTABLE, &mut sent).await {
            Ok(sent) => sent,
            Err(_) => {
                let note = format!("{} has not responded yet.", self.base);
                self.screen.note_now_and_then(&note);
                sent.await
            }
        };
        let response = match sent? {
            Ok(response) => response,
            Err(error) => return Ok(Tried::Again(self.lost(&error))),
        };
        if response.status.is_success() {
            return Ok(Tried::Success(response));
        }
        let mut problem = problem_of(&response);
        if problem.is_none() && self.signer.is_some() {
            problem = refusal_of_aws(&response);
        }
        let after = retry_after(&response.headers);
        let throttled = |why: &str, may_have_happened| Again {
            why: why.to_owned(),
            after,
            patience: THROTTLED_PATIENCE,
            may_have_happened,
            error: Error::Throttled,
        };
        let again = match (response.status.as_u16(), problem) {
            (429, _) => throttled("The service is throttling.", false),
            (503, Some(_)) => throttled("The service's task store is busy.", true),
            (status @ 500.., _) => Again {
                why: format!("{} responded with status {status}.", self.base),
                after,
                patience: PATIENCE,
                may_have_happened: true,
                error: Error::Unreachable,
            },
            (_, Some(problem)) => return Ok(Tried::Refused(problem)),
            (_, None) => return Err(self.something_else(&response)),
        };
        Ok(Tried::Again(again))
    }

    /// Makes a call once, and returns the service's response.
    ///
    /// # Errors
    /// If the service does not respond, or the call cannot be signed.
    pub(super) async fn pass_on(&self, call: Call<'_>) -> Result<Response, Error> {
        let sent = self.send(&call).await?;
        let response = sent.map_err(|error| Error::Unreachable(self.lost(&error).why))?;
        if response.status == StatusCode::FORBIDDEN
            && let Some(signer) = &self.signer
        {
            signer.forget();
        }
        Ok(response)
    }

    /// Sends a request, signed if necessary, and reads the whole response.
    async fn send(&self, call: &Call<'_>) -> Result<Result<Response, reqwest::Error>, Error> {
        let url = self.url(call);
        let json = ("content-type", "application/json");
        let (headers, body, limit) = match &call.body {
            Some(body) => (vec![json], body.clone(), UPLOAD_TIMEOUT),
            None => (Vec::new(), Bytes::new(), TRY_TIMEOUT),
        };
        let mut request = self.http.request(call.method.clone(), url.clone());
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        if let Some(signer) = &self.signer {
            let signed = signer.sign(call.method.as_str(), &url, &headers, &body);
            for (name, value) in signed.await? {
                request = request.header(name, value);
            }
        }
        let received = async {
            let response = request.body(body).timeout(limit).send().await?;
            Ok(Response {
                status: response.status(),
                headers: response.headers().clone(),
                body: response.bytes().await?,
            })
        };
        let received = received.await;
        if let Ok(response) = &received {
            self.has_responded.store(true, Ordering::Relaxed);
            if response.status.is_success()
                && let Some(time) = date(&response.headers)
            {
                self.first_response.get_or_init(|| (time, Instant::now()));
            }
        }
        Ok(received)
    }

    /// The address of a call.
    fn url(&self, call: &Call<'_>) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path(), call.endpoint));
        if !call.query.is_empty() {
            let pairs = call.query.iter();
            let pairs = pairs
                .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, RESERVED)));
            url.set_query(Some(&pairs.collect::<Vec<_>>().join("&")));
        }
        url
    }

    /// The outcome of a try without a whole response.
    fn lost(&self, error: &reqwest::Error) -> Again {
        let cause = if error.is_timeout() {
            "no response in time".to_owned()
        } else {
            innermost(error)
        };
        let mut why = format!("Cannot reach {}: {cause}.", self.base);
        let has_responded = self.has_responded.load(Ordering::Relaxed);
        if !has_responded {
            why += if is_loopback(&self.base) {
                " Start the local runner with `cargo run`, or name a deployed service with --api."
            } else {
                " Check --api, and the connection to it."
            };
        }
        Again {
            why,
            after: None,
            patience: if has_responded {
                PATIENCE
            } else {
                FIRST_PATIENCE
            },
            may_have_happened: !error.is_connect(),
            error: Error::Unreachable,
        }
    }

    /// Parses a successful response.
    ///
    /// # Errors
    /// If this service cannot have sent the response.
    pub(super) fn parse<T: DeserializeOwned>(&self, response: &Response) -> Result<T, Error> {
        serde_json::from_slice(&response.body).map_err(|_| self.something_else(response))
    }

    /// The error for a response that this service cannot have sent.
    pub(super) fn something_else(&self, response: &Response) -> Error {
        let kind = response
            .headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or("no content type");
        let hint = if self.signer.is_some() {
            "Give --api the output ApiUrl of the stack, with its stage, such as https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/live"
        } else {
            "Check --api: another program may listen there"
        };
        Error::Unreachable(format!(
            "What responds at {} is not Deletion Tasks (status {}, {kind}). {hint}.",
            self.base,
            response.status.as_u16(),
        ))
    }

    /// The error for a call that the service refused.
    fn refused(&self, call: &Call<'_>, problem: Problem) -> Error {
        let mut text = problem.detail;
        for error in &problem.errors {
            text += &format!("\n  {}: {}", error.pointer, error.detail);
        }
        if problem.status == 403
            && let Some(signer) = &self.signer
        {
            signer.forget();
            let advice = signer.advice(&text, &call.method, &self.base, call.endpoint);
            text += "\n";
            text += &advice;
        }
        if problem.status == 403 {
            return Error::Denied(text);
        }
        Error::Refused(text)
    }
}

/// The URL above the calls' paths, with a `/` at its end.
fn base(given: &str) -> Result<Url, Error> {
    if given.is_empty() {
        return Err(Error::Usage("--api, or DTASK_API, is empty".to_owned()));
    }
    let wrong = |why: &str| Error::Usage(format!("--api {given}: {why}"));
    let is_http = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.host().is_some();
    let Some(mut url) = Url::parse(given).ok().filter(is_http) else {
        return Err(wrong(
            "it must be a URL that begins with https://, or for this machine with http://",
        ));
    };
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(wrong("http:// is for this machine only; use https://"));
    }
    if url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err(wrong("it must have no user, no query and no fragment"));
    }
    let path = url.path().trim_end_matches('/');
    let path = path
        .strip_suffix(ROOT)
        .unwrap_or(path)
        .trim_end_matches('/');
    let path = format!("{path}/{ROOT}/");
    url.set_path(&path);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn problem_of(response: &Response) -> Option<Problem> {
    let kind = response.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    kind.starts_with("application/problem+json")
        .then(|| serde_json::from_slice(&response.body).ok())
        .flatten()
}

/// A refusal in AWS's own form, JSON with a message. A signed call gets it before it reaches the
/// service.
fn refusal_of_aws(response: &Response) -> Option<Problem> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(alias = "Message")]
        message: String,
    }
    let refusal: Refusal = serde_json::from_slice(&response.body).ok()?;
    // API Gateway responds with this message if it does not have the path.
    let is_refusal =
        response.status.is_client_error() && refusal.message != "Missing Authentication Token";
    is_refusal.then(|| Problem {
        status: response.status.as_u16(),
        detail: refusal.message,
        errors: Vec::new(),
    })
}

/// The seconds in `Retry-After`.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// The time in `Date`, in the same form as in mail (RFC 9110, section 5.6.7).
fn date(headers: &HeaderMap) -> Option<Moment> {
    let date = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(date)
        .ok()
        .map(|date| date.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_that_is_asked_for_has_an_end() {
        for (value, seconds) in [
            ("3", Some(3)),
            ("18446744073709551615", Some(86_400)),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(
                retry_after(&headers),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[test]
    fn the_url_may_name_the_service_or_its_calls() {
        for (given, expected) in [
            (
                "http://127.0.0.1:9000",
                "http://127.0.0.1:9000/internal/deletion-tasks/",
            ),
            (
                "http://localhost:9000/",
                "http://localhost:9000/internal/deletion-tasks/",
            ),
            (
                "https://x.example/live",
                "https://x.example/live/internal/deletion-tasks/",
            ),
            (
                "https://x.example/live/internal/deletion-tasks",
                "https://x.example/live/internal/deletion-tasks/",
            ),
            (
                "https://x.example/live/internal/deletion-tasks/",
                "https://x.example/live/internal/deletion-tasks/",
            ),
        ] {
            assert_eq!(base(given).unwrap().as_str(), expected);
        }
        for wrong in [
            "",
            "x.example",
            "ftp://x.example",
            "http://x.example",
            "https://u:p@x.example",
            "https://x.example/?a=b",
        ] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }
}
