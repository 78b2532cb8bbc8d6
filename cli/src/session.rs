//! What all commands share while they run.

use crate::api::Api;
use crate::args::{Connection, LOCAL_API};
use crate::error::Error;
use crate::screen::Screen;
use crate::shell::{option, quoted};
use std::ffi::OsStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One run of the command line.
pub(crate) struct Session {
    pub(crate) api: Api,
    pub(crate) screen: Screen,
    /// Whether output is for programs.
    pub(crate) json: bool,
    /// The options to reach the same service again.
    options: String,
    if_cut_short: Mutex<CutShort>,
}

/// What to do if a command is interrupted, or if the service stays out of reach.
enum CutShort {
    /// Print this text: what has been done, and how to go on.
    Told(String),
    /// Nothing: an interruption is the usual end of the command.
    End,
}

impl Session {
    /// # Errors
    /// If the service's URL is wrong, or there are no credentials.
    pub(crate) async fn open(connection: &Connection, json: bool) -> Result<Self, Error> {
        let screen = Screen::default();
        #[expect(
            clippy::disallowed_methods,
            reason = "a printed command is for the shell that ran this one"
        )]
        let variable = std::env::var_os("DTASK_API");
        Ok(Self {
            api: Api::open(connection, screen.clone(), json).await?,
            screen,
            json,
            options: options(connection, variable.as_deref()),
            if_cut_short: Mutex::new(CutShort::Told(String::new())),
        })
    }

    /// A command line for a person to run: `verb`, which may have options, for the task `name`.
    pub(crate) fn command(&self, verb: &str, name: &str) -> String {
        let end = if name.starts_with('-') { "-- " } else { "" };
        format!("dtask {}{verb} {end}{}", self.options, quoted(name))
    }

    /// The same for a command without a task.
    pub(crate) fn command_without_name(&self, verb: &str) -> String {
        format!("dtask {}{verb}", self.options)
    }

    /// Sets the text to print if the command is cut short from now on.
    pub(crate) fn if_cut_short(&self, text: impl Into<String>) {
        self.set(CutShort::Told(text.into()));
    }

    /// Makes an interruption the command's usual end from now on.
    pub(crate) fn ends_when_interrupted(&self) {
        self.set(CutShort::End);
    }

    fn set(&self, meaning: CutShort) {
        *self.state() = meaning;
    }

    fn state(&self) -> MutexGuard<'_, CutShort> {
        let state = self.if_cut_short.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of an interrupted command.
    pub(crate) fn interrupted(&self) -> Result<(), Error> {
        match &*self.state() {
            CutShort::Told(text) if text.is_empty() => Err(Error::Interrupted(
                "Interrupted before anything was changed".to_owned(),
            )),
            CutShort::Told(text) => Err(Error::Interrupted(text.clone())),
            CutShort::End => Ok(()),
        }
    }

    /// The error of a command, with the text to print if the error cut it short.
    pub(crate) fn explained(&self, error: Error) -> Error {
        let text = match &*self.state() {
            CutShort::Told(text) if !text.is_empty() => text.clone(),
            CutShort::Told(_) | CutShort::End => return error,
        };
        let told = |why: String| format!("{why}\n{text}");
        match error {
            Error::Unreachable(why) => Error::Unreachable(told(why)),
            Error::Throttled(why) => Error::Throttled(told(why)),
            Error::Denied(why) => Error::Denied(told(why)),
            Error::Usage(why) => Error::Usage(told(why)),
            // The service has refused, and would refuse again.
            other @ (Error::Refused(_)
            | Error::Interrupted(_)
            | Error::File { .. }
            | Error::OutputClosed) => other,
        }
    }
}

/// The options, each followed by a space. `variable` is DTASK_API.
fn options(connection: &Connection, variable: Option<&OsStr>) -> String {
    let is_default = connection.api == LOCAL_API && variable.is_none_or(|api| api == LOCAL_API);
    let api = (!is_default).then_some(&connection.api);
    let named = [
        ("--api", api),
        ("--profile", connection.profile.as_ref()),
        ("--region", connection.region.as_ref()),
    ];
    let mut options = String::new();
    for (name, value) in named {
        if let Some(value) = value {
            options += &option(name, value);
            options.push(' ');
        }
    }
    if connection.sign {
        options += "--sign ";
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_reaches_the_same_service_whatever_the_variable_says() {
        let local = Connection {
            api: LOCAL_API.to_owned(),
            profile: None,
            region: None,
            sign: false,
        };
        let other = OsStr::new("https://x.example/live");
        assert_eq!(options(&local, None), "");
        assert_eq!(options(&local, Some(OsStr::new(LOCAL_API))), "");
        let named = format!("--api {LOCAL_API} ");
        assert_eq!(options(&local, Some(other)), named);
    }
}
