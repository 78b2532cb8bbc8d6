//! How every endpoint handles a request.

use super::caller::Caller;
use super::log::RequestLog;
use super::problem::Problem;
use super::response;
use super::route::Route;
use crate::clock::Clock;
use crate::queue::TaskQueue;
use crate::task::{Message, Task};
use lambda_http::{Body, Error, Request, Response, service_fn};

/// One of the five endpoints.
///
/// No module outside `api` can add one: what [`Endpoint::respond`] takes and returns is private to
/// `api`.
pub trait Endpoint: Sync {
    /// The call that the endpoint serves.
    const ROUTE: Route;

    /// The clock that the endpoint reads.
    fn clock(&self) -> &Clock;

    /// Carries out a request.
    ///
    /// It records in `log` what it has done as soon as it is done, so that the line says so even if
    /// a later step fails.
    fn respond(
        &self,
        request: Request,
        log: &mut RequestLog,
    ) -> impl Future<Output = Result<Response<Body>, Problem>> + Send;

    /// Carries out a request, writes its log line, and turns an error into a response.
    fn handle(&self, request: Request) -> impl Future<Output = Response<Body>> + Send {
        async move {
            let caller = Caller::of(&request);
            let mut log = RequestLog::begin(Self::ROUTE.name(), caller, self.clock().now());
            let result = self.respond(request, &mut log).await;
            log.write(result.as_ref().err(), self.clock().now());
            result.unwrap_or_else(|problem| response::error(&problem))
        }
    }
}

/// Runs the Lambda function of an endpoint: one request after the other, as long as the process
/// lives.
///
/// # Errors
/// If the Lambda Runtime API fails.
pub async fn serve(endpoint: impl Endpoint) -> Result<(), Error> {
    let handle = async |request| Ok::<_, Error>(endpoint.handle(request).await);
    lambda_http::run(service_fn(handle)).await
}

/// Puts a stored task on the queue.
///
/// The task is durable: if its message cannot be sent, the sweeper sends it later.
pub(super) async fn dispatch(queue: &TaskQueue, task: &Task, log: &mut RequestLog) {
    if let Err(error) = queue.send(&task.model, &Message::whole(task)).await {
        log.not_dispatched(&error);
    }
}
