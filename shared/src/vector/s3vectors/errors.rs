//! What S3 Vectors answers, by meaning.

use crate::aws::error_code;
use crate::vector::port::{VectorError, VectorErrorKind};
use aws_sdk_s3vectors::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3vectors::operation::delete_vectors::DeleteVectorsError;
use aws_sdk_s3vectors::operation::get_vectors::GetVectorsError;
use aws_sdk_s3vectors::types::ValidationExceptionField;
use std::error::Error;

/// That there is no such index: to the person who reads the task.
pub(super) fn index_missing(index: &str) -> String {
    format!("Vector index `{index}` does not exist")
}

/// Sorts the SDK's error by meaning.
pub(super) fn sorted<E, R>(index: &str, error: SdkError<E, R>) -> VectorError
where
    E: ProvideErrorMetadata + NamesFields + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let unanswered = matches!(
        error,
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_)
    );
    let (kind, detail) = match error.code() {
        _ if unanswered => (
            VectorErrorKind::Unanswered,
            "The vector store did not answer".to_owned(),
        ),
        Some("NotFoundException") => (VectorErrorKind::IndexMissing, index_missing(index)),
        Some("AccessDeniedException") => (
            VectorErrorKind::Denied,
            format!("Access to vector index `{index}` is denied"),
        ),
        Some("TooManyRequestsException" | "ThrottlingException") => (
            VectorErrorKind::Throttled,
            "The vector store kept asking to go slower".to_owned(),
        ),
        Some("ValidationException")
            if error
                .as_service_error()
                .is_some_and(NamesFields::blames_keys) =>
        {
            (
                VectorErrorKind::InvalidId,
                "The vector store refuses this id as invalid".to_owned(),
            )
        }
        Some("ValidationException") => (
            VectorErrorKind::Denied,
            format!("Vector index `{index}` refuses the request as invalid"),
        ),
        _ => (
            VectorErrorKind::Temporary,
            "The vector store kept failing".to_owned(),
        ),
    };
    VectorError {
        kind,
        detail,
        code: error_code(&error).to_owned(),
        source: Some(error.into()),
    }
}

/// An error that may name the fields that are invalid.
pub(super) trait NamesFields {
    /// The fields that a `ValidationException` names.
    fn fields(&self) -> &[ValidationExceptionField];

    /// Whether keys are invalid and nothing else. Where no field is named, they are not: a refused bucket or index must
    /// never pass for a refused id, since that would count as a definite outcome.
    fn blames_keys(&self) -> bool {
        let is_keys = |field: &ValidationExceptionField| {
            let mut parts = field.path().split(|c: char| !c.is_ascii_alphanumeric());
            parts.find(|part| !part.is_empty()) == Some("keys")
        };
        !self.fields().is_empty() && self.fields().iter().all(is_keys)
    }
}

impl NamesFields for GetVectorsError {
    fn fields(&self) -> &[ValidationExceptionField] {
        match self {
            Self::ValidationException(error) => error.field_list(),
            _ => &[],
        }
    }
}

impl NamesFields for DeleteVectorsError {
    fn fields(&self) -> &[ValidationExceptionField] {
        match self {
            Self::ValidationException(error) => error.field_list(),
            _ => &[],
        }
    }
}
