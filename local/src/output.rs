//! What the program prints for the person, or the program, that started it. Logs are separate.

use crate::docs;
use crate::running::{Running, url};
use std::fmt::Display;
use std::io::{self, Write};

const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// Prints where everything is, line by line: `API <url>`, `Docs <url>`, three `AWS_ENDPOINT_URL_…=<url>`, a `curl` command,
/// `Ready`.
///
/// Ignores a closed standard output.
pub fn announce(running: &Running) {
    let _ = write_announcement(running, &mut anstream::stdout());
}

fn write_announcement(running: &Running, out: &mut impl Write) -> io::Result<()> {
    let api = url(running.api);
    writeln!(out, "API {api}")?;
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
