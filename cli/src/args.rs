//! The command line's commands and options.

use crate::ids::Format;
use crate::shell::option;
use crate::when::{Moment, moment, rfc3339};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use shared::task::TaskStatus;
use std::path::PathBuf;

/// The address of the local runner.
pub(crate) const LOCAL_API: &str = "http://127.0.0.1:9000";
/// In the help of each command, the options that all commands have stand apart from its own.
const SHARED_OPTIONS: &str = "Options of all commands";

/// Deletes objects from vector storage, and shows what happened to each of them.
///
/// By default, dtask calls the local runner (`cargo run`). With --api, it calls a deployed service,
/// and signs each call with the AWS credentials that the AWS CLI would use: AWS_PROFILE, SSO,
/// environment variables, or a role.
///
/// A task is named by its id. If the object ids do not fit into one request, dtask creates the task
/// in parts: NAME.1-of-3, NAME.2-of-3 and NAME.3-of-3. In a command, NAME or the name of any part
/// means all parts.
///
/// Exit status: 0 if all went well (with --wait, the task is done: objects that were not in the
/// index do not change that); 1 if a task failed or was canceled, or if the service refused; 2 if
/// the command line is wrong or there are no credentials; 3 if the service is out of reach; 130 if
/// the command was interrupted.
#[derive(Debug, Parser)]
#[command(name = "dtask", version, max_term_width = 100)]
#[command(after_help = "Examples:
  dtask run embed-456 obj-1 obj-2 --wait
  dtask run embed-456 --file ids.csv --task-id erase-4711 --reason T-4711
  dtask outcomes erase-4711 --outcome failed --csv > failed.csv
  dtask list --status failed --since 2d
  dtask restart --status failed --since 2d")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Print JSON, one value per line, instead of text for people
    #[arg(long, global = true, help_heading = SHARED_OPTIONS)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the service is, and how calls are signed.
#[derive(Args, Debug)]
pub(crate) struct Connection {
    /// URL of the service: the output ApiUrl of the deployed stack, or the address of the local
    /// runner
    #[arg(long, global = true, help_heading = SHARED_OPTIONS, value_name = "URL", env = "DTASK_API", default_value = LOCAL_API, value_hint = ValueHint::Url)]
    pub(crate) api: String,

    /// AWS profile to sign with, even if the environment names another one or has credentials
    #[arg(long, global = true, help_heading = SHARED_OPTIONS, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// AWS region to sign for, if the URL does not name it
    #[arg(long, global = true, help_heading = SHARED_OPTIONS, value_name = "REGION")]
    pub(crate) region: Option<String>,

    /// Sign calls even if the URL is on this machine, for a tunnel to a private API
    #[arg(long, global = true, help_heading = SHARED_OPTIONS)]
    pub(crate) sign: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a task that deletes objects
    ///
    /// Repeated ids count once. If a task with this --task-id already exists, no new task is
    /// created. So after a crash or a lost connection, run the same command again to continue. If
    /// the task id was used for other objects, the command is refused.
    Run(Run),
    /// Wait until a task has ended
    ///
    /// The exit status is 0 if the task is done, and 1 if it failed or was canceled. Interrupting
    /// the command does not stop the task.
    Wait(Named),
    /// Show a task
    Info(Named),
    /// List tasks, newest first
    List(List),
    /// Print what happened to each object, one line per object
    ///
    /// The output is JSON Lines, or CSV with --csv. `dtask run MODEL --file FILE` reads both.
    Outcomes(Outcomes),
    /// Restart a task, all its parts, or all tasks that match filters
    ///
    /// A restart tries again to delete the objects that were not deleted. Tasks that are pending or
    /// processing are left as they are. Each call names the attempt that it restarts, so no task is
    /// restarted twice if a response is lost.
    Restart(Restart),
    /// Cancel a task, all its parts, or all tasks that match filters
    ///
    /// Objects that were not attempted remain in the index.
    Cancel(Control),
    /// Serve the console on this machine: a page that shows the tasks
    ///
    /// Prints the address to open in a browser, and runs until it is interrupted. The page's calls
    /// are signed like those of the other commands. The address contains a secret: whoever knows it
    /// can restart and cancel tasks as you.
    Console {
        /// Port to listen on; 0 picks a free one
        #[arg(long, value_name = "PORT", default_value_t = 0)]
        port: u16,
    },
    /// Print the completion script for a shell
    ///
    /// For example: dtask completions bash > ~/.local/share/bash-completion/completions/dtask
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The embedding model, which names the index
    pub(crate) model: String,

    /// Ids of the objects; `-` reads them from standard input
    #[arg(
        value_name = "IDS",
        conflicts_with = "file",
        required_unless_present = "file"
    )]
    pub(crate) ids: Vec<String>,

    /// File with the ids; `-` is standard input
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,

    /// Format of the input; by default it follows from the file's name: .csv, .jsonl or .ndjson,
    /// otherwise one id per line
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,

    /// CSV column or JSON field with the ids; by default object_id or id. A number is the position
    /// of a CSV column
    #[arg(long, value_name = "NAME")]
    pub(crate) column: Option<String>,

    /// The CSV has no header line
    #[arg(long, requires = "column")]
    pub(crate) no_header: bool,

    /// Id of the task, by which a repeated command is recognized; by default a new one
    #[arg(long, value_name = "NAME")]
    pub(crate) task_id: Option<String>,

    /// Reason for the deletion, such as a ticket; it is kept with the task
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,

    /// Wait until the task has ended
    #[arg(short, long)]
    pub(crate) wait: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Named {
    /// The task
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Which tasks.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Filters {
    /// Only tasks with this status: pending, processing, done, failed or canceled
    #[arg(long, value_parser = status)]
    pub(crate) status: Option<TaskStatus>,

    /// Only tasks of this embedding model
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Only tasks created at this time or later: 2026-11-29T12:00:00Z, 2026-11-29 (midnight UTC),
    /// or 90m, 12h or 7d (that long ago)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<Moment>,

    /// Only tasks created before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<Moment>,
}

impl Filters {
    /// The filters as options with absolute times, each followed by a space.
    pub(crate) fn options(&self) -> String {
        let named = [
            ("--status", self.status.map(|status| status.to_string())),
            ("--model", self.model.clone()),
            ("--since", self.since.map(rfc3339)),
            ("--until", self.until.map(rfc3339)),
        ];
        let given = named
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        given
            .map(|(name, value)| option(name, &value) + " ")
            .collect()
    }

    pub(crate) fn are_given(&self) -> bool {
        self.status.is_some()
            || self.model.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }
}

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) filters: Filters,

    /// The most tasks to list
    #[arg(short = 'n', long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,

    /// List all tasks
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Outcomes {
    /// The task
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// Which objects
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) outcome: Outcome,

    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Outcome {
    All,
    Deleted,
    Failed,
    Remaining,
}

impl Outcome {
    /// The name in the API.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Deleted => "deleted",
            Self::Failed => "failed",
            Self::Remaining => "remaining",
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Restart {
    #[command(flatten)]
    pub(crate) control: Control,

    /// Which objects to try again: those that were not deleted, or all of them
    #[arg(long, value_enum, default_value = "open")]
    pub(crate) scope: Scope,

    /// Only tasks that have not changed since this time; to continue an interrupted command, give
    /// the time that it printed
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) changed_before: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    Open,
    All,
}

/// Which tasks to change, and whether to ask first.
#[derive(Args, Debug)]
pub(crate) struct Control {
    /// The task; without it, all tasks that match the filters
    #[arg(value_name = "NAME", conflicts_with_all = ["status", "model", "since", "until"])]
    pub(crate) name: Option<String>,

    #[command(flatten)]
    pub(crate) filters: Filters,

    /// Only tasks at this attempt
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempt: Option<u32>,

    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
}

fn status(text: &str) -> Result<TaskStatus, String> {
    text.parse()
        .map_err(|_| "it is one of pending, processing, done, failed and canceled".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_formed() {
        Arguments::command().debug_assert();
    }
}
