//! The largest requests that Lambda lets through. All objects are accepted, in little memory.

use super::services;
use base64::prelude::{BASE64_STANDARD as STANDARD, Engine};
use local::Running;
use serde_json::{Value, json};
use std::time::Duration;
use tests::runtime_api::{Function, event};

/// The largest event of a synchronous invocation ("Lambda quotas", AWS Lambda Developer Guide).
const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;
/// How much memory the function may take, in kilobytes.
const MAX_MEMORY: u64 = 128 * 1024;

const HEAD: &str = r#"{"embedding_model_id":"embed-456","object_ids":["#;
const TAIL: &str = "]}";

/// The form of the body in the event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// As a string: each of an id's quotes takes two bytes.
    Text,
    /// As Base64, as API Gateway passes on binary bodies.
    Base64,
}

/// Returns the create event with a body of as many of these ids as fit, and their number.
fn largest(body: Body, ids: impl Iterator<Item = String>) -> (Value, usize) {
    let mut event = event("create-deletion-task");
    event["isBase64Encoded"] = (body == Body::Base64).into();
    event["body"] = "".into();
    let room = MAX_EVENT_BYTES - event.to_string().len();
    let (mut room, quotes) = match body {
        // The head and the tail have quotes too.
        Body::Text => (room - json!(format!("{HEAD}{TAIL}")).to_string().len(), 4),
        Body::Base64 => (room / 4 * 3 - HEAD.len() - TAIL.len(), 2),
    };
    let (mut list, mut count) = (String::new(), 0);
    for id in ids {
        let bytes = id.len() + quotes + ",".len();
        if bytes > room {
            break;
        }
        room -= bytes;
        list.push_str(if count == 0 { "\"" } else { ",\"" });
        list.push_str(&id);
        list.push('"');
        count += 1;
    }
    let text = format!("{HEAD}{list}{TAIL}");
    event["body"] = match body {
        Body::Text => text.into(),
        Body::Base64 => STANDARD.encode(text).into(),
    };
    let size = event.to_string().len();
    assert!((MAX_EVENT_BYTES - 64..=MAX_EVENT_BYTES).contains(&size));
    (event, count)
}

fn uuids() -> impl Iterator<Item = String> {
    (0_u64..).map(|i| {
        let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!(
            "{:08x}-{:04x}-4abc-8def-{i:012x}",
            mixed >> 32,
            mixed & 0xffff
        )
    })
}

/// Every text of one, then two, then three printable ASCII characters that JSON does not escape.
fn shortest() -> impl Iterator<Item = String> {
    let characters = || (' '..='~').filter(|c| !matches!(c, '"' | '\\'));
    let one = characters().map(String::from);
    let two = characters().flat_map(move |a| characters().map(move |b| String::from_iter([a, b])));
    let three = characters().flat_map(move |a| {
        characters().flat_map(move |b| characters().map(move |c| String::from_iter([a, b, c])))
    });
    one.chain(two).chain(three)
}

/// Creates a task from this event in a separate process, and prints how long that took.
async fn create(what: &str, running: &Running, (event, count): (Value, usize)) {
    let mut function = Function::start("create-deletion-task", running).await;
    let began = tokio::time::Instant::now();
    let created = function.call(&event).await.ok();
    let took = began.elapsed();
    let expected = json!({"total": count, "deleted": 0, "failed": 0, "remaining": count});
    assert_eq!(created["progress"], expected, "{what}");
    let peak = function.memory("VmHWM");
    report(what, count, took, peak);
    // Other systems than Linux do not report it.
    let peak = peak.unwrap_or_default();
    assert!(peak < MAX_MEMORY, "{what}: {count} ids take {peak} kB");
}

#[allow(
    clippy::print_stdout,
    reason = "for whoever runs this test with `--nocapture`"
)]
fn report(what: &str, count: usize, took: Duration, peak: Option<u64>) {
    let peak = peak.map_or("?".to_owned(), |peak| (peak / 1024).to_string());
    println!(
        "{what}: {count} ids in {:.1} s, peak memory {peak} MB",
        took.as_secs_f64()
    );
}

#[tokio::test]
async fn the_largest_requests_are_accepted_in_little_memory() {
    let running = services().await;
    create("UUIDs", &running, largest(Body::Text, uuids())).await;
    create("short ids", &running, largest(Body::Text, shortest())).await;
    let in_base64 = largest(Body::Base64, shortest());
    create("short ids in base64", &running, in_base64).await;
}
