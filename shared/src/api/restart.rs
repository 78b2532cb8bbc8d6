//! `PUT /restart`: makes a task `pending`, and puts it on the queue again.

use super::body::TaskBody;
use super::endpoint::{Endpoint, dispatch};
use super::log::RequestLog;
use super::not_applied::NotApplied;
use super::problem::Problem;
use super::query::Query;
use super::response;
use super::route::Route;
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
    /// Creates the endpoint over a store and a queue.
    pub fn new(store: TaskStore, queue: TaskQueue, clock: Clock) -> Self {
        Self {
            store,
            queue,
            clock,
        }
    }
}

impl Endpoint for Restart {
    const ROUTE: Route = Route::Restart;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn respond(
        &self,
        request: Request,
        log: &mut RequestLog,
    ) -> Result<Response<Body>, Problem> {
        let mut query = Query::of(&request, &["task_id", "scope", "attempt"]);
        let (id, scope, attempt) = (query.task_id(), query.scope(), query.attempt());
        let id = query.finish_with(id)?;
        log.about(&id);

        let now = self.clock.now();
        let restart = self
            .store
            .restart_if_terminal(&id, scope, attempt, log.caller(), now);
        let (restarted, ()) = tokio::join!(restart, self.queue.prepare());
        let stored = match restarted? {
            Written::Applied(stored) => stored,
            Written::NotApplied(found) => NotApplied { id, attempt, found }.restart(scope)?,
        };
        if stored.task.status == TaskStatus::Pending {
            dispatch(&self.queue, &stored.task, log).await;
        }

        log.task(&stored.task);
        response::success(&TaskBody::load(&self.store, stored).await?)
    }
}
