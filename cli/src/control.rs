//! `dtask restart` and `dtask cancel`: one task, all parts of one, or all tasks that filters match.

use crate::api::{Task, TaskResponse};
use crate::args::{Control, Restart, Scope};
use crate::error::Error;
use crate::info;
use crate::parts::{CALLS_AT_ONCE, Found, Target, not_found};
use crate::session::Session;
use crate::show::{self, To};
use crate::when::{Moment, rfc3339};
use futures_util::{StreamExt, stream};
use indicatif::HumanCount;
use shared::clock::Clock;
use shared::task::TaskStatus;
use std::io::{BufRead, IsTerminal, Write};

/// How many tasks the preview shows, and how many errors are named.
const MAX_SHOWN: usize = 10;
const BAR: &str = "{wide_bar} {pos}/{len} tasks {eta} left";

/// What to do with tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Restart(Scope),
    Cancel,
}

impl Action {
    fn applies_to(self, status: TaskStatus) -> bool {
        match (self, status) {
            (Self::Restart(_), TaskStatus::Done | TaskStatus::Failed | TaskStatus::Canceled)
            | (Self::Cancel, TaskStatus::Pending | TaskStatus::Processing) => true,
            (Self::Restart(_), TaskStatus::Pending | TaskStatus::Processing)
            | (Self::Cancel, TaskStatus::Done | TaskStatus::Failed | TaskStatus::Canceled) => false,
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Restart(_) => "restart",
            Self::Cancel => "cancel",
        }
    }

    const fn past(self) -> &'static str {
        match self {
            Self::Restart(_) => "restarted",
            Self::Cancel => "canceled",
        }
    }

    async fn carry_out(self, session: &Session, task: &Chosen) -> Result<TaskResponse, Error> {
        match self {
            Self::Restart(scope) => {
                session
                    .api
                    .restart(&task.id, task.attempt, scope == Scope::All)
                    .await
            }
            Self::Cancel => session.api.cancel(&task.id, task.attempt).await,
        }
    }
}

/// A task to change.
#[derive(Debug)]
struct Chosen {
    id: String,
    attempt: u32,
}

/// What was found, and what of it is to be changed.
#[derive(Debug, Default)]
struct Choice {
    chosen: Vec<Chosen>,
    /// The first of them.
    shown: Vec<Task>,
    objects: u64,
    not_deleted: u64,
    remaining: u64,
    /// Tasks to which the action does not apply.
    skipped: usize,
    missing: Vec<String>,
}

impl Choice {
    fn add_if(&mut self, is_chosen: bool, task: Task) {
        if !is_chosen {
            self.skipped += 1;
            return;
        }
        self.objects += task.progress.total;
        self.not_deleted += task.progress.total - task.progress.deleted;
        self.remaining += task.progress.remaining;
        self.chosen.push(Chosen {
            id: task.id.clone(),
            attempt: task.attempt,
        });
        if self.shown.len() < MAX_SHOWN {
            self.shown.push(task);
        }
    }

    fn preview(&self, action: Action) -> String {
        let tasks = show::counted(self.chosen.len() as u64, "task");
        let [all, not_deleted, remaining] =
            [self.objects, self.not_deleted, self.remaining].map(HumanCount);
        let effect = match action {
            Action::Restart(Scope::Open) => format!("Objects to try again: {not_deleted} of {all}"),
            Action::Restart(Scope::All) => {
                format!("Objects to delete again, also if they were inserted since: {all}")
            }
            Action::Cancel => format!("Objects that stay in the index: {remaining} of {all}"),
        };
        let table = show::table(&self.shown, To::Screen);
        let mut text = format!("To {} {tasks}. {effect}.\n{table}", action.verb());
        if let Some(more) = self
            .chosen
            .len()
            .checked_sub(self.shown.len())
            .filter(|more| *more > 0)
        {
            text += &format!("\nand {} more", HumanCount(more as u64));
        }
        text
    }
}

/// Restarts tasks.
///
/// # Errors
/// If the service refuses any of it, or a task does not exist.
pub(crate) async fn restart(session: &Session, arguments: Restart) -> Result<(), Error> {
    let action = Action::Restart(arguments.scope);
    control(
        session,
        action,
        &arguments.control,
        arguments.changed_before,
    )
    .await
}

/// Cancels tasks.
///
/// # Errors
/// The same.
pub(crate) async fn cancel(session: &Session, arguments: Control) -> Result<(), Error> {
    control(session, Action::Cancel, &arguments, None).await
}

/// Finds the tasks, shows them, asks, and changes them.
async fn control(
    session: &Session,
    action: Action,
    arguments: &Control,
    changed_before: Option<Moment>,
) -> Result<(), Error> {
    let choice = choose(session, action, arguments, changed_before).await?;
    let is_bulk = arguments.name.is_none() || choice.chosen.len() > 1;
    if choice.chosen.is_empty() {
        session
            .screen
            .note(&format!("There is nothing to {}.", action.verb()));
    } else if is_bulk && !arguments.yes {
        confirm(session, &choice.preview(action), action).await?;
    }
    // A command that is repeated goes on from the first one's start, by the service's clock.
    let start = changed_before.or_else(|| session.api.first_response());
    let start = rfc3339(start.unwrap_or_else(|| Clock::System.now()));
    let go_on = |done: usize| {
        let all = choice.chosen.len();
        let mut text = format!("At least {done} of {all} tasks were {}.", action.past());
        // A cancel that is repeated finds what is still open. A restart would find what has ended again.
        if is_bulk && matches!(action, Action::Restart(_)) {
            text += &format!(" To go on, run the same command with --changed-before {start}");
        }
        text
    };
    session.if_cut_short(go_on(0));
    let mut done = 0;
    let mut errors = Vec::new();
    let bar =
        (choice.chosen.len() > 1).then(|| session.screen.bar(choice.chosen.len() as u64, BAR));
    let calls = choice
        .chosen
        .iter()
        .map(|task| async move { (task, action.carry_out(session, task).await) });
    let mut calls = stream::iter(calls).buffer_unordered(CALLS_AT_ONCE);
    while let Some((task, result)) = calls.next().await {
        match result {
            Ok(response) => {
                done += 1;
                session.if_cut_short(go_on(done));
                if session.json {
                    show::report(&response.json)?;
                } else if choice.chosen.len() == 1 {
                    show::report(&show::details(session, &response.task))?;
                }
            }
            Err(Error::Refused(why)) if choice.chosen.len() == 1 => errors.push(why),
            Err(Error::Refused(why)) => errors.push(format!("{}: {why}", task.id)),
            Err(error) => return Err(error),
        }
        if let Some(bar) = &bar {
            bar.inc(1);
        }
    }
    session.screen.clear();
    if choice.chosen.len() > 1 && !session.json {
        show::report(&format!(
            "{} of {} tasks were {}",
            HumanCount(done as u64),
            HumanCount(choice.chosen.len() as u64),
            action.past()
        ))?;
    }
    if choice.skipped > 0 {
        let why = match action {
            Action::Restart(_) => "have not ended, or do not match",
            Action::Cancel => "have ended, or do not match",
        };
        session.screen.note(&format!(
            "Left as they are, since they {why}: {}",
            show::counted(choice.skipped as u64, "task")
        ));
    }
    errors.extend(choice.missing.iter().map(|id| not_found(id).to_string()));
    if errors.is_empty() {
        return Ok(());
    }
    if errors.len() > MAX_SHOWN {
        let more = errors.len() - MAX_SHOWN;
        errors.truncate(MAX_SHOWN);
        errors.push(format!("and {more} more"));
    }
    Err(Error::Refused(errors.join("\n")))
}

async fn choose(
    session: &Session,
    action: Action,
    arguments: &Control,
    changed_before: Option<Moment>,
) -> Result<Choice, Error> {
    let mut choice = Choice::default();
    let matches = |task: &Task| {
        action.applies_to(task.status)
            && arguments
                .attempt
                .is_none_or(|attempt| attempt == task.attempt)
            && changed_before.is_none_or(|time| task.updated_at < time)
    };
    let Some(name) = &arguments.name else {
        if !arguments.filters.are_given() {
            return Err(Error::Usage(format!(
                "Name the task to {}, or say which ones with --status, --model, --since or --until",
                action.verb()
            )));
        }
        info::each(session, &arguments.filters, |task| {
            choice.add_if(matches(&task), task)
        })
        .await?;
        return Ok(choice);
    };
    let target = Target::find(&session.api, name).await?;
    let found = Found::read(&session.api, &target).await?;
    choice.missing = found.missing;
    for mut task in found.responses.into_iter().map(|response| response.task) {
        if target.ids.len() == 1 {
            // One task that is named: the service says what is wrong.
            task.attempt = arguments.attempt.unwrap_or(task.attempt);
            choice.add_if(true, task);
        } else {
            choice.add_if(matches(&task), task);
        }
    }
    Ok(choice)
}

/// Shows what will happen, and asks.
async fn confirm(session: &Session, preview: &str, action: Action) -> Result<(), Error> {
    session.screen.clear();
    let mut err = anstream::stderr();
    let _ = writeln!(err, "{preview}");
    if !std::io::stdin().is_terminal() {
        return Err(Error::Usage(format!(
            "Nothing was {}. To do it without being asked, add --yes",
            action.past()
        )));
    }
    let _ = write!(err, "To {} them, type yes: ", action.verb());
    let _ = err.flush();
    let read = tokio::task::spawn_blocking(|| {
        let mut line = Vec::new();
        std::io::stdin()
            .lock()
            .read_until(b'\n', &mut line)
            .map(|_| line)
    });
    let line = read
        .await
        .map_err(|error| Error::Refused(error.to_string()))?;
    let line = line.map_err(Error::file("Standard input"))?;
    if [&b"y"[..], b"yes"].contains(&line.trim_ascii().to_ascii_lowercase().as_slice()) {
        return Ok(());
    }
    Err(Error::Refused(format!("Nothing was {}", action.past())))
}
