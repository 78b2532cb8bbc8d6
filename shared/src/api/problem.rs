//! Every error answer: problem+json (RFC 9457).
//!
//! A fault of the caller says what to change. A fault of ours says nothing about our insides; its cause goes to the log.

use crate::store::StoreError;
use crate::task::TaskId;
use lambda_http::http::{Method, StatusCode};
use serde::Serialize;

/// The most faults one answer lists.
pub const MAX_FAULTS: usize = 20;
/// How long a caller waits before it tries again, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 2;
/// Every problem's `type`: the status says it all (RFC 9457, section 4.2.1).
pub const PROBLEM_TYPE: &str = "about:blank";

/// What kind of error an answer is. There are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The body cannot be read.
    BadRequest,
    /// No such task, or no such path.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// The task does not allow it.
    Conflict,
    /// The body is too large.
    ContentTooLarge,
    /// The body is not said to be JSON.
    UnsupportedMediaType,
    /// The request breaks a rule.
    UnprocessableContent,
    /// A fault of ours.
    InternalServerError,
    /// The task store is busy or out of reach.
    ServiceUnavailable,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::BadRequest,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::ContentTooLarge,
        Self::UnsupportedMediaType,
        Self::UnprocessableContent,
        Self::InternalServerError,
        Self::ServiceUnavailable,
    ];

    /// Its status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnprocessableContent => StatusCode::UNPROCESSABLE_ENTITY,
            Self::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The status in words.
    pub fn title(self) -> &'static str {
        self.status().canonical_reason().unwrap_or("Error")
    }
}

/// An error answer.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(super) kind: ProblemKind,
    pub(super) detail: String,
    pub(super) errors: Vec<Fault>,
    /// `Retry-After` or `Allow`, where the status asks for one.
    pub(super) header: Option<(&'static str, String)>,
    /// What went wrong on our side. Only the log says it.
    pub(super) cause: Option<String>,
}

/// One thing wrong with a request, and where.
#[derive(Debug, Serialize)]
pub(crate) struct Fault {
    /// A JSON Pointer (RFC 6901) into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// A query parameter's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    detail: String,
}

/// The published shape.
#[derive(Serialize)]
pub(super) struct ProblemBody<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

impl Problem {
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            header: None,
            cause: None,
        }
    }

    /// A fault of ours. The caller learns nothing of it.
    pub(super) fn ours(cause: impl ToString) -> Self {
        Self::new(
            ProblemKind::InternalServerError,
            "Something went wrong on our side",
        )
        .because(cause)
    }

    /// Says for the log what went wrong.
    fn because(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    pub(super) fn body(&self) -> ProblemBody<'_> {
        ProblemBody {
            r#type: PROBLEM_TYPE,
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::BadRequest, detail)
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Conflict, detail)
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        let detail = format!(
            "There is nothing at `{path}`. The endpoints are run, info, list, restart and cancel under \
             /internal/deletion-tasks"
        );
        Self::new(ProblemKind::NotFound, detail)
    }

    pub(super) fn wrong_method(method: &Method, expected: &Method) -> Self {
        let detail = format!("Use {expected} here, not {method}");
        Self {
            header: Some(("allow", expected.to_string())),
            ..Self::new(ProblemKind::MethodNotAllowed, detail)
        }
    }

    pub(super) fn task_not_found(id: &TaskId) -> Self {
        Self::new(
            ProblemKind::NotFound,
            format!("Task with ID `{id}` not found"),
        )
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self {
                header: Some(("retry-after", RETRY_AFTER_SECONDS.to_string())),
                ..Self::new(
                    ProblemKind::ServiceUnavailable,
                    "The task store is busy or out of reach. Try again shortly",
                )
                .because(error)
            },
            StoreError::Refused { .. } | StoreError::Damaged(_) => Self::ours(error),
        }
    }
}

/// What is wrong with a request, collected until the whole of it has been read.
#[derive(Debug, Default)]
pub(super) struct Faults {
    found: usize,
    listed: Vec<Fault>,
}

impl Faults {
    /// Something wrong in the body.
    pub(super) fn at(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.add(Fault {
            pointer: Some(pointer.into()),
            parameter: None,
            detail: detail.into(),
        });
    }

    /// Something wrong in the query.
    pub(super) fn in_query(&mut self, parameter: impl Into<String>, detail: impl Into<String>) {
        self.add(Fault {
            pointer: None,
            parameter: Some(parameter.into()),
            detail: detail.into(),
        });
    }

    fn add(&mut self, fault: Fault) {
        self.found += 1;
        if self.listed.len() < MAX_FAULTS {
            self.listed.push(fault);
        }
    }

    /// 422 with every fault, if there is any.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let detail = match self.found {
            0 => return Ok(()),
            1 => "The request has one fault".to_owned(),
            n if n > MAX_FAULTS => {
                format!("The request has {n} faults, of which the first {MAX_FAULTS} are listed")
            }
            n => format!("The request has {n} faults"),
        };
        Err(Problem {
            errors: self.listed,
            ..Problem::new(ProblemKind::UnprocessableContent, detail)
        })
    }
}

/// The known name that `unknown` may have been meant for.
pub(super) fn did_you_mean(unknown: &str, known: &[&str]) -> String {
    let bare = |name: &str| -> String {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|c| c.to_ascii_lowercase()).collect()
    };
    let near = known.iter().find(|name| bare(name) == bare(unknown));
    match near {
        Some(name) => format!("is not known; did you mean `{name}`?"),
        None if known.is_empty() => "is not known; this call takes no parameters".to_owned(),
        None => format!("is not known; the known ones are {}", known.join(", ")),
    }
}
