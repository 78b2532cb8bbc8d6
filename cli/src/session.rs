//! What all commands have in common while they run.

use crate::api::Api;
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
    on_interrupt: Mutex<String>,
}

impl Session {
    pub(crate) fn new(api: Api, screen: Screen, json: bool, options: String) -> Self {
        Self {
            api,
            screen,
            json,
            options,
            on_interrupt: Mutex::default(),
        }
    }

    /// For commands that a person is told to run.
    pub(crate) fn options(&self) -> &str {
        &self.options
    }

    /// What a person is told if the command is interrupted from now on.
    pub(crate) fn when_interrupted(&self, text: String) {
        *self
            .on_interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// The text to tell.
    pub(crate) fn interrupted(&self) -> String {
        self.on_interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
