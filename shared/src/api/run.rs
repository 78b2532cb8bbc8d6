//! `POST /run`: creates a task, or returns the one that already has this `task_id`.

use super::body::TaskBody;
use super::endpoint::{Endpoint, dispatch};
use super::log::RequestLog;
use super::problem::Problem;
use super::response;
use super::route::Route;
use super::run_request::RunRequest;
use super::settings::{ApiConfig, TaskIdReuse};
use crate::clock::Clock;
use crate::queue::TaskQueue;
use crate::store::{NewTask, TaskStore, Written};
use crate::task::{Fingerprint, TaskId};
use chrono::{DateTime, Utc};
use lambda_http::http::HeaderValue;
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
    /// Creates the endpoint over a store and a queue.
    pub fn new(store: TaskStore, queue: TaskQueue, config: ApiConfig, clock: Clock) -> Self {
        Self {
            store,
            queue,
            config,
            clock,
        }
    }
}

impl Endpoint for Run {
    const ROUTE: Route = Route::Run;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn respond(
        &self,
        request: Request,
        log: &mut RequestLog,
    ) -> Result<Response<Body>, Problem> {
        let run = RunRequest::read(&request)?;

        let now = self.clock.now();
        let fingerprint = Fingerprint::of(&run.model, &run.object_ids);
        let new = NewTask {
            id: run.task_id.unwrap_or_else(|| sortable_id(now)),
            model: run.model,
            object_ids: run.object_ids.into_ids(),
            fingerprint,
            reason: run.reason,
            created_by: log.caller().map(str::to_owned),
            retention: self.config.retention,
        };
        log.about(&new.id);
        let create = self.store.create_if_absent(new, now);
        let (created, ()) = tokio::join!(create, self.queue.prepare());
        let (stored, headers): (_, &[_]) = match created? {
            Written::Applied(stored) => {
                log.created();
                log.count(stored.task.progress.total as usize);
                dispatch(&self.queue, &stored.task, log).await;
                (stored, &[])
            }
            Written::NotApplied(stored) if stored.fingerprint == fingerprint => {
                (stored, &["idempotent-replayed"])
            }
            Written::NotApplied(stored) => match self.config.task_id_reuse {
                TaskIdReuse::Return => (stored, &["idempotent-replayed", "idempotent-mismatch"]),
                TaskIdReuse::Reject => return Err(Problem::task_id_taken(&stored.task.id)),
            },
        };

        log.task(&stored.task);
        let mut response = response::success(&TaskBody::load(&self.store, stored).await?)?;
        for header in headers {
            let value = HeaderValue::from_static("true");
            response.headers_mut().insert(*header, value);
        }
        Ok(response)
    }
}

/// Creates a UUIDv7 (RFC 9562), which sorts by the time of its creation.
fn sortable_id(now: DateTime<Utc>) -> TaskId {
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    let timestamp = Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos());
    TaskId::from_uuid(Uuid::new_v7(timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_ids_sort_by_the_time_they_were_made() {
        let at = |ms| sortable_id(DateTime::from_timestamp_millis(ms).unwrap());
        assert!(at(1_700_000_000_000) < at(1_700_000_000_001));
        assert_eq!(at(1_700_000_000_000).as_str().len(), 36);
    }
}
