//! Why a command ends without success.

use std::error::Error as StdError;
use std::io;
use std::process::ExitCode;

/// An error for the person who ran the command. Its text says what to change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line, its input or the credentials are wrong.
    #[error("{0}")]
    Usage(String),
    /// The service refused, or a task did not end well.
    #[error("{0}")]
    Refused(String),
    /// The caller may not make this call, or its credentials have expired.
    #[error("{0}")]
    Denied(String),
    /// The service throttles for too long.
    #[error("{0}")]
    Throttled(String),
    /// The service did not respond, or something else responded.
    #[error("{0}")]
    Unreachable(String),
    /// The command was interrupted.
    #[error("{0}")]
    Interrupted(String),
    /// A file on this machine could not be used.
    #[error("{what}: {source}")]
    File {
        /// Which file, and what was done with it.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// The program that reads the output, such as `head`, has stopped reading.
    #[error("The output is closed")]
    OutputClosed,
}

impl Error {
    /// For [`Result::map_err`].
    pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::File { what, source }
    }

    /// The exit status, as listed in `dtask --help`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Refused(_) | Self::Denied(_) | Self::Throttled(_) => ExitCode::from(1),
            Self::Usage(_) | Self::File { .. } => ExitCode::from(2),
            Self::Unreachable(_) => ExitCode::from(3),
            Self::Interrupted(_) => ExitCode::from(130),
        }
    }
}

/// An error of the standard output.
impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        let what = "The output cannot be written".to_owned();
        Self::File { what, source }
    }
}

/// An error, its cause, the cause of that, and so on.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The text of an error's innermost cause. The outer errors only say that there is one.
pub(crate) fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error)
        .last()
        .map_or_else(String::new, ToString::to_string)
}
