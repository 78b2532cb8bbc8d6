//! Tasks, as a person reads them.

use crate::api::{Progress, Task};
use crate::error::Error;
use crate::screen::safe;
use crate::when::{age, rfc3339};
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use indicatif::HumanCount;
use shared::clock::Clock;
use shared::task::TaskStatus;
use std::io::{IsTerminal, Write};

/// The most failures that are shown of a task.
const MAX_FAILURES: usize = 10;
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Prints to standard output.
///
/// # Errors
/// If nobody reads it, or it cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// The same for what a command has done, which counts even if nobody reads of it.
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
pub(crate) fn details(task: &Task) -> String {
    let now = Clock::System.now();
    let mut text = heading(&task.id, task.status);
    let mut line = |name: &str, value: &str| text += &format!("\n  {name:9} {value}");
    line("model", &safe(&task.embedding_model_id));
    line("objects", &objects(&task.progress));
    line("attempt", &task.attempt.to_string());
    let by = |who: &Option<String>| {
        who.as_deref()
            .map_or_else(String::new, |who| format!(" by {}", safe(who)))
    };
    let time = |time| format!("{} ({} ago)", rfc3339(time), age(time, now));
    line("created", &(time(task.created_at) + &by(&task.created_by)));
    line("changed", &(time(task.updated_at) + &by(&task.changed_by)));
    if let Some(reason) = &task.reason {
        line("reason", &safe(reason));
    }
    if let Some(detail) = &task.detail {
        line("detail", &safe(detail));
    }
    for (position, failed) in task.failed_item_ids.iter().take(MAX_FAILURES).enumerate() {
        let name = if position == 0 { "failed" } else { "" };
        line(
            name,
            &format!("{}: {}", safe(&failed.object_id), safe(&failed.detail)),
        );
    }
    let shown = task.failed_item_ids.len().min(MAX_FAILURES) as u64;
    if task.progress.failed > shown {
        let more = HumanCount(task.progress.failed - shown);
        line(
            "",
            &format!(
                "and {more} more: dtask outcomes {} --outcome failed",
                quoted(&task.id)
            ),
        );
    }
    text
}

/// All parts of a task in a few lines.
pub(crate) fn parts(name: &str, tasks: &[Task], missing: &[String]) -> String {
    let mut progress = Progress::default();
    for task in tasks {
        progress += task.progress;
    }
    let mut text = heading(name, overall(tasks));
    let mut line = |name: &str, value: &str| text += &format!("\n  {name:9} {value}");
    let first_part = tasks.first().map_or(name, |task| task.id.as_str());
    if let Some(task) = tasks.first() {
        line("model", &safe(&task.embedding_model_id));
    }
    line("objects", &objects(&progress));
    let counts = TaskStatus::ALL.into_iter().filter_map(|status| {
        let count = tasks.iter().filter(|task| task.status == status).count();
        (count > 0).then(|| format!("{count} {status}"))
    });
    let absent = (!missing.is_empty()).then(|| format!("{} not found", missing.len()));
    let counts: Vec<_> = counts.chain(absent).collect();
    line(
        "parts",
        &format!("{}: {}", tasks.len() + missing.len(), counts.join(", ")),
    );
    if let Some(reason) = tasks.iter().find_map(|task| task.reason.as_ref()) {
        line("reason", &safe(reason));
    }
    let troubled = tasks
        .iter()
        .filter(|task| task.detail.is_some() || task.progress.failed > 0);
    let troubled = troubled.map(|task| {
        let detail = task
            .detail
            .as_deref()
            .map_or_else(String::new, |detail| format!(": {}", safe(detail)));
        format!(
            "{}: {}{detail}",
            safe(&task.id),
            counted(task.progress.failed, "object")
        )
    });
    let troubled: Vec<_> = troubled
        .chain(missing.iter().map(|id| format!("{}: not found", safe(id))))
        .collect();
    for (position, text) in troubled.iter().take(MAX_FAILURES).enumerate() {
        line(if position == 0 { "failed" } else { "" }, text);
    }
    if let Some(more) = troubled
        .len()
        .checked_sub(MAX_FAILURES)
        .filter(|more| *more > 0)
    {
        line("", &format!("and {more} more parts"));
    }
    if progress.failed > 0 {
        line(
            "",
            &format!(
                "which objects: dtask outcomes {} --outcome failed",
                quoted(first_part)
            ),
        );
    }
    text
}

/// The status of the whole: the one that is furthest from an end that nobody has to care about.
fn overall(tasks: &[Task]) -> TaskStatus {
    let order = [
        TaskStatus::Processing,
        TaskStatus::Pending,
        TaskStatus::Failed,
        TaskStatus::Canceled,
        TaskStatus::Done,
    ];
    let found = order
        .into_iter()
        .find(|status| tasks.iter().any(|task| task.status == *status));
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

/// Tasks, one in a row.
pub(crate) fn table(tasks: &[Task]) -> String {
    let now = Clock::System.now();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    // Colours that nobody wants are taken out when it is printed.
    table.enforce_styling();
    table.set_header([
        "STATUS", "TASK", "MODEL", "AGE", "DELETED", "FAILED", "LEFT",
    ]);
    for task in tasks {
        let Progress {
            deleted,
            failed,
            remaining,
            ..
        } = task.progress;
        let number =
            |number: u64| Cell::new(HumanCount(number)).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(task.status).fg(color_of(task.status).0),
            Cell::new(safe(&task.id)),
            Cell::new(safe(&task.embedding_model_id)),
            Cell::new(age(task.created_at, now)).set_alignment(CellAlignment::Right),
            number(deleted),
            number(failed),
            number(remaining),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table.trim_fmt()
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

/// A word as a shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", safe(word).replace('\'', r"'\''"))
}
