//! `GET /info`: one task, and the outcome of each of its objects.

use super::body::{MAX_FAILURES, MAX_ITEMS, TaskBody};
use super::cursor;
use super::endpoint::Endpoint;
use super::log::RequestLog;
use super::problem::Problem;
use super::query::Query;
use super::response;
use super::route::Route;
use crate::clock::Clock;
use crate::store::{ObjectPosition, OutcomePage, StoredTask, TaskStore};
use crate::task::{FailedItem, OutcomeFilter, Task, TaskId};
use chrono::{DateTime, Utc};
use lambda_http::http::{HeaderValue, header};
use lambda_http::{Body, Request, Response};

/// The most reads of a task for one response, if it is restarted during each of them.
const MAX_READS: u32 = 3;

/// The longest `Retry-After` of `/info`, in seconds.
const LONGEST_WAIT: u64 = 30;

/// Shows one deletion task.
#[derive(Clone, Debug)]
pub struct Info {
    store: TaskStore,
    clock: Clock,
}

/// The objects that a request asks for.
struct Items {
    filter: OutcomeFilter,
    from: ObjectPosition,
    /// The listing that the cursors are bound to.
    listing: String,
}

impl Info {
    /// Creates the endpoint over a store.
    pub fn new(store: TaskStore, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Reads the task, its first failures, and the objects that are requested.
    async fn read(
        &self,
        id: &TaskId,
        items: Option<&Items>,
    ) -> Result<(StoredTask, Vec<FailedItem>, Option<OutcomePage>), Problem> {
        let now = self.clock.now();
        let mut reads = 0;
        loop {
            reads += 1;
            let stored = self.store.load(id).await?;
            let stored = stored
                .filter(|stored| !stored.task.is_expired(now))
                .ok_or_else(|| Problem::task_not_found(id))?;
            let failures = self.store.failures(&stored, MAX_FAILURES).await?;
            let page = match items {
                Some(Items { filter, from, .. }) => {
                    let page = self.store.outcomes(&stored, *filter, *from, MAX_ITEMS);
                    Some(page.await?)
                }
                None => None,
            };
            // The counters are of one attempt, so the objects beside them must be of the same one.
            let restarted = failures.restarted || page.as_ref().is_some_and(|page| page.restarted);
            if !restarted || reads == MAX_READS {
                return Ok((stored, failures.items, page));
            }
        }
    }
}

impl Endpoint for Info {
    const ROUTE: Route = Route::Info;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn respond(
        &self,
        request: Request,
        log: &mut RequestLog,
    ) -> Result<Response<Body>, Problem> {
        let mut query = Query::of(&request, &["task_id", "outcome", "cursor"]);
        let id = query.task_id();
        let items = Items::asked_for(&mut query, id.as_ref());
        let id = query.finish_with(id)?;
        log.about(&id);

        let (stored, failures, page) = self.read(&id, items.as_ref()).await?;
        log.task(&stored.task);

        let retry_after = retry_after(&stored.task, self.clock.now());
        let mut body = TaskBody::new(stored, failures);
        if let (Some(items), Some(page)) = (items, page) {
            let next = page.next.map(|place| items.cursor(place));
            body = body.with_items(page.items, next);
        }
        let mut response = response::success(&body)?;
        if let Some(seconds) = retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        Ok(response)
    }
}

/// Returns after how many seconds it is worth asking again, if the task has not ended: a tenth of
/// its age, from 1 to 30.
fn retry_after(task: &Task, now: DateTime<Utc>) -> Option<u64> {
    // The time of a restart is not stored. `updated_at` is that time, or a later one.
    let since = if task.attempt == 1 {
        task.created_at
    } else {
        task.updated_at
    };
    let age = (now - since).num_seconds().max(0);
    (!task.status.is_terminal()).then(|| age.unsigned_abs().div_ceil(10).clamp(1, LONGEST_WAIT))
}

impl Items {
    /// Reads which objects a request asks for. Returns `None` if it asks for none.
    ///
    /// A request without a task id is refused, whatever this returns.
    fn asked_for(query: &mut Query, id: Option<&TaskId>) -> Option<Self> {
        if query.has("cursor") && !query.has("outcome") {
            query.refuse("cursor", "goes with `outcome`");
        }
        let filter = query.outcome()?;
        let listing = format!("items {filter:?} {}", id.map_or("", TaskId::as_str));
        let from = query.cursor(&listing, |text| text.parse().ok());
        Some(Self {
            filter,
            from: from.unwrap_or_default(),
            listing,
        })
    }

    fn cursor(&self, place: ObjectPosition) -> String {
        cursor::encode(&self.listing, &place.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::http;

    /// Returns what a query of `/info` asks for, or its validation errors.
    fn asked_for(text: &str) -> Result<Option<Items>, String> {
        let uri = format!("http://x/?{text}");
        let request = http::Request::builder().uri(uri).body(Body::Empty).unwrap();
        let mut query = Query::of(&request, &["task_id", "outcome", "cursor"]);
        let id = query.task_id();
        let items = Items::asked_for(&mut query, id.as_ref());
        let finished = query.finish_with(id).map_err(Problem::from);
        finished
            .map(|_| items)
            .map_err(|problem| serde_json::to_string(&problem.errors).unwrap())
    }

    #[test]
    fn objects_are_shown_only_where_they_are_asked_for() {
        assert!(asked_for("task_id=t").unwrap().is_none());
        let items = asked_for("task_id=t&outcome=failed").unwrap().unwrap();
        assert_eq!(items.filter, OutcomeFilter::Failed);
        assert_eq!(items.from, ObjectPosition::default());
    }

    #[test]
    fn a_cursor_is_good_only_for_the_task_and_outcome_that_it_was_given_for() {
        let place = ObjectPosition {
            chunk: 2,
            position: 7,
        };
        let cursor = |text: &str| asked_for(text).unwrap().unwrap().cursor(place);
        let own = cursor("task_id=t&outcome=all");
        let items = asked_for(&format!("task_id=t&outcome=all&cursor={own}"));
        assert_eq!(items.unwrap().unwrap().from, place);

        for other in ["task_id=t&outcome=failed", "task_id=u&outcome=all"] {
            let wrong = asked_for(&format!("{other}&cursor={own}")).err().unwrap();
            assert!(wrong.contains("belongs to another query"), "{wrong}");
        }
        for cursor in [&own, "", "%zz"] {
            let wrong = asked_for(&format!("task_id=t&cursor={cursor}"));
            let expected = r#"{"parameter":"cursor","detail":"goes with `outcome`"}"#;
            let wrong = wrong.err().unwrap();
            assert!(wrong.contains(expected), "{wrong}");
        }
    }
}
