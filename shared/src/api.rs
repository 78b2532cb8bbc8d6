//! The five endpoints, one file each.
//!
//! A request takes one path. `endpoint.rs` begins its log line (`log.rs`) and passes it to the
//! endpoint. The endpoint reads and validates the request (`run_request.rs`, `query.rs`;
//! `validation.rs` collects the validation errors), calls the store, and makes the response. That
//! is a body (`body.rs`) or an error (`problem.rs`), which `response.rs` turns into HTTP.
//!
//! `route.rs` names the calls. Each Lambda function [`serve`]s one endpoint. [`Api`] has all five
//! behind one router, in place of API Gateway, for the one-machine server.

mod body;
mod caller;
mod cancel;
mod cursor;
mod endpoint;
mod info;
mod json;
mod list;
mod log;
mod not_applied;
mod problem;
mod query;
mod response;
mod restart;
mod route;
mod run;
mod run_request;
mod settings;
mod validation;

#[cfg(feature = "events")]
pub(crate) use body::TaskBody;
pub use cancel::Cancel;
pub use endpoint::{Endpoint, serve};
pub use info::Info;
pub use list::List;
pub use problem::{PROBLEM_TYPE, ProblemKind};
pub use response::body_too_large;
pub use restart::Restart;
pub use route::{ROOT, Route};
pub use run::Run;
pub use settings::{ApiConfig, TaskIdReuse};

use crate::clock::Clock;
use crate::queue::TaskQueue;
use crate::store::TaskStore;
use lambda_http::{Body, Request, Response};
use problem::Problem;

/// The largest request body: as much as fits in one synchronous Lambda event ("Lambda quotas", AWS
/// Lambda Developer Guide).
pub const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// The numbers in the published contract, beside those of the names in [`crate::task`].
pub mod limits {
    pub use super::body::{MAX_FAILURES, MAX_ITEMS};
    pub use super::problem::RETRY_AFTER_SECONDS;
    pub use super::query::{DEFAULT_LIMIT, MAX_LIMIT};
    pub use super::validation::MAX_VALIDATION_ERRORS;
    pub use crate::store::MAX_ROWS_READ;
    pub use crate::task::MAX_HEAD_ITEMS;
}

/// All five endpoints behind one router.
#[derive(Clone, Debug)]
pub struct Api {
    run: Run,
    info: Info,
    list: List,
    restart: Restart,
    cancel: Cancel,
}

impl Api {
    /// Creates the endpoints over one store and queue.
    pub fn new(store: TaskStore, queue: TaskQueue, config: ApiConfig, clock: Clock) -> Self {
        Self {
            run: Run::new(store.clone(), queue.clone(), config, clock.clone()),
            info: Info::new(store.clone(), clock.clone()),
            list: List::new(store.clone(), clock.clone()),
            restart: Restart::new(store.clone(), queue, clock.clone()),
            cancel: Cancel::new(store, clock),
        }
    }

    /// Passes a request to the endpoint that its path and method name.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let path = request.uri().path();
        let Some(route) = Route::at(path) else {
            return response::error(&Problem::no_such_path(path));
        };
        if request.method() != route.method() {
            return response::error(&Problem::wrong_method(request.method(), route.method()));
        }
        match route {
            Route::Run => self.run.handle(request).await,
            Route::Info => self.info.handle(request).await,
            Route::List => self.list.handle(request).await,
            Route::Restart => self.restart.handle(request).await,
            Route::Cancel => self.cancel.handle(request).await,
        }
    }
}
