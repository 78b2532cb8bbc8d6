//! The service's five calls, with their retries.

mod sign;

use crate::args::{Connection, Outcome};
use crate::error::Error;
use crate::screen::Screen;
use crate::when::{Moment, rfc3339};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use shared::task::TaskStatus;
use sign::Signer;
use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use url::{Host, Url};

/// Where the calls are below the service's URL.
const ROOT: &str = "internal/deletion-tasks";
/// What SigV4 wants encoded: everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The time limit of one try. API Gateway gives up after 29 seconds; the rest is for the upload of 6 MB.
const TRY_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call is tried again while the service, which has responded before, does not respond.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same, where it has never responded.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
/// How long a call is tried again while the service throttles.
const THROTTLED_PATIENCE: Duration = Duration::from_secs(900);
/// Pauses grow up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// From which pause on a person is told why nothing happens.
const NOTABLE_PAUSE: Duration = Duration::from_secs(2);

/// The service. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: Url,
    signer: Option<Arc<Signer>>,
    /// Whether it has ever responded.
    has_responded: Arc<AtomicBool>,
    screen: Screen,
}

/// A task, as far as a person is shown it. The whole JSON is kept for programs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) embedding_model_id: String,
    #[serde(deserialize_with = "status")]
    pub(crate) status: TaskStatus,
    pub(crate) created_at: Moment,
    pub(crate) updated_at: Moment,
    pub(crate) failed_item_ids: Vec<FailedItem>,
    pub(crate) detail: Option<String>,
    pub(crate) attempt: u32,
    pub(crate) progress: Progress,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) created_by: Option<String>,
    #[serde(default)]
    pub(crate) changed_by: Option<String>,
    #[serde(default)]
    items: Vec<Item>,
    #[serde(default)]
    items_cursor: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FailedItem {
    pub(crate) object_id: String,
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) total: u64,
    pub(crate) deleted: u64,
    pub(crate) failed: u64,
    pub(crate) remaining: u64,
}

impl std::ops::AddAssign for Progress {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.deleted += other.deleted;
        self.failed += other.failed;
        self.remaining += other.remaining;
    }
}

/// What happened to one object.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) object_id: String,
    pub(crate) outcome: String,
    pub(crate) detail: Option<String>,
}

/// A response that holds a task.
#[derive(Clone, Debug)]
pub(crate) struct TaskResponse {
    pub(crate) task: Task,
    /// As the service wrote it, in one line.
    pub(crate) json: String,
    /// When it is worth asking again.
    pub(crate) retry_after: Option<Duration>,
    /// The task had been created before.
    pub(crate) is_replayed: bool,
    /// It had been created before with other objects, or for another model.
    pub(crate) is_mismatch: bool,
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct ListPage {
    pub(crate) tasks: Vec<(Task, String)>,
    pub(crate) next_cursor: Option<String>,
}

/// A page of a task's objects.
#[derive(Debug)]
pub(crate) struct ItemsPage {
    pub(crate) items: Vec<Item>,
    pub(crate) next_cursor: Option<String>,
    pub(crate) status: TaskStatus,
    pub(crate) attempt: u32,
}

/// Which tasks to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) status: Option<TaskStatus>,
    pub(crate) model: Option<String>,
    pub(crate) since: Option<Moment>,
    pub(crate) until: Option<Moment>,
}

/// An error of the service: `application/problem+json` (RFC 9457).
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) detail: String,
    #[serde(default)]
    pub(crate) errors: Vec<ValidationError>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ValidationError {
    #[serde(alias = "parameter")]
    pub(crate) pointer: String,
    pub(crate) detail: String,
}

/// What one try came to.
enum Tried {
    Success(Response),
    Refused(Problem),
    Again(Again),
}

/// The service refused a call.
struct Refusal {
    problem: Problem,
    /// Whether an earlier try of the same call may have taken effect.
    may_have_happened: bool,
}

/// A response, read whole.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why one try has to be made again.
struct Again {
    why: String,
    after: Option<Duration>,
    patience: Duration,
    /// Whether it may have taken effect.
    may_have_happened: bool,
}

impl Api {
    /// # Errors
    /// If the URL is wrong, or there are no credentials to sign with.
    pub(crate) async fn open(connection: &Connection, screen: Screen) -> Result<Self, Error> {
        let base = base(&connection.api)?;
        let signer = if connection.sign || base.scheme() == "https" && !is_loopback(&base) {
            Some(Arc::new(Signer::open(connection, &base).await?))
        } else {
            None
        };
        let http = reqwest::Client::builder()
            .user_agent(concat!("dtask/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TRY_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        // A proxy has no way to this machine.
        let http = if is_loopback(&base) {
            http.no_proxy()
        } else {
            http
        };
        let http = http.build().map_err(|error| {
            Error::Unreachable(format!("HTTPS cannot be set up: {}", causes(&error)))
        })?;
        Ok(Self {
            http,
            base,
            signer,
            has_responded: Arc::default(),
            screen,
        })
    }

    /// Creates a task, or returns the one that has this id.
    pub(crate) async fn run(&self, body: Bytes) -> Result<TaskResponse, Error> {
        match self.call(Method::POST, "run", &[], Some(body)).await? {
            Ok(response) => self.task(response),
            Err(refusal) => Err(self.refused(Method::POST, "run", refusal.problem)),
        }
    }

    /// A task; `None` if there is none with this id.
    pub(crate) async fn info(&self, id: &str) -> Result<Option<TaskResponse>, Error> {
        self.read(&[("task_id", id)]).await
    }

    /// A page of a task's objects; `None` if there is no such task.
    pub(crate) async fn items(
        &self,
        id: &str,
        outcome: Outcome,
        cursor: Option<&str>,
    ) -> Result<Option<ItemsPage>, Error> {
        let mut query = vec![("task_id", id), ("outcome", outcome.as_str())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let response = self.read(&query).await?;
        Ok(response.map(|TaskResponse { task, .. }| ItemsPage {
            items: task.items,
            next_cursor: task.items_cursor,
            status: task.status,
            attempt: task.attempt,
        }))
    }

    async fn read(&self, query: &[(&str, &str)]) -> Result<Option<TaskResponse>, Error> {
        match self.call(Method::GET, "info", query, None).await? {
            Ok(response) => self.task(response).map(Some),
            Err(refusal) if refusal.problem.status == 404 => Ok(None),
            Err(refusal) => Err(self.refused(Method::GET, "info", refusal.problem)),
        }
    }

    /// A page of tasks, newest first.
    pub(crate) async fn list(
        &self,
        wanted: &Wanted,
        limit: u64,
        cursor: Option<&str>,
    ) -> Result<ListPage, Error> {
        let (since, until) = (wanted.since.map(rfc3339), wanted.until.map(rfc3339));
        let limit = limit.to_string();
        let optional = [
            ("status", wanted.status.map(TaskStatus::as_str)),
            ("embedding_model_id", wanted.model.as_deref()),
            ("created_after", since.as_deref()),
            ("created_before", until.as_deref()),
            ("limit", Some(limit.as_str())),
            ("cursor", cursor),
        ];
        let query: Vec<_> = optional
            .into_iter()
            .filter_map(|(name, value)| value.map(|value| (name, value)))
            .collect();
        let response = match self.call(Method::GET, "list", &query, None).await? {
            Ok(response) => response,
            Err(refusal) => return Err(self.refused(Method::GET, "list", refusal.problem)),
        };
        #[derive(Deserialize)]
        struct Page {
            tasks: Vec<Box<RawValue>>,
            next_cursor: Option<String>,
        }
        let page: Page = self.parse(&response)?;
        let tasks = page.tasks.iter().map(|json| {
            let task = serde_json::from_str(json.get());
            let task = task.map_err(|_| self.something_else(&response))?;
            Ok((task, one_line(json.get().as_bytes())))
        });
        Ok(ListPage {
            tasks: tasks.collect::<Result<_, Error>>()?,
            next_cursor: page.next_cursor,
        })
    }

    /// Restarts a task that is at this attempt.
    pub(crate) async fn restart(
        &self,
        id: &str,
        attempt: u32,
        all: bool,
    ) -> Result<TaskResponse, Error> {
        let number = attempt.to_string();
        let mut query = vec![("task_id", id), ("attempt", number.as_str())];
        if all {
            query.push(("scope", "all"));
        }
        match self.call(Method::PUT, "restart", &query, None).await? {
            Ok(response) => self.task(response),
            Err(Refusal {
                problem,
                may_have_happened,
            }) => {
                if may_have_happened
                    && problem.status == 409
                    && let Some(now) = self.info(id).await?
                    && Some(now.task.attempt) == attempt.checked_add(1)
                {
                    return Ok(now);
                }
                Err(self.refused(Method::PUT, "restart", problem))
            }
        }
    }

    /// Cancels a task that is at this attempt.
    pub(crate) async fn cancel(&self, id: &str, attempt: u32) -> Result<TaskResponse, Error> {
        let attempt = attempt.to_string();
        let query = [("task_id", id), ("attempt", attempt.as_str())];
        match self.call(Method::PUT, "cancel", &query, None).await? {
            Ok(response) => self.task(response),
            Err(refusal) => Err(self.refused(Method::PUT, "cancel", refusal.problem)),
        }
    }

    /// Makes a call, and makes it again while the service throttles, or its response is lost.
    async fn call(
        &self,
        method: Method,
        endpoint: &str,
        query: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Result<Response, Refusal>, Error> {
        let url = self.url(endpoint, query);
        let (mut tries, mut may_have_happened) = (0, false);
        let mut failing_since = None;
        loop {
            let again = match self.try_once(&method, &url, body.clone()).await? {
                Tried::Success(response) => return Ok(Ok(response)),
                Tried::Refused(problem) => {
                    return Ok(Err(Refusal {
                        problem,
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
            let failing = failing_since.get_or_insert_with(Instant::now).elapsed();
            if failing + pause > again.patience {
                return Err(Error::Unreachable(again.why));
            }
            if pause >= NOTABLE_PAUSE {
                self.screen.note(&format!(
                    "{} Trying again in {} s.",
                    again.why,
                    pause.as_secs()
                ));
            }
            sleep(pause).await;
            tries += 1;
        }
    }

    async fn try_once(
        &self,
        method: &Method,
        url: &Url,
        body: Option<Bytes>,
    ) -> Result<Tried, Error> {
        let response = match self.send(method, url, body).await? {
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
        let again = |why: String, patience, may_have_happened| {
            Ok(Tried::Again(Again {
                why,
                after: retry_after(&response.headers),
                patience,
                may_have_happened,
            }))
        };
        match (response.status.as_u16(), problem) {
            (429, _) => again(
                "The service is throttling.".into(),
                THROTTLED_PATIENCE,
                false,
            ),
            (503, Some(_)) => again(
                "The service's task store is busy.".into(),
                THROTTLED_PATIENCE,
                true,
            ),
            (status @ 500.., _) => again(
                format!("{} responded with status {status}.", self.base),
                PATIENCE,
                true,
            ),
            (_, Some(problem)) => Ok(Tried::Refused(problem)),
            (_, None) => Err(self.something_else(&response)),
        }
    }

    /// Passes a call of the console on, signed, and returns what the service responds.
    ///
    /// # Errors
    /// If it does not respond, or the call cannot be signed.
    pub(crate) async fn pass_on(
        &self,
        method: Method,
        endpoint: &str,
        query: &[(&str, &str)],
    ) -> Result<Response, Error> {
        let url = self.url(endpoint, query);
        let sent = self.send(&method, &url, None).await?;
        sent.map_err(|error| Error::Unreachable(self.lost(&error).why))
    }

    /// The address of a call.
    fn url(&self, endpoint: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{endpoint}", self.base.path()));
        if !query.is_empty() {
            let pairs = query
                .iter()
                .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, RESERVED)));
            url.set_query(Some(&pairs.collect::<Vec<_>>().join("&")));
        }
        url
    }

    /// Sends a request, signed if need be, and reads the whole response.
    async fn send(
        &self,
        method: &Method,
        url: &Url,
        body: Option<Bytes>,
    ) -> Result<Result<Response, reqwest::Error>, Error> {
        let mut request = self.http.request(method.clone(), url.clone());
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(signer) = &self.signer {
            let content_type = body.as_ref().map(|_| ("content-type", "application/json"));
            let signed = signer.sign(
                method.as_str(),
                url,
                content_type.as_slice(),
                body.as_deref().unwrap_or_default(),
            );
            for (name, value) in signed.await? {
                request = request.header(name, value);
            }
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let received = async {
            let response = request.send().await?;
            Ok(Response {
                status: response.status(),
                headers: response.headers().clone(),
                body: response.bytes().await?,
            })
        };
        let received = received.await;
        if received.is_ok() {
            self.has_responded.store(true, Ordering::Relaxed);
        }
        Ok(received)
    }

    /// A try without a whole response.
    fn lost(&self, error: &reqwest::Error) -> Again {
        let has_responded = self.has_responded.load(Ordering::Relaxed);
        let mut why = format!("Cannot reach {}: {}.", self.base, causes(error));
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
        }
    }

    fn task(&self, response: Response) -> Result<TaskResponse, Error> {
        let has = |name| {
            response
                .headers
                .get(name)
                .is_some_and(|value| value == "true")
        };
        Ok(TaskResponse {
            task: self.parse(&response)?,
            json: one_line(&response.body),
            retry_after: retry_after(&response.headers),
            is_replayed: has("idempotent-replayed"),
            is_mismatch: has("idempotent-mismatch"),
        })
    }

    fn parse<T: DeserializeOwned>(&self, response: &Response) -> Result<T, Error> {
        serde_json::from_slice(&response.body).map_err(|_| self.something_else(response))
    }

    /// The error for a response that this service does not make.
    fn something_else(&self, response: &Response) -> Error {
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

    /// The error for a problem that ends the command.
    fn refused(&self, method: Method, endpoint: &str, problem: Problem) -> Error {
        let mut text = problem.detail;
        for error in &problem.errors {
            text += &format!("\n  {}: {}", error.pointer, error.detail);
        }
        if problem.status == 403
            && let Some(signer) = &self.signer
        {
            text += "\n";
            text += &signer.advice(&text, &method, &self.base, endpoint);
        }
        Error::Refused(text)
    }
}

/// The URL below which the calls are, with a `/` at its end.
fn base(given: &str) -> Result<Url, Error> {
    let wrong = |why: &str| Error::Usage(format!("--api {given}: {why}"));
    let mut url =
        Url::parse(given).map_err(|error| wrong(&format!("it is not a URL ({error})")))?;
    if !["http", "https"].contains(&url.scheme()) || url.host().is_none() {
        return Err(wrong(
            "it must begin with https://, or for this machine with http://",
        ));
    }
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

/// A refusal in AWS's own form, which a signed call gets before it reaches the service: JSON with a message.
fn refusal_of_aws(response: &Response) -> Option<Problem> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(alias = "Message")]
        message: String,
    }
    let refusal: Refusal = serde_json::from_slice(&response.body).ok()?;
    // API Gateway says this of a path that it does not have.
    let is_refusal = response.status == 403 && refusal.message != "Missing Authentication Token";
    is_refusal.then(|| Problem {
        status: 403,
        detail: refusal.message,
        errors: Vec::new(),
    })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// An error's innermost cause says the most; the outer ones say that there is one.
fn causes(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no response in time".to_owned();
    }
    let mut innermost: &dyn StdError = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// JSON without line ends.
fn one_line(json: &[u8]) -> String {
    String::from_utf8_lossy(json).replace(['\n', '\r'], "")
}

fn status<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<TaskStatus, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| serde::de::Error::custom("it is not a status"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
