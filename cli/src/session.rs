//! What all commands have in common while they run.

use crate::api::Api;
use crate::error::Error;
use crate::screen::Screen;
use std::sync::{Mutex, PoisonError};

/// One run of the command line.
pub(crate) struct Session {
    pub(crate) api: Api,
    pub(crate) screen: Screen,
    /// Output is for programs.
    pub(crate) json: bool,
    /// The options that reach the same service again, with a space behind each.
    options: String,
    on_interrupt: Mutex<Interrupted>,
}

/// What an interruption means.
enum Interrupted {
    /// The command is cut short, and a person is told this.
    Cut(String),
    /// It is the usual end of the command.
    End,
}

impl Session {
    pub(crate) fn new(api: Api, screen: Screen, json: bool, options: String) -> Self {
        Self {
            api,
            screen,
            json,
            options,
            on_interrupt: Mutex::new(Interrupted::Cut("Interrupted".to_owned())),
        }
    }

    /// For commands that a person is told to run.
    pub(crate) fn options(&self) -> &str {
        &self.options
    }

    /// What a person is told if the command is interrupted from now on.
    pub(crate) fn when_interrupted(&self, text: String) {
        self.interruption(Interrupted::Cut(text));
    }

    /// From now on an interruption is the command's usual end.
    pub(crate) fn ends_when_interrupted(&self) {
        self.interruption(Interrupted::End);
    }

    fn interruption(&self, meaning: Interrupted) {
        *self
            .on_interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = meaning;
    }

    /// How an interrupted command ends.
    pub(crate) fn interrupted(&self) -> Result<(), Error> {
        match &*self
            .on_interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
        {
            Interrupted::Cut(text) => Err(Error::Interrupted(text.clone())),
            Interrupted::End => Ok(()),
        }
    }
}
