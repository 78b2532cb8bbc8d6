//! `GET /info`: one task, and what happened to each of its objects.

use super::answer::{Answer, respond};
use super::body::{ItemsBody, TaskBody};
use super::cursor;
use super::problem::Problem;
use super::query::Query;
use super::shown::Shown;
use crate::clock::Clock;
use crate::store::{Place, TaskStore};
use lambda_http::{Body, Request, Response};

/// Shows one deletion task.
#[derive(Clone, Debug)]
pub struct Info {
    store: TaskStore,
    clock: Clock,
}

impl Info {
    /// The endpoint over a store.
    pub fn new(store: TaskStore, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Answers a request.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        respond("info", &self.clock, self.answer(request)).await
    }

    async fn answer(&self, request: Request) -> Result<Answer, Problem> {
        let mut query = Query::of(&request, &["task_id", "outcome", "cursor"]);
        let id = query.task_id();
        if query.has("cursor") && !query.has("outcome") {
            query.fault("cursor", "goes with `outcome`");
        }
        let filter = query.outcome();
        let listing = match (&id, filter) {
            (Some(id), Some(filter)) => format!("items {filter:?} {id}"),
            _ => String::new(),
        };
        let place = match filter {
            Some(_) => query.cursor(&listing),
            None => None,
        };
        let id = query.finish_with(id)?;
        let place = place.and_then(|place| place.parse().ok());
        let asked = filter.map(|filter| (filter, place.unwrap_or_default()));
        let shown = Shown::load(&self.store, &id, asked, self.clock.now()).await;
        let mut shown = shown.map_err(|problem| problem.about(&id))?;
        let task = shown.stored.task.clone();
        let page = shown.page.take();
        let mut body = TaskBody::of(shown);
        if let Some(page) = page {
            let next = |place: Place| cursor::encode(&listing, &place.to_string());
            body = body.with_items(ItemsBody::of(page, next));
        }
        Ok(Answer::json(&body)?.about(&task))
    }
}
