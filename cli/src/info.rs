//! `dtask info` and `dtask list`.

use crate::api::{Task, Wanted};
use crate::args::{Filters, List};
use crate::error::Error;
use crate::parts::{Found, Target};
use crate::session::Session;
use crate::show::{self, To};

/// The most tasks of one page ("limit" of the API).
const MAX_PAGE: u64 = 1_000;
/// The most missing parts that are named.
const MAX_NAMED: usize = 10;

/// Shows a task, or all its parts.
///
/// # Errors
/// If the task or one of its parts does not exist.
pub(crate) async fn info(session: &Session, name: &str) -> Result<(), Error> {
    let target = Target::find(&session.api, name).await?;
    let found = Found::read(&session.api, &target).await?;
    if session.json {
        for response in &found.responses {
            show::print_lines(&(response.json.clone() + "\n"))?;
        }
    } else {
        match found.responses.as_slice() {
            [] => {}
            [one] if target.ids.len() == 1 => show::print(&show::details(session, &one.task))?,
            _ => show::print(&show::parts(session, &target, &found))?,
        }
    }
    let (names, more) = found.missing.split_at(found.missing.len().min(MAX_NAMED));
    match (names, more.len()) {
        ([], _) => Ok(()),
        (names, 0) => Err(Error::Refused(format!("Not found: {}", names.join(", ")))),
        (names, more) => Err(Error::Refused(format!(
            "Not found: {}, and {more} more",
            names.join(", ")
        ))),
    }
}

/// Lists tasks, newest first.
pub(crate) async fn list(session: &Session, arguments: List) -> Result<(), Error> {
    let mut left = if arguments.all {
        u64::MAX
    } else {
        arguments.limit
    };
    let wanted = wanted(&arguments.filters);
    let mut cursor = None;
    let mut count = 0;
    while left > 0 {
        let page = session
            .api
            .list(&wanted, left.min(MAX_PAGE), cursor.as_deref())
            .await?;
        let (tasks, lines): (Vec<_>, Vec<_>) = page.tasks.into_iter().unzip();
        let header = count == 0;
        left = left.saturating_sub(tasks.len() as u64);
        count += tasks.len();
        if session.json {
            for line in lines {
                show::print_lines(&(line + "\n"))?;
            }
        } else if !tasks.is_empty() {
            show::print(&show::table(&tasks, To::Output { header }))?;
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if !session.json && count == 0 {
        session.screen.note("No task matches.");
    }
    if !session.json && cursor.is_some() {
        session
            .screen
            .note("There may be more: --all lists all of them.");
    }
    Ok(())
}

/// The filters in the form of the API.
pub(crate) fn wanted(filters: &Filters) -> Wanted {
    Wanted {
        status: filters.status,
        model: filters.model.clone(),
        since: filters.since,
        until: filters.until,
    }
}

/// Calls `each` with every task that matches the filters.
pub(crate) async fn each(
    session: &Session,
    filters: &Filters,
    mut each: impl FnMut(Task),
) -> Result<(), Error> {
    let wanted = wanted(filters);
    let mut cursor = None;
    loop {
        let page = session
            .api
            .list(&wanted, MAX_PAGE, cursor.as_deref())
            .await?;
        page.tasks.into_iter().for_each(|(task, _)| each(task));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}
