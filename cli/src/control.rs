//! `dtask restart` and `dtask cancel`: one task, all its parts, or all tasks that match filters.

use crate::api::{Progress, Task, TaskResponse};
use crate::args::{Control, Filters, Restart, Scope};
use crate::error::Error;
use crate::info;
use crate::parts::{CALLS_AT_ONCE, Found, Target, not_found};
use crate::session::Session;
use crate::show::{self, To};
use crate::when::{Moment, rfc3339, second_after, whole_second};
use futures_util::{StreamExt, stream};
use indicatif::HumanCount;
use shared::clock::Clock;
use shared::task::TaskStatus;
use std::collections::HashSet;
use std::io::{BufRead, IsTerminal, Write};

/// The most tasks in the preview, and the most errors that are named.
const MAX_SHOWN: usize = 10;
/// How many times a cancel by filters lists the tasks again, to find those that earlier lists did
/// not have.
const MAX_ROUNDS: usize = 10;
const BAR: &str = "{wide_bar} {pos}/{len} tasks {left}";

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

    /// Returns the filters of the lists to read, one status each, in the order in which a task goes
    /// through the statuses. One list of all statuses may miss a task whose status changes
    /// meanwhile.
    fn filters(self, given: &Filters) -> Result<Vec<Filters>, Error> {
        let verb = self.verb();
        if !given.are_given() {
            return Err(Error::Usage(format!(
                "Name the task to {verb}, or say which ones with --status, --model, --since or --until"
            )));
        }
        let applies = |status: &TaskStatus| self.applies_to(*status);
        let mut statuses: Vec<_> = TaskStatus::ALL.into_iter().filter(applies).collect();
        statuses.retain(|status| given.status.is_none_or(|given| given == *status));
        if statuses.is_empty() {
            let status = given.status.map_or("", TaskStatus::as_str);
            return Err(Error::Usage(format!(
                "A task that is {status} cannot be {}",
                self.past()
            )));
        }
        let filters = statuses.into_iter().map(|status| Filters {
            status: Some(status),
            ..given.clone()
        });
        Ok(filters.collect())
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

/// The tasks that were found, and those of them to change.
#[derive(Debug, Default)]
struct Choice {
    chosen: Vec<Chosen>,
    /// The first of the chosen tasks, for the preview.
    shown: Vec<Task>,
    /// The objects of the chosen tasks.
    objects: Progress,
    /// Tasks that do not match.
    skipped: usize,
    missing: Vec<String>,
    /// A second after the last change of any chosen task.
    after_newest: Moment,
}

impl Choice {
    fn add_if(&mut self, is_chosen: bool, task: Task) {
        if !is_chosen {
            self.skipped += 1;
            return;
        }
        self.after_newest = self.after_newest.max(second_after(task.updated_at));
        self.objects += task.progress;
        self.chosen.push(Chosen {
            id: task.id.clone(),
            attempt: task.attempt,
        });
        if self.shown.len() < MAX_SHOWN {
            self.shown.push(task);
        }
    }

    /// Shows several tasks and asks for confirmation. Returns whether there are several.
    async fn ask(
        &self,
        session: &Session,
        action: Action,
        arguments: &Control,
    ) -> Result<bool, Error> {
        let is_bulk = arguments.name.is_none() || self.chosen.len() > 1;
        if is_bulk && !self.chosen.is_empty() && !arguments.yes {
            confirm(session, &self.preview(action), action).await?;
        }
        Ok(is_bulk)
    }

    fn preview(&self, action: Action) -> String {
        let tasks = show::counted(self.chosen.len() as u64, "task");
        let objects = self.objects;
        let not_deleted = objects.total.saturating_sub(objects.deleted);
        let [all, not_deleted, remaining] =
            [objects.total, not_deleted, objects.remaining].map(HumanCount);
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
/// If the service refuses a restart, or a task does not exist.
pub(crate) async fn restart(session: &Session, arguments: Restart) -> Result<(), Error> {
    let action = Action::Restart(arguments.scope);
    let choice = choose(
        session,
        action,
        &arguments.control,
        arguments.changed_before,
    )
    .await?;
    let is_bulk = choice.ask(session, action, &arguments.control).await?;
    // If the command is repeated, it must find the tasks that this run did not restart, and no
    // others. So each restart must come after the boundary, and a time that is still to come is
    // none.
    let given = arguments.changed_before.map(whole_second);
    let given = given.filter(|time| *time <= started(session));
    let boundary = given.unwrap_or(choice.after_newest);
    session.api.until(boundary).await;
    let mut command = format!("restart {}", options(&arguments));
    command += &format!("--changed-before {}", rfc3339(boundary));
    let command = match &arguments.control.name {
        Some(name) => session.command(&command, name),
        None => session.command_without_name(&command),
    };
    let mut changes = Changes::default();
    let go_on = is_bulk.then(|| format!(" To go on: {command}"));
    changes
        .make(session, action, &choice.chosen, go_on.as_deref())
        .await?;
    changes.report(session, action, &choice)
}

/// The options of a restart with absolute times, each followed by a space.
fn options(arguments: &Restart) -> String {
    let mut options = arguments.control.filters.options();
    if let Some(attempt) = arguments.control.attempt {
        options += &format!("--attempt {attempt} ");
    }
    if arguments.scope == Scope::All {
        options += "--scope all ";
    }
    options
}

/// Cancels tasks.
///
/// # Errors
/// If the service refuses a cancel, or a task does not exist.
pub(crate) async fn cancel(session: &Session, mut arguments: Control) -> Result<(), Error> {
    let action = Action::Cancel;
    let choice = choose(session, action, &arguments, None).await?;
    choice.ask(session, action, &arguments).await?;
    let mut changes = Changes::default();
    changes.make(session, action, &choice.chosen, None).await?;
    if arguments.name.is_none() {
        // A list may lag behind tasks that change meanwhile, so list again. Tasks that were created
        // after the command began are not meant.
        let until = arguments.filters.until.unwrap_or(Moment::MAX_UTC);
        arguments.filters.until = Some(until.min(second_after(started(session))));
        for round in 1..=MAX_ROUNDS {
            let mut more = choose(session, action, &arguments, None).await?;
            more.chosen.retain(|task| !changes.tried.contains(&task.id));
            if more.chosen.is_empty() {
                break;
            }
            if changes.tried.is_empty() {
                more.ask(session, action, &arguments).await?;
            }
            changes.make(session, action, &more.chosen, None).await?;
            if round == MAX_ROUNDS {
                let note = "The lists keep showing more open tasks. Run the command again.";
                session.screen.note(note);
            }
        }
    }
    changes.report(session, action, &choice)
}

/// When the command began, by the service's clock.
fn started(session: &Session) -> Moment {
    let first = session.api.first_response();
    first.unwrap_or_else(|| Clock::System.now())
}

/// What was changed, and what failed.
#[derive(Debug, Default)]
struct Changes {
    tried: HashSet<String>,
    done: usize,
    errors: Vec<String>,
    /// The first error of standard output. The changes go on without output.
    output: Option<Error>,
}

impl Changes {
    /// Changes these tasks. If the command is cut short, it says how many were changed, and
    /// `go_on`.
    ///
    /// # Errors
    /// If nothing more can be changed.
    async fn make(
        &mut self,
        session: &Session,
        action: Action,
        chosen: &[Chosen],
        go_on: Option<&str>,
    ) -> Result<(), Error> {
        if chosen.is_empty() {
            return Ok(());
        }
        let all = self.tried.len() + chosen.len();
        let so_far = |done: usize| {
            let go_on = go_on.unwrap_or_default();
            format!(
                "At least {done} of {all} tasks were {}.{go_on}",
                action.past()
            )
        };
        session.if_cut_short(so_far(self.done));
        let bar = (chosen.len() > 1).then(|| session.screen.bar(chosen.len() as u64, BAR));
        let calls = chosen.iter();
        let calls = calls.map(|task| async move { (task, action.carry_out(session, task).await) });
        let mut calls = stream::iter(calls).buffer_unordered(CALLS_AT_ONCE);
        while let Some((task, result)) = calls.next().await {
            self.tried.insert(task.id.clone());
            match result {
                Ok(response) => {
                    self.done += 1;
                    session.if_cut_short(so_far(self.done));
                    self.show(session, &response, all == 1);
                }
                Err(Error::Refused(why)) if all == 1 => self.errors.push(why),
                Err(Error::Refused(why)) => self.errors.push(format!("{}: {why}", task.id)),
                Err(error) => return Err(error),
            }
            if let Some(bar) = &bar {
                bar.inc(1);
            }
        }
        session.screen.clear();
        Ok(())
    }

    fn show(&mut self, session: &Session, response: &TaskResponse, is_only: bool) {
        let shown = match (session.json, is_only) {
            (true, _) => show::report(&response.json),
            (false, true) => show::report(&show::details(session, &response.task)),
            (false, false) => Ok(()),
        };
        self.output = self.output.take().or(shown.err());
    }

    /// Reports what was done.
    ///
    /// # Errors
    /// If not everything was done, or it could not be printed.
    fn report(mut self, session: &Session, action: Action, choice: &Choice) -> Result<(), Error> {
        let all = self.tried.len();
        if all == 0 {
            let nothing = format!("There is nothing to {}.", action.verb());
            session.screen.note(&nothing);
        }
        if all > 1 && !session.json {
            let counts = [self.done, all].map(|count| HumanCount(count as u64));
            let [done, all] = counts;
            let shown = show::report(&format!("{done} of {all} tasks were {}", action.past()));
            self.output = self.output.take().or(shown.err());
        }
        if choice.skipped > 0 {
            let skipped = show::counted(choice.skipped as u64, "task");
            session.screen.note(&format!(
                "Left as they are, since they do not match: {skipped}"
            ));
        }
        let missing = choice.missing.iter();
        self.errors
            .extend(missing.map(|id| not_found(id).to_string()));
        if self.errors.len() > MAX_SHOWN {
            let more = self.errors.len() - MAX_SHOWN;
            self.errors.truncate(MAX_SHOWN);
            self.errors.push(format!("and {more} more"));
        }
        match self.output {
            _ if !self.errors.is_empty() => Err(Error::Refused(self.errors.join("\n"))),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

async fn choose(
    session: &Session,
    action: Action,
    arguments: &Control,
    changed_before: Option<Moment>,
) -> Result<Choice, Error> {
    let mut choice = Choice::default();
    let matches = |task: &Task| {
        arguments
            .attempt
            .is_none_or(|attempt| attempt == task.attempt)
            && changed_before.is_none_or(|time| task.updated_at < time)
    };
    let Some(name) = &arguments.name else {
        // A task that changes its status meanwhile may be in two lists.
        let mut seen = HashSet::new();
        for filters in action.filters(&arguments.filters)? {
            let add = |task: Task| {
                if seen.insert(task.id.clone()) {
                    choice.add_if(matches(&task), task);
                }
            };
            info::each(session, &filters, add).await?;
        }
        return Ok(choice);
    };
    let target = Target::find(&session.api, name).await?;
    let found = Found::read(&session.api, &target).await?;
    choice.missing = found.missing;
    for mut task in found.responses.into_iter().map(|response| response.task) {
        if target.ids.len() > 1 {
            choice.add_if(action.applies_to(task.status) && matches(&task), task);
        } else {
            // For a task given by name, the service says what is wrong with its status and its
            // attempt.
            let is_old = changed_before.is_none_or(|time| task.updated_at < time);
            task.attempt = arguments.attempt.unwrap_or(task.attempt);
            choice.add_if(is_old, task);
        }
    }
    if target.ids.len() == 1 {
        target.note_parts_beside(session).await?;
    }
    Ok(choice)
}

/// Shows what will happen, and asks for confirmation.
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
