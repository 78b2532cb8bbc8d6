//! Bad input, as far as the unit tests of `shared/src/api` cannot test it.
//!
//! That is: paths, methods, sizes, hang-ups, cursors that the service made, and that a refused
//! request changes nothing.

mod refusals;
mod requests;
mod task_ids;

use hyper::body::Bytes;
use tests::Service;
use tests::http::Reply;

const RUN: &str = "/internal/deletion-tasks/run";
const JSON: Option<&str> = Some("application/json");

/// Sends this body to `/run`.
async fn post(service: &Service, body: impl Into<Bytes>) -> Reply {
    service.send("POST", RUN, JSON, body).await
}

/// Fails the test unless nothing is stored and nothing is on the queue.
async fn assert_nothing_stored(service: &Service) {
    assert_eq!(service.stored_items().await, 0, "the table is not empty");
    assert_eq!(
        service.waiting(&service.running.queue_url).await,
        0,
        "the queue is not empty"
    );
}
