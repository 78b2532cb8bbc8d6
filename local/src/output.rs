//! What the program prints for the person or program that started it. Logs are separate.

use crate::docs;
use crate::running::{Running, url};
use chrono::SecondsFormat;
use serde_json::{Value, json};
use shared::events::{DETAIL_TYPE, SOURCE, TaskEvent};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use web::console;

const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";
/// The most events that wait to be printed.
const MAX_WAITING_EVENTS: usize = 10_000;

/// Prints the addresses, one per line: `API <url>`, `Console <url>`, `Docs <url>`, three
/// `AWS_ENDPOINT_URL_…=<url>`, a `curl` command, `Ready`.
///
/// Ignores a closed standard output.
pub fn announce(running: &Running) {
    let _ = write_announcement(running, &mut anstream::stdout());
}

fn write_announcement(running: &Running, out: &mut impl Write) -> io::Result<()> {
    let api = url(running.api);
    writeln!(out, "API {api}")?;
    writeln!(out, "Console {api}{}", console::PAGE)?;
    writeln!(out, "Docs {api}{}", docs::PAGE)?;
    writeln!(out, "AWS_ENDPOINT_URL_DYNAMODB={}", url(running.dynamodb))?;
    writeln!(out, "AWS_ENDPOINT_URL_SQS={}", url(running.sqs))?;
    writeln!(out, "AWS_ENDPOINT_URL_S3VECTORS={}", url(running.s3vectors))?;
    let body = r#"{"embedding_model_id":"embed-456","task_id":"delete-xyz","object_ids":["obj-1","obj-2"]}"#;
    writeln!(
        out,
        "curl -sS -X POST {api}/internal/deletion-tasks/run -H 'content-type: application/json' -d '{body}'"
    )?;
    writeln!(out, "{GREEN}Ready{PLAIN}")?;
    out.flush()
}

/// Returns a function that prints an event, until the guard is dropped. It writes from a thread of
/// its own, so that an unread standard output blocks nothing. If `MAX_WAITING_EVENTS` events
/// wait, further ones are dropped.
pub fn events() -> (impl Fn(&TaskEvent) + Send + Sync + 'static, WorkerGuard) {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING_EVENTS)
        .finish(io::stdout());
    let is_terminal = io::stdout().is_terminal();
    let print = move |event: &TaskEvent| {
        let line = if is_terminal {
            to_read(event)
        } else {
            as_eventbridge_has_it(event)
        };
        let _ = writer.clone().write_all(line.as_bytes());
    };
    (print, guard)
}

/// An event as a line of text for a person.
fn to_read(event: &TaskEvent) -> String {
    let detail: Value = serde_json::from_str(&event.detail).unwrap_or_default();
    let at = |pointer: &str| detail.pointer(pointer).unwrap_or(&Value::Null);
    let text = |pointer: &str| at(pointer).as_str().unwrap_or_default();
    let (time, id, status) = (event.time.format("%H:%M:%S"), text("/id"), text("/status"));
    let (deleted, failed) = (at("/progress/deleted"), at("/progress/failed"));
    let id = id.escape_debug(); // it may hold what a terminal would not show as it is
    format!("{time}  {id}: {status}, {deleted} deleted, {failed} failed\n")
}

/// An event in EventBridge's JSON, without the fields that depend on the account.
fn as_eventbridge_has_it(event: &TaskEvent) -> String {
    let detail: Value = serde_json::from_str(&event.detail).unwrap_or_default();
    let time = event.time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let event =
        json!({"source": SOURCE, "detail-type": DETAIL_TYPE, "time": time, "detail": detail});
    format!("{event}\n")
}

/// Prints requested text, such as the help.
pub fn print(text: impl Display) {
    let mut out = anstream::stdout();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// Prints to standard error why the program ends, one line for each error.
pub fn fail(error: impl Display) {
    let mut out = io::stderr().lock();
    for line in error.to_string().lines() {
        let _ = writeln!(out, "error: {line}");
    }
}
