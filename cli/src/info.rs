//! `dtask info` and `dtask list`.

use crate::api::{Api, Task, TaskResponse, Wanted};
use crate::args::{Filters, List};
use crate::error::Error;
use crate::parts::{CALLS_AT_ONCE, Target};
use crate::session::Session;
use crate::show;
use futures_util::{StreamExt, TryStreamExt, stream};

/// The most tasks of one page ("limit" of the API).
const MAX_PAGE: u64 = 1_000;

/// Shows a task, or all parts of one.
///
/// # Errors
/// If it does not exist, or a part of it does not.
pub(crate) async fn info(session: &Session, name: &str) -> Result<(), Error> {
    let target = Target::find(&session.api, name).await?;
    let read = read(&session.api, &target).await?;
    let missing = target
        .ids
        .iter()
        .zip(&read)
        .filter(|(_, response)| response.is_none());
    let missing: Vec<_> = missing.map(|(id, _)| id.clone()).collect();
    let found: Vec<_> = read.into_iter().flatten().collect();
    if session.json {
        for response in &found {
            show::print(&response.json)?;
        }
    } else {
        let tasks: Vec<Task> = found.into_iter().map(|response| response.task).collect();
        match tasks.as_slice() {
            [] => {}
            [task] if target.ids.len() == 1 => show::print(&show::details(task))?,
            tasks => show::print(&show::parts(&target.name, tasks, &missing))?,
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (names, more) = missing.split_at(missing.len().min(10));
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(", and {} more", more.len())
    };
    Err(Error::Refused(format!(
        "Not found: {}{more}",
        names.join(", ")
    )))
}

/// The tasks of a target, in its order.
pub(crate) async fn read(api: &Api, target: &Target) -> Result<Vec<Option<TaskResponse>>, Error> {
    let reads = target.ids.iter().map(|id| api.info(id));
    stream::iter(reads)
        .buffered(CALLS_AT_ONCE)
        .try_collect()
        .await
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
        left = left.saturating_sub(tasks.len() as u64);
        count += tasks.len();
        if session.json {
            for line in lines {
                show::print(&line)?;
            }
        } else if !tasks.is_empty() {
            show::print(&show::table(&tasks))?;
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

/// The filters as the API has them.
pub(crate) fn wanted(filters: &Filters) -> Wanted {
    Wanted {
        status: filters.status,
        model: filters.model.clone(),
        since: filters.since,
        until: filters.until,
    }
}

/// Calls `each` with every task that the filters match.
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
