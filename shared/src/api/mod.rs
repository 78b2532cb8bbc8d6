//! The five endpoints, one file each.
//!
//! Each is a struct with a `handle` that takes an API Gateway request and always answers; its function's `main` wires
//! it, and [`Api`] puts all five behind one router for the one-machine server. `query.rs` and `run_request.rs` are the
//! request rules, `shown.rs` is what an answer shows of a task, `body.rs` the published shapes, `problem.rs` every error.

mod answer;
mod body;
mod cancel;
mod cursor;
mod info;
mod json;
mod list;
mod problem;
mod query;
mod restart;
mod run;
mod run_request;
mod settings;
mod shown;

pub use answer::too_large;
pub use cancel::Cancel;
pub use info::Info;
pub use list::List;
pub use problem::{PROBLEM_TYPE, ProblemKind};
pub use restart::Restart;
pub use run::Run;
pub use settings::{ApiConfig, TaskIdReuse};

use crate::clock::Clock;
use crate::queue::TaskQueue;
use crate::store::TaskStore;
use crate::task::{Message, Task};
use answer::{RequestLog, refuse};
use lambda_http::http::Method;
use lambda_http::{Body, Request, Response};
use problem::Problem;

/// The largest request body: what fits in one synchronous Lambda event ("Lambda quotas", AWS Lambda Developer Guide).
pub const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// The numbers that the published contract names, beside those of the names in [`crate::task`].
pub mod limits {
    pub use super::problem::{MAX_FAULTS, RETRY_AFTER_SECONDS};
    pub use super::query::{DEFAULT_LIMIT, MAX_LIMIT};
    pub use super::shown::{MAX_FAILURES, MAX_ITEMS};
    pub use crate::store::MAX_ROWS_READ;
    pub use crate::task::MAX_HEAD_ITEMS;
}

/// Where all endpoints live.
const ROOT: &str = "/internal/deletion-tasks/";

/// Puts a stored task on the queue. The task is durable, so a message that cannot be sent is only late: the sweeper
/// sends it.
async fn dispatch(queue: &TaskQueue, task: &Task, log: &mut RequestLog) {
    if let Err(error) = queue.send(&Message::whole(task)).await {
        log.not_dispatched(&error);
    }
}

/// All five endpoints behind one router: what API Gateway is in the cloud.
#[derive(Clone, Debug)]
pub struct Api {
    run: Run,
    info: Info,
    list: List,
    restart: Restart,
    cancel: Cancel,
}

impl Api {
    /// The endpoints over one store and queue.
    pub fn new(store: TaskStore, queue: TaskQueue, config: ApiConfig, clock: Clock) -> Self {
        Self {
            run: Run::new(store.clone(), queue.clone(), config, clock.clone()),
            info: Info::new(store.clone(), clock.clone()),
            list: List::new(store.clone(), clock.clone()),
            restart: Restart::new(store.clone(), queue, clock.clone()),
            cancel: Cancel::new(store, clock),
        }
    }

    /// Answers a request by its method and path.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let expected = match path.strip_prefix(ROOT) {
            Some("run") => Method::POST,
            Some("info" | "list") => Method::GET,
            Some("restart" | "cancel") => Method::PUT,
            _ => return refuse(Problem::no_such_path(&path)),
        };
        if *request.method() != expected {
            return refuse(Problem::wrong_method(request.method(), &expected));
        }
        match path.strip_prefix(ROOT) {
            Some("run") => self.run.handle(request).await,
            Some("info") => self.info.handle(request).await,
            Some("list") => self.list.handle(request).await,
            Some("restart") => self.restart.handle(request).await,
            _ => self.cancel.handle(request).await,
        }
    }
}
