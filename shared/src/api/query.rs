//! The query string, read strictly: a parameter that is unknown, repeated or badly encoded is a
//! validation error.

use super::cursor;
use super::validation::{ValidationErrors, describe_unknown};
use crate::store::Scope;
use crate::task::{ModelId, OutcomeFilter, TaskId, TaskStatus};
use chrono::{DateTime, Datelike, Utc};
use lambda_http::Request;
use percent_encoding::percent_decode_str;

/// The rows of a list page if the caller does not set a limit.
pub const DEFAULT_LIMIT: u32 = 100;
/// The most rows of a list page.
pub const MAX_LIMIT: u32 = 1000;

/// The values of `outcome`.
const OUTCOMES: [(&str, OutcomeFilter); 4] = [
    ("deleted", OutcomeFilter::Deleted),
    ("failed", OutcomeFilter::Failed),
    ("remaining", OutcomeFilter::Remaining),
    ("all", OutcomeFilter::All),
];

/// A request's query parameters, and their validation errors.
pub(super) struct Query {
    /// By name, each once. A value that cannot be decoded is `None`, and has a validation error.
    parameters: Vec<(String, Option<String>)>,
    errors: ValidationErrors,
}

impl Query {
    /// Reads the query. It may contain only the parameters `known`, each once.
    pub(super) fn of(request: &Request, known: &[&str]) -> Self {
        let mut parameters: Vec<(String, Option<String>)> = Vec::new();
        let mut errors = ValidationErrors::default();
        let query = request.uri().query().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = match decode(name) {
                Ok(name) => name,
                Err(detail) => {
                    errors.in_query(name, detail);
                    continue;
                }
            };
            if !known.contains(&name.as_str()) {
                let detail = describe_unknown(&name, known);
                errors.in_query(name, detail);
            } else if parameters.iter().any(|(other, _)| *other == name) {
                errors.in_query(name, "is given more than once");
            } else {
                let value = decode(value);
                let value = value.map_err(|detail| errors.in_query(name.as_str(), detail));
                parameters.push((name, value.ok()));
            }
        }
        Self { parameters, errors }
    }

    /// Finishes the reading. Returns the validation errors if there are any.
    pub(super) fn finish(self) -> Result<(), ValidationErrors> {
        self.errors.finish()
    }

    /// Finishes the reading of a query that must name a task.
    pub(super) fn finish_with(self, id: Option<TaskId>) -> Result<TaskId, ValidationErrors> {
        self.errors.finish_with(id)
    }

    /// Reads `task_id`, which is required. If it returns `None`, there is a validation error.
    pub(super) fn task_id(&mut self) -> Option<TaskId> {
        if !self.has("task_id") {
            self.refuse("task_id", "is required");
        }
        self.read("task_id", |text| {
            TaskId::new(text).map_err(|invalid| invalid.to_string())
        })
    }

    /// Reads `attempt`: the attempt that the task must still be in.
    pub(super) fn attempt(&mut self) -> Option<u32> {
        self.read("attempt", |text| whole_number(text, u32::MAX))
    }

    /// Reads `scope`: which objects to try again.
    pub(super) fn scope(&mut self) -> Scope {
        let all = self.read("scope", |text| match text {
            "all" => Ok(Scope::All),
            _ => Err("must be `all`, or left out to try again only what was not deleted".into()),
        });
        all.unwrap_or(Scope::NotDeleted)
    }

    /// Reads `outcome`: which objects to show.
    pub(super) fn outcome(&mut self) -> Option<OutcomeFilter> {
        self.read("outcome", |text| {
            let found = OUTCOMES.iter().find(|(word, _)| *word == text);
            found
                .map(|(_, filter)| *filter)
                .ok_or_else(|| must_be_one_of(&OUTCOMES.map(|(word, _)| word)))
        })
    }

    /// Reads `status`: which tasks to list.
    pub(super) fn status(&mut self) -> Option<TaskStatus> {
        self.read("status", |text| {
            text.parse()
                .map_err(|_| must_be_one_of(&TaskStatus::ALL.map(TaskStatus::as_str)))
        })
    }

    /// Reads `embedding_model_id`: which tasks to list.
    pub(super) fn model(&mut self) -> Option<ModelId> {
        self.read("embedding_model_id", |text| {
            ModelId::new(text).map_err(|invalid| invalid.to_string())
        })
    }

    /// Reads `created_after` and `created_before`, the bounds of the time of creation.
    ///
    /// Each may be absent.
    pub(super) fn created(&mut self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let from = self.read("created_after", time);
        let until = self.read("created_before", time);
        if let (Some((from, _)), Some((until, _))) = (from, until)
            && from >= until
        {
            self.refuse("created_before", "must be later than `created_after`");
        }
        (
            from.map(|(_, second)| second),
            until.map(|(_, second)| second),
        )
    }

    /// Reads `limit`: the rows of a list page.
    pub(super) fn limit(&mut self) -> u32 {
        let limit = self.read("limit", |text| whole_number(text, MAX_LIMIT));
        limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// Reads `cursor`, and returns its place in `listing`, as `place` parses it.
    pub(super) fn cursor<T>(
        &mut self,
        listing: &str,
        place: impl FnOnce(String) -> Option<T>,
    ) -> Option<T> {
        self.read("cursor", |text| {
            let decoded = cursor::decode(listing, text);
            decoded.and_then(place).ok_or_else(|| {
                "is damaged or belongs to another query: pass the cursor of the last response unchanged, with the same filters".into()
            })
        })
    }

    /// Returns whether a parameter is given, readable or not.
    pub(super) fn has(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|(name, _)| name == parameter)
    }

    /// Adds a validation error for a parameter.
    pub(super) fn refuse(&mut self, parameter: &str, detail: &str) {
        self.errors.in_query(parameter, detail);
    }

    /// Reads the value of a parameter with `read`. Returns `None` if it is absent or invalid.
    fn read<T>(
        &mut self,
        parameter: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let mut parameters = self.parameters.iter();
        let (_, value) = parameters.find(|(name, _)| name == parameter)?;
        read(value.as_deref()?)
            .map_err(|detail| self.errors.in_query(parameter, detail))
            .ok()
    }
}

/// Reads a whole number from 1 to `max`, in digits only: no sign, no space.
fn whole_number(text: &str, max: u32) -> Result<u32, String> {
    let is_digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = is_digits.then(|| text.parse().ok()).flatten();
    number
        .filter(|n| (1..=max).contains(n))
        .ok_or_else(|| format!("must be a whole number from 1 to {max}"))
}

/// Reads a time in RFC 3339. Returns it and the first whole second that is not before it.
///
/// Tasks are created at whole seconds, so the second is as good a bound as the time.
fn time(text: &str) -> Result<(DateTime<Utc>, DateTime<Utc>), String> {
    let example = "must be a time in RFC 3339, such as 2024-05-21T12:00:00Z";
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| {
        if text.contains(' ') {
            format!("{example}; in a query write the `+` of an offset as `%2B`")
        } else {
            example.to_owned()
        }
    })?;
    let second = time.timestamp() + i64::from(time.timestamp_subsec_nanos() > 0);
    let second = DateTime::from_timestamp_secs(second);
    second
        .filter(|second| (0..=9999).contains(&second.year()))
        .map(|second| (time.to_utc(), second))
        .ok_or_else(|| "must be in the years 0000 to 9999 of UTC".to_owned())
}

fn must_be_one_of(words: &[&str]) -> String {
    format!("must be one of {}", words.join(", "))
}

/// Decodes a name or value strictly (application/x-www-form-urlencoded, WHATWG URL).
fn decode(text: &str) -> Result<String, &'static str> {
    let text = text.replace('+', " ");
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let after = rest.get(at + 1..).unwrap_or_default();
        match after {
            [a, b, tail @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest = tail,
            _ => {
                return Err("has a `%` not followed by two hexadecimal digits: write `%` as `%25`");
            }
        }
    }
    let decoded = percent_decode_str(&text).decode_utf8();
    decoded
        .map(|text| text.into_owned())
        .map_err(|_| "is not UTF-8 after percent-decoding")
}

#[cfg(test)]
mod tests;
