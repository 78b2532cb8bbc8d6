//! `GET /info`: one task, and what happened to each of its objects.

use super::answer::{Answer, RequestLog};
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
        let mut log = RequestLog::begin("info", self.clock.now());
        let answer = self.answer(request, &mut log).await;
        log.respond(answer, self.clock.now())
    }

    async fn answer(&self, request: Request, log: &mut RequestLog) -> Result<Answer, Problem> {
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
        log.about(&id);
        let place = place.and_then(|place| place.parse().ok());
        let asked = filter.map(|filter| (filter, place.unwrap_or_default()));
        let mut shown = Shown::load(&self.store, &id, asked, self.clock.now()).await?;
        log.task(&shown.stored.task);
        let page = shown.page.take();
        let mut body = TaskBody::of(shown);
        if let Some(page) = page {
            let next = |place: Place| cursor::encode(&listing, &place.to_string());
            body = body.with_items(ItemsBody::of(page, next));
        }
        Answer::json(&body)
    }
}
