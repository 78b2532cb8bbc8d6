//! The validation errors of a request, collected until all of it has been read.

use serde::Serialize;

/// The most validation errors that a response lists.
pub const MAX_VALIDATION_ERRORS: usize = 20;

/// A rule that the request breaks, and where, in the published form.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ValidationError {
    Body {
        /// A JSON Pointer (RFC 6901).
        pointer: String,
        detail: String,
    },
    Query {
        /// The parameter's name.
        parameter: String,
        detail: String,
    },
}

/// The validation errors of one request.
///
/// All of them are counted, and the first [`MAX_VALIDATION_ERRORS`] are listed.
#[derive(Debug, Default)]
pub(super) struct ValidationErrors {
    count: usize,
    listed: Vec<ValidationError>,
}

impl ValidationErrors {
    /// Adds a validation error of the body.
    pub(super) fn in_body(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.add(ValidationError::Body {
            pointer: pointer.into(),
            detail: detail.into(),
        });
    }

    /// Adds a validation error of the query.
    pub(super) fn in_query(&mut self, parameter: impl Into<String>, detail: impl Into<String>) {
        self.add(ValidationError::Query {
            parameter: parameter.into(),
            detail: detail.into(),
        });
    }

    fn add(&mut self, error: ValidationError) {
        self.count += 1;
        if self.listed.len() < MAX_VALIDATION_ERRORS {
            self.listed.push(error);
        }
    }

    /// Finishes the collection. Returns it as the error, unless it is empty.
    pub(super) fn finish(self) -> Result<(), Self> {
        self.finish_with(Some(()))
    }

    /// Finishes the collection with a required value.
    ///
    /// If that is `None`, there must be a validation error.
    pub(super) fn finish_with<T>(self, value: Option<T>) -> Result<T, Self> {
        value.filter(|_| self.count == 0).ok_or(self)
    }

    /// Returns a sentence that says how many there are.
    pub(super) fn summary(&self) -> String {
        match self.count {
            1 => "The request has one validation error".to_owned(),
            count if count > self.listed.len() => format!(
                "The request has {count} validation errors, of which the first {} are listed",
                self.listed.len()
            ),
            count => format!("The request has {count} validation errors"),
        }
    }

    /// Returns the validation errors that are listed.
    pub(super) fn into_listed(self) -> Vec<ValidationError> {
        self.listed
    }
}

/// Returns what to say about an unknown name: the known one that it misspells, or all known ones.
pub(super) fn describe_unknown(name: &str, known: &[&str]) -> String {
    let letters = |name: &str| -> String {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|c| c.to_ascii_lowercase()).collect()
    };
    let meant = known.iter().find(|known| letters(known) == letters(name));
    match meant {
        Some(meant) => format!("is not known; did you mean `{meant}`?"),
        None if known.is_empty() => "is not known; this call takes no parameters".to_owned(),
        None => format!("is not known; the known ones are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_errors_are_counted_and_twenty_are_listed() {
        for (count, listed, summary) in [
            (1, 1, "The request has one validation error"),
            (2, 2, "The request has 2 validation errors"),
            (20, 20, "The request has 20 validation errors"),
            (
                45,
                20,
                "The request has 45 validation errors, of which the first 20 are listed",
            ),
        ] {
            let mut errors = ValidationErrors::default();
            for position in 0..count {
                errors.in_body(format!("/{position}"), "is wrong");
            }
            assert_eq!(errors.summary(), summary);
            assert_eq!(errors.into_listed().len(), listed);
        }
    }

    #[test]
    fn a_value_is_of_use_only_where_nothing_is_wrong() {
        let mut errors = ValidationErrors::default();
        assert_eq!(errors.finish_with(Some(1)).unwrap(), 1);
        errors = ValidationErrors::default();
        errors.in_query("limit", "is wrong");
        assert!(errors.finish_with(Some(1)).is_err());
    }

    #[test]
    fn an_error_is_published_with_its_place() {
        let mut errors = ValidationErrors::default();
        errors.in_body("/a", "b");
        errors.in_query("c", "d");
        let json = serde_json::to_string(&errors.into_listed()).unwrap();
        assert_eq!(
            json,
            r#"[{"pointer":"/a","detail":"b"},{"parameter":"c","detail":"d"}]"#
        );
    }
}
