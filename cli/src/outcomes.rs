//! `dtask outcomes`: what happened to each object.

use crate::api::Item;
use crate::args::Outcomes;
use crate::error::Error;
use crate::parts::Target;
use crate::session::Session;
use crate::show;
use serde::Serialize;
use std::io;

/// One line of the output.
#[derive(Serialize)]
struct Line<'a> {
    task_id: &'a str,
    object_id: &'a str,
    outcome: &'a str,
    detail: Option<&'a str>,
}

/// Prints the objects of all parts in order, a page at a time.
///
/// # Errors
/// If a part does not exist, or is restarted meanwhile.
pub(crate) async fn outcomes(session: &Session, arguments: Outcomes) -> Result<(), Error> {
    let target = Target::find(&session.api, &arguments.name).await?;
    let mut is_first = true;
    let mut missing = Vec::new();
    let mut unfinished = 0;
    for id in &target.ids {
        let (mut cursor, mut attempt) = (None, None);
        loop {
            let page = session
                .api
                .items(id, arguments.outcome, cursor.as_deref())
                .await?;
            let Some(page) = page else {
                missing.push(id.as_str());
                break;
            };
            if *attempt.get_or_insert(page.attempt) != page.attempt {
                return Err(Error::Refused(format!(
                    "`{id}` was restarted meanwhile, so the lines above belong to different attempts. Run the command again"
                )));
            }
            let lines = page.items.iter().map(|item| line(id, item));
            let text = if arguments.csv {
                csv_of(lines, is_first)?
            } else {
                json_of(lines)?
            };
            show::print_lines(&text)?;
            is_first = false;
            cursor = page.next_cursor;
            if cursor.is_none() {
                unfinished += usize::from(!page.status.is_terminal());
                break;
            }
        }
    }
    if unfinished > 0 {
        session
            .screen
            .note("The task has not ended, so more outcomes will come.");
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Refused(format!("Not found: {}", missing.join(", "))))
}

fn line<'a>(task_id: &'a str, item: &'a Item) -> Line<'a> {
    Line {
        task_id,
        object_id: &item.object_id,
        outcome: &item.outcome,
        detail: item.detail.as_deref(),
    }
}

/// CSV (RFC 4180). The first page has the header.
fn csv_of<'a>(lines: impl Iterator<Item = Line<'a>>, is_first: bool) -> io::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if is_first {
        writer.write_record(["task_id", "object_id", "outcome", "detail"])?;
    }
    for line in lines {
        let detail = line.detail.unwrap_or_default();
        writer.write_record([line.task_id, line.object_id, line.outcome, detail])?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// JSON Lines.
fn json_of<'a>(lines: impl Iterator<Item = Line<'a>>) -> io::Result<String> {
    let mut text = String::new();
    for line in lines {
        text += &serde_json::to_string(&line)?;
        text.push('\n');
    }
    Ok(text)
}
