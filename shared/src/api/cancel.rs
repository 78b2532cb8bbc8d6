//! `PUT /cancel`: `canceled`, and the worker stops.

use super::answer::{Answer, RequestLog};
use super::control::Refused;
use super::problem::Problem;
use super::query::Query;
use super::shown::answer_with;
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
    /// The endpoint over a store.
    pub fn new(store: TaskStore, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Answers a request.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let mut log = RequestLog::begin("cancel", self.clock.now());
        let answer = self.answer(request, &mut log).await;
        log.respond(answer, self.clock.now())
    }

    async fn answer(&self, request: Request, log: &mut RequestLog) -> Result<Answer, Problem> {
        let mut query = Query::of(&request, &["task_id", "attempt"]);
        let (id, attempt) = (query.task_id(), query.attempt());
        let id = query.finish_with(id)?;
        log.about(&id);
        let canceled = self
            .store
            .cancel_if_open(&id, attempt, self.clock.now())
            .await;
        let stored = match canceled? {
            Written::Applied(stored) => {
                log.canceled();
                stored
            }
            Written::Refused(found) => Refused {
                id: &id,
                attempt,
                found,
            }
            .cancel()?,
        };
        answer_with(&self.store, stored, log).await
    }
}
