//! `PUT /cancel`: makes a task `canceled`, and the worker stops.

use super::body::TaskBody;
use super::endpoint::Endpoint;
use super::log::RequestLog;
use super::not_applied::NotApplied;
use super::problem::Problem;
use super::query::Query;
use super::response;
use super::route::Route;
use crate::clock::Clock;
use crate::store::{TaskStore, Written};
use lambda_http::{Body, Request, Response};

/// Cancels deletion tasks.
#[derive(Clone, Debug)]
pub struct Cancel {
    store: TaskStore,
    clock: Clock,
}

impl Cancel {
    /// Creates the endpoint over a store.
    pub fn new(store: TaskStore, clock: Clock) -> Self {
        Self { store, clock }
    }
}

impl Endpoint for Cancel {
    const ROUTE: Route = Route::Cancel;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn respond(
        &self,
        request: Request,
        log: &mut RequestLog,
    ) -> Result<Response<Body>, Problem> {
        let mut query = Query::of(&request, &["task_id", "attempt"]);
        let (id, attempt) = (query.task_id(), query.attempt());
        let id = query.finish_with(id)?;
        log.about(&id);

        let now = self.clock.now();
        let cancel = self.store.cancel_if_open(&id, attempt, log.caller(), now);
        let stored = match cancel.await? {
            Written::Applied(stored) => {
                log.canceled();
                stored
            }
            Written::NotApplied(found) => NotApplied { id, attempt, found }.cancel()?,
        };

        log.task(&stored.task);
        response::success(&TaskBody::load(&self.store, stored).await?)
    }
}
