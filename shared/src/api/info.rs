//! `GET /info`: one task, and what happened to each of its objects.

use super::answer::{Answer, respond};
use super::body::{ItemsBody, TaskBody};
use super::cursor;
use super::problem::Problem;
use super::query::Query;
use crate::clock::Clock;
use crate::store::TaskStore;
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
        let loaded = self.store.load(&id).await;
        let stored = loaded.map_err(|error| Problem::from(error).about(&id))?;
        let stored = stored
            .filter(|stored| !stored.task.is_expired(self.clock.now()))
            .ok_or_else(|| Problem::task_not_found(&id).about(&id))?;
        let mut body = TaskBody::of(&stored);
        if let Some(filter) = filter {
            let from = place.and_then(|place| place.parse().ok()).unwrap_or(0);
            let items = ItemsBody::page(&stored, filter, from, |next| {
                cursor::encode(&listing, &next.to_string())
            });
            body = body.with_items(items);
        }
        Ok(Answer::json(&body)?.about(&stored.task))
    }
}
