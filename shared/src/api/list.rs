//! `GET /list`: tasks, newest first, one page at a time.

use super::body::ListBody;
use super::cursor;
use super::endpoint::Endpoint;
use super::log::RequestLog;
use super::problem::Problem;
use super::query::Query;
use super::response;
use super::route::Route;
use crate::clock::{Clock, rfc3339};
use crate::store::{ListFilter, TaskPosition, TaskStore};
use lambda_http::{Body, Request, Response};

const PARAMETERS: [&str; 6] = [
    "status",
    "embedding_model_id",
    "created_after",
    "created_before",
    "limit",
    "cursor",
];

/// Lists deletion tasks.
#[derive(Clone, Debug)]
pub struct List {
    store: TaskStore,
    clock: Clock,
}

impl List {
    /// Creates the endpoint over a store.
    pub fn new(store: TaskStore, clock: Clock) -> Self {
        Self { store, clock }
    }
}

impl Endpoint for List {
    const ROUTE: Route = Route::List;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn respond(
        &self,
        request: Request,
        log: &mut RequestLog,
    ) -> Result<Response<Body>, Problem> {
        let mut query = Query::of(&request, &PARAMETERS);
        let (created_after, created_before) = query.created();
        let filter = ListFilter {
            status: query.status(),
            model: query.model(),
            created_after,
            created_before,
        };
        let limit = query.limit() as usize;
        let listing = listing(&filter);
        let position = query.cursor(&listing, |text| {
            Some(TaskPosition(text)).filter(TaskPosition::is_well_formed)
        });
        query.finish()?;

        let now = self.clock.now();
        let page = self.store.list(&filter, limit, position, now).await?;
        log.count(page.rows.len());

        let next = page.next.map(|next| cursor::encode(&listing, &next.0));
        response::success(&ListBody::new(page.rows, next))
    }
}

/// Returns what a cursor is bound to: the filters, but not the limit.
fn listing(filter: &ListFilter) -> String {
    let status = filter.status.map_or("", |status| status.as_str());
    let model = filter.model.as_ref().map_or("", |model| model.as_str());
    let time = |time: Option<_>| time.map_or_else(String::new, rfc3339);
    let (after, before) = (time(filter.created_after), time(filter.created_before));
    format!("tasks {status} {after} {before} {model}")
}
