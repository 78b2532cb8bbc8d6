//! The schemes of store URLs: what a URL names, and who opens it.

#![cfg_attr(
    not(any(feature = "s3vectors", feature = "postgres")),
    allow(dead_code, reason = "the API's functions have no adapter built in")
)]

use super::{Services, VectorStore};
use crate::task::ModelId;
use std::fmt;
use std::sync::Arc;
use url::Url;

const PLACEHOLDER: &str = "{embedding_model_id}";

/// Reads a URL of one scheme. Names every fault in it, and never a password.
type Parse = fn(&Url) -> Result<Arc<dyn Target>, Vec<String>>;

/// Each scheme with its adapter. A new adapter is one more line.
const SCHEMES: &[(&str, Parse)] = &[
    #[cfg(feature = "s3vectors")]
    ("s3vectors", super::s3vectors::parse),
    #[cfg(feature = "postgres")]
    ("postgres", super::postgres::parse),
    #[cfg(feature = "postgres")]
    ("postgresql", super::postgres::parse),
];

/// What a URL names.
pub(super) trait Target: fmt::Debug + Send + Sync {
    /// Opens it, once for the life of the process. Connects to nothing yet.
    fn open(&self, services: &Services) -> StoreOf;
}

/// The stores behind one URL, by model. It owns what they share, such as connections.
pub(super) type StoreOf = Box<dyn Fn(&ModelId) -> Arc<dyn VectorStore> + Send + Sync>;

/// Reads any store's URL.
pub(super) fn parse(text: &str) -> Result<Arc<dyn Target>, Vec<String>> {
    // The text itself may hold a password, so it is not repeated.
    let url = Url::parse(text).map_err(|error| vec![format!("the URL cannot be read: {error}")])?;
    let scheme = SCHEMES.iter().find(|(name, _)| *name == url.scheme());
    let Some((_, parse)) = scheme else {
        let known: Vec<_> = SCHEMES
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        return Err(vec![format!(
            "scheme `{}` is not known, or was left out of this build: use {}",
            url.scheme(),
            known.join(" or ")
        )]);
    };
    parse(&url)
}

/// A part of a store's URL that may hold the model id. It is filled in after the URL was parsed, so no model id can
/// change the URL's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(String);

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let without = text.replace(PLACEHOLDER, "");
        match without.contains(['{', '}']) {
            true => Err(format!(
                "`{text}` has a placeholder other than {PLACEHOLDER}"
            )),
            false => Ok(Self(text.to_owned())),
        }
    }

    pub(super) fn fill(&self, model: &ModelId) -> String {
        self.0.replace(PLACEHOLDER, model.as_str())
    }

    /// The text, where it is the same for every model.
    #[cfg(feature = "postgres")]
    pub(super) fn fixed(&self) -> Option<&str> {
        (!self.0.contains(PLACEHOLDER)).then_some(self.0.as_str())
    }
}
