//! `PUT /restart`: back to `pending`, and onto the queue again.

use super::answer::{Answer, RequestLog};
use super::control::Refused;
use super::dispatch;
use super::problem::Problem;
use super::query::Query;
use super::shown::answer_with;
use crate::clock::Clock;
use crate::queue::TaskQueue;
use crate::store::{TaskStore, Written};
use crate::task::TaskStatus;
use lambda_http::{Body, Request, Response};

/// Restarts deletion tasks.
#[derive(Clone, Debug)]
pub struct Restart {
    store: TaskStore,
    queue: TaskQueue,
    clock: Clock,
}

impl Restart {
    /// The endpoint over a store and a queue.
    pub fn new(store: TaskStore, queue: TaskQueue, clock: Clock) -> Self {
        Self {
            store,
            queue,
            clock,
        }
    }

    /// Answers a request.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let mut log = RequestLog::begin("restart", self.clock.now());
        let answer = self.answer(request, &mut log).await;
        log.respond(answer, self.clock.now())
    }

    async fn answer(&self, request: Request, log: &mut RequestLog) -> Result<Answer, Problem> {
        let mut query = Query::of(&request, &["task_id", "scope", "attempt"]);
        let (id, scope, attempt) = (query.task_id(), query.scope(), query.attempt());
        let id = query.finish_with(id)?;
        log.about(&id);
        let now = self.clock.now();
        let restart = self.store.restart_if_terminal(&id, scope, attempt, now);
        let (restarted, ()) = tokio::join!(restart, self.queue.prepare());
        let stored = match restarted? {
            Written::Applied(stored) => stored,
            Written::Refused(found) => Refused {
                id: &id,
                attempt,
                found,
            }
            .restart(scope)?,
        };
        if stored.task.status == TaskStatus::Pending {
            dispatch(&self.queue, &stored.task, log).await;
        }
        answer_with(&self.store, stored, log).await
    }
}
