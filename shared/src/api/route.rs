//! The route table: the one place that names the API's calls.

use lambda_http::http::Method;

/// The path of the API, under which all calls are.
pub const ROOT: &str = "/internal/deletion-tasks";

/// A call of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Creates a task.
    Run,
    /// Shows one task.
    Info,
    /// Lists tasks.
    List,
    /// Starts a task again.
    Restart,
    /// Cancels a task.
    Cancel,
}

impl Route {
    /// Every call.
    pub const ALL: [Self; 5] = [
        Self::Run,
        Self::Info,
        Self::List,
        Self::Restart,
        Self::Cancel,
    ];

    /// Returns a call's method, its name and the Lambda function that serves it.
    const fn row(self) -> (&'static Method, &'static str, &'static str) {
        match self {
            Self::Run => (&Method::POST, "run", "create-deletion-task"),
            Self::Info => (&Method::GET, "info", "get-deletion-task"),
            Self::List => (&Method::GET, "list", "list-deletion-tasks"),
            Self::Restart => (&Method::PUT, "restart", "restart-deletion-task"),
            Self::Cancel => (&Method::PUT, "cancel", "cancel-deletion-task"),
        }
    }

    /// The method.
    pub const fn method(self) -> &'static Method {
        self.row().0
    }

    /// The name: the last segment of the path, and `endpoint` in log lines.
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// The Lambda function that serves it.
    pub const fn function(self) -> &'static str {
        self.row().2
    }

    /// The path.
    pub fn path(self) -> String {
        format!("{ROOT}/{}", self.name())
    }

    /// Returns the call at this path, whatever its method.
    pub(super) fn at(path: &str) -> Option<Self> {
        let name = path.strip_prefix(ROOT)?.strip_prefix('/')?;
        Self::ALL.into_iter().find(|route| route.name() == name)
    }
}
