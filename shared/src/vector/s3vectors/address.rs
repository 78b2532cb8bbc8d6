//! The URL of a vector index, parsed.

use crate::vector::pace::Quota;
use crate::vector::url_parts::{Parameters, Template};
use percent_encoding::percent_decode_str;
use url::Url;

const FORM: &str = "write it as s3vectors://bucket/index";
/// The most vectors inserted and deleted a second ("Limitations and restrictions" of S3 Vectors,
/// Amazon S3 User Guide).
const VECTORS_PER_SECOND: u32 = 2_500;
/// The most PutVectors and DeleteVectors calls a second (the same page).
const WRITES_PER_SECOND: u32 = 1_000;

/// A parsed URL of the form `s3vectors://bucket/index`.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) bucket: String,
    pub(super) index: Template,
    pub(super) writes: Quota,
    /// Whether a delete is read back.
    pub(super) reads_back: bool,
}

impl Address {
    /// Parses the URL.
    ///
    /// # Errors
    /// All errors in the URL, one sentence each.
    pub(super) fn read(url: &Url) -> Result<Self, Vec<String>> {
        let mut parameters = Parameters::of(url);
        let vectors = parameters.per_second("objects_per_second");
        let requests = parameters.per_second("requests_per_second");
        let reads_back = parameters.flag("confirm", "read-back");
        let place = place(url).map_err(|error| parameters.errors.push(error));
        let errors = parameters.finish();
        match place {
            Ok((bucket, index)) if errors.is_empty() => Ok(Self {
                bucket,
                index,
                writes: Quota::new(
                    vectors.unwrap_or(VECTORS_PER_SECOND),
                    requests.unwrap_or(WRITES_PER_SECOND),
                ),
                reads_back,
            }),
            _ => Err(errors),
        }
    }
}

/// The bucket and the index.
fn place(url: &Url) -> Result<(String, Template), String> {
    let more = url.fragment().is_some() || url.port().is_some();
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
            "`{bucket}` is not a valid name of a vector bucket (3 to 63 characters of a-z, 0-9 and -): {FORM}"
        ));
    }
    let index = decode(url.path().strip_prefix('/').unwrap_or_default())?;
    if index.is_empty() || index.contains('/') {
        return Err(format!("has no index name: {FORM}"));
    }
    Ok((bucket, Template::parse(&index)?))
}

/// Whether S3 Vectors could have a vector bucket of this name ("Vector bucket naming rules", Amazon
/// S3 User Guide).
fn is_bucket_name(name: &str) -> bool {
    is_name(name, b"-")
}

/// Whether S3 Vectors could have an index of this name ("Vector index naming requirements", Amazon
/// S3 User Guide).
pub(super) fn is_index_name(name: &str) -> bool {
    is_name(name, b"-.")
}

fn is_name(name: &str, also: &[u8]) -> bool {
    let name = name.as_bytes();
    let is_alphanumeric = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.iter().all(|c| is_alphanumeric(c) || also.contains(c))
        && name.first().is_some_and(is_alphanumeric)
        && name.last().is_some_and(is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::ModelId;

    fn read(url: &str) -> Result<Address, Vec<String>> {
        Address::read(&Url::parse(url).unwrap())
    }

    #[test]
    fn no_model_id_changes_where_a_url_points() {
        let address = read("s3vectors://bucket/{embedding_model_id}").unwrap();
        for model in ["../x", "a/b", "?q=1", "#f", "%2e", "user@host"] {
            let filled = address.index.fill(&ModelId::new(model).unwrap());
            assert_eq!(
                (address.bucket.as_str(), filled.as_str()),
                ("bucket", model)
            );
        }
    }

    #[test]
    fn the_quota_is_the_services_own_unless_the_url_says_otherwise() {
        let quota = |url: &str| read(url).unwrap().writes;
        assert_eq!(quota("s3vectors://bucket/i"), Quota::new(2_500, 1_000));
        assert_eq!(
            quota("s3vectors://bucket/i?objects_per_second=500&requests_per_second=7"),
            Quota::new(500, 7)
        );
    }

    #[test]
    fn every_error_in_a_url_is_named() {
        let errors = read(
            "s3vectors://My_Bucket/i?objects_per_second=0&requests_per_second=x&rate=1&confirm=yes",
        );
        let errors = errors.unwrap_err();
        assert_eq!(errors.len(), 5, "{errors:#?}");
        for what in [
            "`confirm`: is `yes`: give `read-back`",
            "`objects_per_second`",
            "`requests_per_second`",
            "`rate`",
            "My_Bucket",
        ] {
            assert!(
                errors.iter().any(|error| error.contains(what)),
                "{what}: {errors:#?}"
            );
        }
    }
}
