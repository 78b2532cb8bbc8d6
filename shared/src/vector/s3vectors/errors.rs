//! The errors of S3 Vectors, sorted by meaning.

use crate::aws::error_code;
use crate::vector::port::{VectorError, VectorErrorKind};
use aws_sdk_s3vectors::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3vectors::operation::delete_vectors::DeleteVectorsError;
use aws_sdk_s3vectors::operation::get_vectors::GetVectorsError;
use aws_sdk_s3vectors::types::ValidationExceptionField;
use std::error::Error;

/// The sentence for an index that does not exist.
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
            "The vector store did not respond".to_owned(),
        ),
        Some("NotFoundException") => (VectorErrorKind::IndexMissing, index_missing(index)),
        Some("AccessDeniedException") => (
            VectorErrorKind::Denied,
            format!("Access to vector index `{index}` is denied"),
        ),
        // The key of an encrypted index ("Data protection and encryption in S3 Vectors", Amazon S3
        // User Guide). It stays disabled until somebody acts.
        Some("KmsDisabledException") => (
            VectorErrorKind::Denied,
            format!("The KMS key of vector index `{index}` is disabled: enable it"),
        ),
        Some("KmsNotFoundException") => (
            VectorErrorKind::Denied,
            format!(
                "The KMS key of vector index `{index}` cannot be found: it was deleted, or is in another region"
            ),
        ),
        Some("KmsInvalidStateException") => (
            VectorErrorKind::Denied,
            format!(
                "The KMS key of vector index `{index}` is in a state in which it cannot decrypt: if it is pending deletion, cancel that and enable it"
            ),
        ),
        Some("KmsInvalidKeyUsageException") => (
            VectorErrorKind::Denied,
            format!(
                "The KMS key of vector index `{index}` is not a key that can decrypt: check its usage and its type"
            ),
        ),
        Some("TooManyRequestsException" | "ThrottlingException") => (
            VectorErrorKind::Throttled,
            "The vector store is throttling requests".to_owned(),
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
            "The vector store failed to carry out the request".to_owned(),
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

    /// Whether keys, and nothing else, are named as invalid. If no field is named, this is false: a
    /// rejected bucket or index must never be taken for a rejected id, because a rejected id is a
    /// definite outcome.
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
