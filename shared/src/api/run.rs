//! `POST /run`: creates a task, or returns the one that already has this `task_id`.

use super::answer::{Answer, RequestLog, body_too_large};
use super::problem::{Problem, ProblemKind};
use super::query::Query;
use super::run_request::RunRequest;
use super::settings::{ApiConfig, TaskIdReuse};
use super::shown::answer_with;
use super::{MAX_BODY_BYTES, dispatch};
use crate::clock::Clock;
use crate::queue::TaskQueue;
use crate::store::{Created, NewTask, TaskStore};
use crate::task::{Fingerprint, TaskId};
use chrono::{DateTime, Utc};
use lambda_http::http::header;
use lambda_http::{Body, Request, Response};
use uuid::{NoContext, Timestamp, Uuid};

/// Creates deletion tasks.
#[derive(Clone, Debug)]
pub struct Run {
    store: TaskStore,
    queue: TaskQueue,
    config: ApiConfig,
    clock: Clock,
}

impl Run {
    /// The endpoint over a store and a queue.
    pub fn new(store: TaskStore, queue: TaskQueue, config: ApiConfig, clock: Clock) -> Self {
        Self {
            store,
            queue,
            config,
            clock,
        }
    }

    /// Answers a request.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let mut log = RequestLog::begin("run", self.clock.now());
        let answer = self.answer(request, &mut log).await;
        log.respond(answer, self.clock.now())
    }

    async fn answer(&self, request: Request, log: &mut RequestLog) -> Result<Answer, Problem> {
        check_content_type(&request)?;
        Query::of(&request, &[]).finish()?;
        if request.body().len() > MAX_BODY_BYTES {
            return Err(body_too_large());
        }
        let asked = RunRequest::parse(request.body())?;
        let now = self.clock.now();
        let fingerprint = Fingerprint::of(&asked.model, &asked.object_ids);
        let new = NewTask {
            id: asked.task_id.unwrap_or_else(|| sortable_id(now)),
            model: asked.model,
            object_ids: asked.object_ids,
            fingerprint,
            retention: self.config.retention,
        };
        log.about(&new.id);
        let create = self.store.create_if_absent(new, now);
        let (created, ()) = tokio::join!(create, self.queue.prepare());
        match created? {
            Created::New(stored) => {
                log.created();
                log.count(stored.task.progress.total as usize);
                dispatch(&self.queue, &stored.task, log).await;
                answer_with(&self.store, stored, log).await
            }
            Created::Existing(stored) => {
                let matches = stored.fingerprint == fingerprint;
                if !matches && self.config.task_id_reuse == TaskIdReuse::Reject {
                    return Err(Problem::conflict(format!(
                        "Task with ID `{}` exists already, for another model or other objects",
                        stored.task.id
                    )));
                }
                let answer = answer_with(&self.store, stored, log).await?;
                let answer = answer.flag("idempotent-replayed");
                Ok(match matches {
                    true => answer,
                    false => answer.flag("idempotent-mismatch"),
                })
            }
        }
    }
}

/// A UUIDv7 (RFC 9562): it sorts by the time it was made.
fn sortable_id(now: DateTime<Utc>) -> TaskId {
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    let timestamp = Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos());
    TaskId::from_uuid(Uuid::new_v7(timestamp))
}

/// A content type may be left out; one that is given must be JSON.
fn check_content_type(request: &Request) -> Result<(), Problem> {
    let Some(given) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let given = String::from_utf8_lossy(given.as_bytes()).to_ascii_lowercase();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let subtype = essence.strip_prefix("application/").unwrap_or_default();
    match subtype == "json" || (subtype.ends_with("+json") && subtype.len() > 5) {
        true => Ok(()),
        false => Err(Problem::new(
            ProblemKind::UnsupportedMediaType,
            format!("The content type is `{essence}`: send application/json"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_taken_and_no_content_type_is_fine() {
        let status = |given: Option<&str>| {
            let mut request = Request::default();
            if let Some(given) = given {
                request
                    .headers_mut()
                    .insert("content-type", given.parse().unwrap());
            }
            check_content_type(&request).map_err(|problem| problem.kind.status().as_u16())
        };
        for given in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.x+json",
        ] {
            assert_eq!(status(Some(given)), Ok(()), "{given}");
        }
        assert_eq!(status(None), Ok(()));
        for given in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "json",
            "application/+json",
            "",
        ] {
            assert_eq!(status(Some(given)), Err(415), "{given}");
        }
    }

    #[test]
    fn made_ids_sort_by_the_time_they_were_made() {
        let at = |ms| sortable_id(DateTime::from_timestamp_millis(ms).unwrap());
        assert!(at(1_700_000_000_000) < at(1_700_000_000_001));
        assert_eq!(at(1_700_000_000_000).as_str().len(), 36);
    }
}
