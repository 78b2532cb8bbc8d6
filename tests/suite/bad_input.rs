//! What is refused: with the right status, with words a person can act on, and with nothing stored.

mod bodies;
mod queries;
mod requests;
mod task_ids;

use hyper::body::Bytes;
use serde_json::Value;
use tests::Service;
use tests::http::Reply;

const ROOT: &str = "/internal/deletion-tasks";
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

/// Fails the test unless exactly these faults are named: where each is (its `pointer` or `parameter`), and a word of what
/// is said of it.
fn assert_faults(problem: &Value, place: &str, expected: &[(&str, &str)], story: &str) {
    let faults = problem["errors"].as_array();
    let faults = faults.unwrap_or_else(|| panic!("{story}: no fault is named: {problem}"));
    for (at, word) in expected {
        let found = faults.iter().any(|fault| {
            fault[place] == *at && fault["detail"].as_str().unwrap_or_default().contains(word)
        });
        assert!(found, "{story}: no `{word}` at `{at}` in {problem}");
    }
    assert_eq!(faults.len(), expected.len(), "{story}: {problem}");
}

/// The beginning of a long text.
fn brief(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..80).unwrap_or(text));
    text.into_owned()
}
