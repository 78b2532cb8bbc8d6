//! `dtask outcomes`: what happened to each object.

use crate::api::Item;
use crate::args::Outcomes;
use crate::error::Error;
use crate::parts::Target;
use crate::session::Session;
use serde::Serialize;
use std::io::{self, Write};

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
    let mut write: Box<dyn FnMut(&str, &[Item]) -> io::Result<()>> = if arguments.csv {
        let mut out = csv::Writer::from_writer(io::stdout());
        Box::new(move |task_id, items| {
            for item in items {
                out.serialize(line(task_id, item))
                    .map_err(io::Error::from)?;
            }
            out.flush()
        })
    } else {
        let mut out = io::BufWriter::new(io::stdout());
        Box::new(move |task_id, items| {
            for item in items {
                serde_json::to_writer(&mut out, &line(task_id, item))?;
                out.write_all(b"\n")?;
            }
            out.flush()
        })
    };
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
            write(id, &page.items)?;
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
