//! Tasks as text for people.

use crate::api::{MAX_FAILURES, Progress, Task};
use crate::error::Error;
use crate::parts::{Found, Target};
use crate::screen::{safe, safe_lines};
use crate::session::Session;
use crate::when::{Moment, age, rfc3339};
use comfy_table::{
    Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, presets,
};
use indicatif::HumanCount;
use shared::clock::Clock;
use shared::task::TaskStatus;
use std::io::{IsTerminal, Write};

/// The fewest columns for a table. On a narrower terminal it would have to cut its words.
const LEAST_COLUMNS: u16 = 60;
/// The columns of a table that hold names.
const TASK_COLUMN: usize = 1;
const MODEL_COLUMN: usize = 2;
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Prints to standard output.
///
/// # Errors
/// If nobody reads the output, or it cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Prints lines of JSON or CSV. A terminal gets no marks that would reorder them.
///
/// # Errors
/// If nobody reads the output, or it cannot be written.
pub(crate) fn print_lines(lines: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        out.write_all(safe_lines(lines).as_bytes())?;
    } else {
        out.write_all(lines.as_bytes())?;
    }
    Ok(out.flush()?)
}

/// Prints what a command has done. It is no error if nobody reads the output.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn report(text: &str) -> Result<(), Error> {
    match print(text) {
        Err(Error::OutputClosed) => Ok(()),
        printed => printed,
    }
}

/// A task with everything that is known of it.
pub(crate) fn details(session: &Session, task: &Task) -> String {
    let now = Clock::System.now();
    let mut text = heading(&task.id, task.status);
    let mut line = |name: &str, value: &str| text += &format!("\n  {name:9} {value}");
    line("model", &safe(&task.embedding_model_id));
    line("objects", &objects(&task.progress));
    line("attempt", &task.attempt.to_string());
    let time = |time| format!("{} ({} ago)", rfc3339(time), age(time, now));
    let creator = task.created_by.as_deref();
    let creator = creator.map_or_else(String::new, |who| format!(" by {}", safe(who)));
    line("created", &(time(task.created_at) + &creator));
    line("changed", &time(task.updated_at));
    // Its time is not known: the newest change may be the worker's.
    if let Some(who) = &task.changed_by {
        line(
            "control",
            &format!("last restarted or canceled by {}", safe(who)),
        );
    }
    if let Some(reason) = &task.reason {
        line("reason", &safe(reason));
    }
    if let Some(detail) = &task.detail {
        line("detail", &safe(detail));
    }
    for (position, failed) in task.failed_item_ids.iter().enumerate() {
        let name = if position == 0 { "failed" } else { "" };
        line(
            name,
            &format!("{}: {}", safe(&failed.object_id), safe(&failed.detail)),
        );
    }
    let shown = task.failed_item_ids.len() as u64;
    if task.progress.failed > shown {
        let more = HumanCount(task.progress.failed - shown);
        let command = session.command("outcomes --outcome failed", &task.id);
        line("", &format!("and {more} more: {command}"));
    }
    text
}

/// All parts of a task in a few lines.
pub(crate) fn parts(session: &Session, target: &Target, found: &Found) -> String {
    let tasks = || found.responses.iter().map(|response| &response.task);
    let mut progress = Progress::default();
    tasks().for_each(|task| progress += task.progress);
    let mut text = heading(&target.name, overall(tasks()));
    let mut line = |name: &str, value: &str| text += &format!("\n  {name:9} {value}");
    if let Some(task) = tasks().next() {
        line("model", &safe(&task.embedding_model_id));
    }
    line("objects", &objects(&progress));
    let mut counts = statuses(tasks());
    if !found.missing.is_empty() {
        counts += &format!(", {} not found", found.missing.len());
    }
    line("parts", &format!("{}: {counts}", target.ids.len()));
    if let Some(reason) = tasks().find_map(|task| task.reason.as_ref()) {
        line("reason", &safe(reason));
    }
    let troubled = tasks().filter(|task| task.detail.is_some() || task.progress.failed > 0);
    let troubled = troubled.map(|task| {
        let detail = task.detail.as_deref();
        let detail = detail.map_or_else(String::new, |detail| format!(": {}", safe(detail)));
        let failed = counted(task.progress.failed, "object");
        format!("{}: {failed}{detail}", safe(&task.id))
    });
    let missing = found.missing.iter();
    let missing = missing.map(|id| format!("{}: not found", safe(id)));
    let troubled: Vec<_> = troubled.chain(missing).collect();
    for (position, text) in troubled.iter().take(MAX_FAILURES).enumerate() {
        line(if position == 0 { "failed" } else { "" }, text);
    }
    if let Some(more) = troubled.len().checked_sub(MAX_FAILURES)
        && more > 0
    {
        line("", &format!("and {more} more parts"));
    }
    if progress.failed > 0 {
        let command = session.command("outcomes --outcome failed", target.shown());
        line("", &format!("which objects: {command}"));
    }
    text
}

/// How many tasks have which status: `2 done, 1 failed`.
pub(crate) fn statuses<'a>(tasks: impl Iterator<Item = &'a Task> + Clone) -> String {
    let counts = TaskStatus::ALL.into_iter().filter_map(|status| {
        let count = tasks.clone().filter(|task| task.status == status).count();
        (count > 0).then(|| format!("{count} {status}"))
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// The status of the whole: the first one, in the order below, that a part has. A part that has not
/// ended comes first, then one that failed or was canceled.
fn overall<'a>(tasks: impl Iterator<Item = &'a Task> + Clone) -> TaskStatus {
    let order = [
        TaskStatus::Processing,
        TaskStatus::Pending,
        TaskStatus::Failed,
        TaskStatus::Canceled,
        TaskStatus::Done,
    ];
    let has = |status: &TaskStatus| tasks.clone().any(|task| task.status == *status);
    let found = order.into_iter().find(has);
    found.unwrap_or(TaskStatus::Pending)
}

fn heading(name: &str, status: TaskStatus) -> String {
    format!(
        "{BOLD}{}{PLAIN}  {}{status}{PLAIN}",
        safe(name),
        color_of(status).1
    )
}

fn objects(progress: &Progress) -> String {
    let [total, deleted, failed, remaining] = [
        progress.total,
        progress.deleted,
        progress.failed,
        progress.remaining,
    ]
    .map(HumanCount);
    format!("{total}: {deleted} deleted, {failed} failed, {remaining} remaining")
}

/// Where a table is printed.
#[derive(Clone, Copy)]
pub(crate) enum To {
    /// Standard output; the first page of a list has a header.
    Output {
        /// Whether this table has one.
        header: bool,
    },
    /// Standard error.
    Screen,
}

/// Tasks, one in a row.
pub(crate) fn table(tasks: &[Task], to: To) -> String {
    let now = Clock::System.now();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if matches!(to, To::Screen) {
        table.use_stderr();
    }
    // A terminal has no columns if its size was never set.
    if let Some(columns) = table.width().filter(|columns| *columns > 0) {
        if columns < LEAST_COLUMNS {
            return list(tasks, now);
        }
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    // If colours are not wanted, they are removed when the table is printed.
    table.enforce_styling();
    if !matches!(to, To::Output { header: false }) {
        table.set_header([
            "STATUS", "TASK", "MODEL", "AGE", "DELETED", "FAILED", "LEFT",
        ]);
    }
    for task in tasks {
        let number =
            |number: u64| Cell::new(HumanCount(number)).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(task.status).fg(color_of(task.status).0),
            Cell::new(safe(&task.id)),
            Cell::new(safe(&task.embedding_model_id)),
            Cell::new(age(task.created_at, now)).set_alignment(CellAlignment::Right),
            number(task.progress.deleted),
            number(task.progress.failed),
            number(task.progress.remaining),
        ]);
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 1));
        // Names may take several lines; words and numbers must not.
        if ![TASK_COLUMN, MODEL_COLUMN].contains(&at) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt()
}

/// Tasks for a narrow terminal, each in two lines.
fn list(tasks: &[Task], now: Moment) -> String {
    let lines = tasks.iter().map(|task| {
        let age = age(task.created_at, now);
        format!(
            "{} {age}\n  {}",
            heading(&task.id, task.status),
            objects(&task.progress)
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn color_of(status: TaskStatus) -> (Color, &'static str) {
    match status {
        TaskStatus::Pending => (Color::Reset, PLAIN),
        TaskStatus::Processing => (Color::Cyan, "\x1b[36m"),
        TaskStatus::Done => (Color::Green, "\x1b[32m"),
        TaskStatus::Failed => (Color::Red, "\x1b[31m"),
        TaskStatus::Canceled => (Color::Yellow, "\x1b[33m"),
    }
}

/// `1 object`, `2 objects`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", HumanCount(count))
}
