//! `GET /list`: tasks, newest first, one page at a time.

use super::answer::{Answer, RequestLog};
use super::body::ListBody;
use super::cursor;
use super::problem::Problem;
use super::query::Query;
use crate::clock::Clock;
use crate::store::{ListFilter, Position, TaskStore};
use lambda_http::{Body, Request, Response};

/// Lists deletion tasks.
#[derive(Clone, Debug)]
pub struct List {
    store: TaskStore,
    clock: Clock,
}

impl List {
    /// The endpoint over a store.
    pub fn new(store: TaskStore, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Answers a request.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let mut log = RequestLog::begin("list", self.clock.now());
        let answer = self.answer(request, &mut log).await;
        log.respond(answer, self.clock.now())
    }

    async fn answer(&self, request: Request, log: &mut RequestLog) -> Result<Answer, Problem> {
        let known = ["status", "embedding_model_id", "limit", "cursor"];
        let mut query = Query::of(&request, &known);
        let filter = ListFilter {
            status: query.status(),
            model: query.model(),
        };
        let limit = query.limit();
        let listing = listing(&filter);
        let place = query.cursor(&listing).map(Position);
        if place.as_ref().is_some_and(|place| !place.is_well_formed()) {
            query.fault("cursor", cursor::DAMAGED);
        }
        query.finish()?;
        let now = self.clock.now();
        let page = self.store.list(&filter, limit, place, now).await?;
        log.count(page.rows.len());
        let body = ListBody::of(page, |place| cursor::encode(&listing, place));
        Answer::json(&body)
    }
}

/// What a cursor is bound to: the filters, but not the limit.
fn listing(filter: &ListFilter) -> String {
    let status = filter.status.map_or("", |status| status.as_str());
    let model = filter.model.as_ref().map_or("", |model| model.as_str());
    format!("tasks {status} {model}")
}
