//! The errors at the start. Each text is one line that says what to change.

use shared::config::ConfigError;
use std::error::Error;
use std::path::{Path, PathBuf};
use web::ListenError;

/// Why the runner could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The runner cannot listen on one of its ports.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The directory for the tasks cannot be used.
    #[error("cannot keep tasks in `{}`: {reason}: choose another directory with --data", path.display())]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Settings, such as `VECTOR_STORES`, are not valid. The text has one line for each.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// An embedded service could not be set up: an error of this program.
    #[error("the embedded {service} could not be set up: {}", innermost(source.as_ref()))]
    Setup {
        /// The service.
        service: &'static str,
        /// The service's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StartError {
    pub(crate) fn data(path: &Path, reason: impl ToString) -> Self {
        Self::DataDirectory {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// Makes the error of a call that sets up `service`, for `map_err`.
    pub(crate) fn setup<E: Into<Box<dyn Error + Send + Sync>>>(
        service: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |error| Self::Setup {
            service,
            source: error.into(),
        }
    }
}

/// The innermost cause, since the SDK's outer errors only say "service error".
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
