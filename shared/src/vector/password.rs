//! A password that cannot appear in a log line or an error.

use std::fmt;

/// A password. Its debug form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes `text` as a password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself, to log in with.
    #[cfg(any(feature = "postgres", feature = "store-protocol"))]
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

/// The credentials to log in to a store with.
#[cfg(any(
    feature = "postgres",
    all(feature = "store-protocol", feature = "secrets-manager")
))]
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// `None`: the user that the store's URL names.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    pub(super) user: Option<String>,
    pub(super) password: Option<Password>,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}
