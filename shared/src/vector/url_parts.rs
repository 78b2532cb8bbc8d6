//! The parts of a store's URL: its parameters, and where the model id stands in it.

use crate::task::ModelId;
use std::collections::BTreeMap;
use url::Url;

const PLACEHOLDER: &str = "{embedding_model_id}";

/// The parameters after the `?`, each of which is taken once. What was not taken is unknown.
pub(super) struct Parameters {
    left: BTreeMap<String, String>,
    known: Vec<&'static str>,
    pub(super) faults: Vec<String>,
}

impl Parameters {
    pub(super) fn of(url: &Url) -> Self {
        let mut left = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, value) in url.query_pairs() {
            if left.insert(name.to_string(), value.to_string()).is_some() {
                faults.push(format!("parameter `{name}` is given twice"));
            }
        }
        Self {
            left,
            known: Vec::new(),
            faults,
        }
    }

    /// The parameter's value; one that is empty is absent.
    pub(super) fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_empty())
    }

    /// A parameter that is a whole number from 1 to `most`.
    #[cfg(feature = "s3vectors")]
    pub(super) fn number(&mut self, name: &'static str, most: u32) -> Option<u32> {
        let text = self.take(name)?;
        let number = text
            .parse()
            .ok()
            .filter(|number| (1..=most).contains(number));
        let fault = || format!("is `{text}`: give a whole number from 1 to {most}");
        self.keep_fault(name, number.ok_or_else(fault))
    }

    /// A parameter that has one value, or is absent.
    pub(super) fn flag(&mut self, name: &'static str, value: &str) -> bool {
        let Some(text) = self.take(name) else {
            return false;
        };
        let fault = format!("is `{text}`: give `{value}`, or leave it out");
        let known = if text == value { Ok(true) } else { Err(fault) };
        self.keep_fault(name, known).unwrap_or(false)
    }

    /// Notes the fault where a parameter is missing. One that is there and bad has its fault already.
    #[cfg(feature = "postgres")]
    pub(super) fn require(&mut self, name: &str, was_given: bool) {
        if !was_given {
            let fault = format!("`{name}` is missing: add {name}=… to the URL");
            self.faults.push(fault);
        }
    }

    /// Whether the parameter has a value and was not taken yet.
    #[cfg(feature = "postgres")]
    pub(super) fn has(&self, name: &str) -> bool {
        self.left.get(name).is_some_and(|value| !value.is_empty())
    }

    pub(super) fn keep_fault<T>(&mut self, name: &str, value: Result<T, String>) -> Option<T> {
        let fault = |fault| self.faults.push(format!("`{name}`: {fault}"));
        value.map_err(fault).ok()
    }

    /// Ends the reading: what nobody took is a fault.
    pub(super) fn finish(mut self) -> Vec<String> {
        for name in self.left.keys() {
            let known = self.known.join("`, `");
            self.faults
                .push(format!("parameter `{name}` is not known: use `{known}`"));
        }
        self.faults
    }
}

/// A part of a store's URL that may hold the model id. It is filled in after the URL was parsed, so no model id can
/// change the URL's meaning.
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

    /// The text, where it is the same for every model.
    #[cfg(feature = "postgres")]
    pub(super) fn fixed(&self) -> Option<&str> {
        (!self.0.contains(PLACEHOLDER)).then_some(self.0.as_str())
    }
}
