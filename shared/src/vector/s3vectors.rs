//! Amazon S3 Vectors: the object id is the vector's key.

use super::schemes::{StoreOf, Target, Template};
use super::{Services, VectorError, VectorErrorKind, VectorStore};
use crate::aws::{self, error_code};
use aws_sdk_s3vectors::Client;
use aws_sdk_s3vectors::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3vectors::operation::delete_vectors::DeleteVectorsError;
use aws_sdk_s3vectors::operation::get_vectors::GetVectorsError;
use aws_sdk_s3vectors::types::ValidationExceptionField;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use percent_encoding::percent_decode_str;
use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use url::Url;

/// The most keys one GetVectors takes ("Limitations and restrictions", Amazon S3 User Guide).
const MAX_GET: usize = 100;
/// The most keys one DeleteVectors takes (the same page).
const MAX_DELETE: usize = 500;
/// GetVectors calls under way at once, for one look.
const CONCURRENT_GETS: usize = 5;

/// `s3vectors://bucket/index`
#[derive(Debug)]
struct Location {
    bucket: String,
    index: Template,
}

/// Reads a URL of the form `s3vectors://bucket/index`.
pub(super) fn parse(url: &Url) -> Result<Arc<dyn Target>, Vec<String>> {
    match Location::parse(url) {
        Ok(location) => Ok(Arc::new(location)),
        Err(fault) => Err(vec![fault]),
    }
}

impl Location {
    fn parse(url: &Url) -> Result<Self, String> {
        const FORM: &str = "write it as s3vectors://bucket/index";
        let more = url.query().is_some() || url.fragment().is_some() || url.port().is_some();
        if more || !url.username().is_empty() || url.password().is_some() {
            return Err(format!("has more than a bucket and an index: {FORM}"));
        }
        let decode = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded
                .map(String::from)
                .map_err(|_| format!("is not UTF-8: {FORM}"))
        };
        let bucket = decode(url.host_str().unwrap_or_default())?;
        if !is_bucket_name(&bucket) {
            return Err(format!(
                "`{bucket}` is no name of a vector bucket (3 to 63 of a-z, 0-9 and -): {FORM}"
            ));
        }
        let index = decode(url.path().strip_prefix('/').unwrap_or_default())?;
        if index.is_empty() || index.contains('/') {
            return Err(format!("has no index name: {FORM}"));
        }
        let index = Template::parse(&index)?;
        Ok(Self { bucket, index })
    }
}

impl Target for Location {
    fn open(&self, services: &Services) -> StoreOf {
        let client = aws::s3vectors_client(&services.aws);
        let (bucket, index) = (self.bucket.clone(), self.index.clone());
        Box::new(move |model| {
            let index = index.fill(model);
            Arc::new(S3Vectors::new(client.clone(), bucket.clone(), index))
        })
    }
}

/// One vector index in Amazon S3 Vectors.
#[derive(Clone, Debug)]
pub struct S3Vectors {
    client: Client,
    bucket: String,
    index: String,
}

impl S3Vectors {
    /// The index `index` in the vector bucket `bucket`.
    pub fn new(client: Client, bucket: String, index: String) -> Self {
        Self {
            client,
            bucket,
            index,
        }
    }

    /// Whether S3 Vectors could have an index of this name ("Vector index naming requirements", Amazon S3 User Guide).
    /// A model id may be any text; one that is no index name has no index, which is clearer than a refused call.
    fn index_can_exist(&self) -> Result<(), VectorError> {
        match is_name(&self.index, b"-.") {
            true => Ok(()),
            false => Err(VectorError {
                kind: VectorErrorKind::IndexMissing,
                detail: self.index_missing(),
                code: "no such name".to_owned(),
                source: None,
            }),
        }
    }

    fn index_missing(&self) -> String {
        format!("Vector index `{}` does not exist", self.index)
    }

    async fn get(&self, keys: Vec<String>) -> Result<HashSet<String>, VectorError> {
        let answer = self
            .client
            .get_vectors()
            .vector_bucket_name(&self.bucket)
            .index_name(&self.index)
            .set_keys(Some(keys))
            .return_data(false)
            .return_metadata(false)
            .send()
            .await
            .map_err(|error| self.sort(error))?;
        Ok(answer
            .vectors
            .into_iter()
            .map(|vector| vector.key)
            .collect())
    }

    /// Sorts the SDK's error by meaning.
    fn sort<E, R>(&self, error: SdkError<E, R>) -> VectorError
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
            Some("NotFoundException") => (VectorErrorKind::IndexMissing, self.index_missing()),
            Some("AccessDeniedException") => (
                VectorErrorKind::Denied,
                format!("Access to vector index `{}` is denied", self.index),
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
                format!(
                    "Vector index `{}` refuses the request as invalid",
                    self.index
                ),
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
}

/// Whether S3 Vectors could have a vector bucket of this name ("Vector bucket naming rules", Amazon S3 User Guide).
fn is_bucket_name(name: &str) -> bool {
    is_name(name, b"-")
}

fn is_name(name: &str, also: &[u8]) -> bool {
    let name = name.as_bytes();
    let is_alphanumeric = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.iter().all(|c| is_alphanumeric(c) || also.contains(c))
        && name.first().is_some_and(is_alphanumeric)
        && name.last().is_some_and(is_alphanumeric)
}

/// An error that may name the fields that are invalid.
trait NamesFields {
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

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

impl VectorStore for S3Vectors {
    fn present<'a>(&'a self, ids: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<bool>, VectorError>> {
        Box::pin(async move {
            self.index_can_exist()?;
            let batches: Vec<_> = ids.chunks(MAX_GET).map(owned).collect();
            let found: Vec<HashSet<String>> = stream::iter(batches)
                .map(|keys| self.get(keys))
                .buffer_unordered(CONCURRENT_GETS)
                .try_collect()
                .await?;
            let is_found = |id: &&str| found.iter().any(|keys| keys.contains(*id));
            Ok(ids.iter().map(is_found).collect())
        })
    }

    fn delete<'a>(&'a self, ids: &'a [&'a str]) -> BoxFuture<'a, Result<(), VectorError>> {
        Box::pin(async move {
            self.index_can_exist()?;
            self.client
                .delete_vectors()
                .vector_bucket_name(&self.bucket)
                .index_name(&self.index)
                .set_keys(Some(owned(ids)))
                .send()
                .await
                .map(drop)
                .map_err(|error| self.sort(error))
        })
    }

    fn max_delete(&self) -> usize {
        MAX_DELETE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::ModelId;

    #[test]
    fn no_model_id_changes_where_a_url_points() {
        let url = Url::parse("s3vectors://bucket/{embedding_model_id}").unwrap();
        let location = Location::parse(&url).unwrap();
        for model in ["../x", "a/b", "?q=1", "#f", "%2e", "user@host"] {
            let filled = location.index.fill(&ModelId::new(model).unwrap());
            assert_eq!(
                (location.bucket.as_str(), filled.as_str()),
                ("bucket", model)
            );
        }
    }
}
