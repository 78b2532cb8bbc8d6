//! The parts of a store's URL: its parameters, and the placeholder for the model id.

use crate::task::ModelId;
use std::collections::BTreeMap;
use url::Url;

const PLACEHOLDER: &str = "{embedding_model_id}";

/// The parameters after the `?`. An adapter takes each that it knows; one that is left at the end
/// is unknown. Errors are collected on the way.
pub(super) struct Parameters {
    left: BTreeMap<String, String>,
    known: Vec<&'static str>,
    pub(super) errors: Vec<String>,
}

impl Parameters {
    pub(super) fn of(url: &Url) -> Self {
        let mut left = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, value) in url.query_pairs() {
            if left.insert(name.to_string(), value.to_string()).is_some() {
                errors.push(format!("parameter `{name}` is given twice"));
            }
        }
        Self {
            left,
            known: Vec::new(),
            errors,
        }
    }

    /// The parameter's value. An empty one counts as absent.
    pub(super) fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.remove(name)
    }

    /// The value of a parameter that no error should recommend.
    pub(super) fn remove(&mut self, name: &str) -> Option<String> {
        self.left.remove(name).filter(|value| !value.is_empty())
    }

    /// A parameter that is a rate: a whole number from 1 to a million.
    pub(super) fn per_second(&mut self, name: &'static str) -> Option<u32> {
        let most = 1_000_000;
        let text = self.take(name)?;
        let number = text
            .parse()
            .ok()
            .filter(|number| (1..=most).contains(number));
        let error = || format!("is `{text}`: give a whole number from 1 to {most}");
        self.keep_error(name, number.ok_or_else(error))
    }

    /// Whether the parameter is given. `value` is the only one that it can have.
    #[cfg(any(feature = "s3vectors", feature = "postgres"))]
    pub(super) fn flag(&mut self, name: &'static str, value: &str) -> bool {
        let Some(text) = self.take(name) else {
            return false;
        };
        let error = format!("is `{text}`: give `{value}`, or leave it out");
        let is_set = if text == value { Ok(true) } else { Err(error) };
        self.keep_error(name, is_set).unwrap_or(false)
    }

    /// Adds an error if a parameter is missing. A parameter that is given but invalid already has
    /// its error.
    #[cfg(feature = "postgres")]
    pub(super) fn require(&mut self, name: &str, was_given: bool) {
        if !was_given {
            let error = format!("`{name}` is missing: add {name}=… to the URL");
            self.errors.push(error);
        }
    }

    /// Whether the parameter is given and was not taken yet.
    #[cfg(feature = "postgres")]
    pub(super) fn has(&self, name: &str) -> bool {
        self.left.get(name).is_some_and(|value| !value.is_empty())
    }

    /// The value, or an error under the parameter's name.
    pub(super) fn keep_error<T>(&mut self, name: &str, value: Result<T, String>) -> Option<T> {
        let keep = |error| self.errors.push(format!("`{name}`: {error}"));
        value.map_err(keep).ok()
    }

    /// Ends the parsing, and returns all errors. A parameter that nobody took is an error.
    pub(super) fn finish(mut self) -> Vec<String> {
        for name in self.left.keys() {
            let known = self.known.join("`, `");
            self.errors
                .push(format!("parameter `{name}` is not known: use `{known}`"));
        }
        self.errors
    }
}

/// A part of a store's URL that may have a placeholder for the model id. The placeholder is filled
/// in after the URL is parsed, so no model id can change the URL's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(String);

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let without = text.replace(PLACEHOLDER, "");
        if without.contains(['{', '}']) {
            return Err(format!(
                "`{text}` has a placeholder other than {PLACEHOLDER}"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn fill(&self, model: &ModelId) -> String {
        self.0.replace(PLACEHOLDER, model.as_str())
    }

    /// The text, if it is the same for every model.
    #[cfg(feature = "postgres")]
    pub(super) fn fixed(&self) -> Option<&str> {
        (!self.0.contains(PLACEHOLDER)).then_some(self.0.as_str())
    }
}
