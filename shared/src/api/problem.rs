//! Every error of the API, as problem+json (RFC 9457).
//!
//! An error of the caller says what to change. An error of the service says nothing about its
//! internals. Its cause goes to the log.

use super::MAX_BODY_BYTES;
use super::route::{ROOT, Route};
use super::validation::{ValidationError, ValidationErrors};
use crate::store::StoreError;
use crate::task::TaskId;
use lambda_http::http::{Method, StatusCode};
use serde::Serialize;

/// How long a caller waits before it tries again, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 2;
/// Every problem's `type`: the status says everything (RFC 9457, section 4.2.1).
pub const PROBLEM_TYPE: &str = "about:blank";

/// Every kind of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The body is not JSON.
    BadRequest,
    /// No such task, or no such path.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// The task does not allow the call.
    Conflict,
    /// The body is too large.
    ContentTooLarge,
    /// The content type is not JSON, or the body is encoded.
    UnsupportedMediaType,
    /// The request breaks a rule.
    UnprocessableContent,
    /// The service failed.
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

    /// Returns the status.
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

    /// Returns the status in words.
    pub fn title(self) -> &'static str {
        self.status().canonical_reason().unwrap_or("Error")
    }
}

/// An error, with what the caller gets and what the log gets.
#[derive(Debug)]
pub struct Problem {
    pub(super) kind: ProblemKind,
    pub(super) detail: String,
    pub(super) errors: Vec<ValidationError>,
    /// `Retry-After`, `Allow` or `Accept-Encoding`, if the status needs one.
    pub(super) header: Option<(&'static str, String)>,
    /// What went wrong in the service. Only the log shows it.
    pub(super) cause: Option<String>,
}

/// The published form.
#[derive(Serialize)]
pub(super) struct ProblemBody<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ValidationError],
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

    /// Creates an error of the service. The caller learns nothing of its cause.
    pub(super) fn internal(cause: impl ToString) -> Self {
        Self::new(
            ProblemKind::InternalServerError,
            "Something went wrong on our side",
        )
        .because(cause)
    }

    /// Adds the cause, for the log.
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
        let names = Route::ALL.map(Route::name).join(", ");
        Self::new(
            ProblemKind::NotFound,
            format!("There is nothing at `{path}`. The endpoints under {ROOT} are {names}"),
        )
    }

    pub(super) fn wrong_method(method: &Method, expected: &Method) -> Self {
        let detail = format!("Use {expected} here, not {method}");
        Self {
            header: Some(("allow", expected.to_string())),
            ..Self::new(ProblemKind::MethodNotAllowed, detail)
        }
    }

    pub(super) fn unsupported_media_type(content_type: &str) -> Self {
        Self::new(
            ProblemKind::UnsupportedMediaType,
            format!("The content type is `{content_type}`: send application/json"),
        )
    }

    pub(super) fn unsupported_content_encoding(coding: &str) -> Self {
        let detail = format!(
            "The content encoding is `{coding}`: send the JSON itself, without Content-Encoding"
        );
        Self {
            header: Some(("accept-encoding", "identity".to_owned())),
            ..Self::new(ProblemKind::UnsupportedMediaType, detail)
        }
    }

    pub(super) fn body_too_large() -> Self {
        let detail = format!(
            "The body is larger than {MAX_BODY_BYTES} bytes: split the objects over several tasks"
        );
        Self::new(ProblemKind::ContentTooLarge, detail)
    }

    pub(super) fn task_not_found(id: &TaskId) -> Self {
        Self::new(
            ProblemKind::NotFound,
            format!("Task with ID `{id}` not found"),
        )
    }

    pub(super) fn task_id_taken(id: &TaskId) -> Self {
        Self::conflict(format!(
            "Task with ID `{id}` already exists for another model or other objects"
        ))
    }
}

impl From<ValidationErrors> for Problem {
    fn from(errors: ValidationErrors) -> Self {
        let detail = errors.summary();
        Self {
            errors: errors.into_listed(),
            ..Self::new(ProblemKind::UnprocessableContent, detail)
        }
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
            StoreError::Rejected { .. } | StoreError::Damaged(_) => Self::internal(error),
        }
    }
}
