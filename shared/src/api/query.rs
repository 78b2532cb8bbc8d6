//! The query string, read strictly: an unknown, repeated or oddly encoded parameter is a validation
//! error.

use super::cursor;
use super::validation::{ValidationErrors, describe_unknown};
use crate::store::Scope;
use crate::task::{ModelId, OutcomeFilter, TaskId, TaskStatus};
use chrono::{DateTime, Datelike, Utc};
use lambda_http::Request;
use percent_encoding::percent_decode_str;

/// Rows a list page has when the caller does not say.
pub const DEFAULT_LIMIT: u32 = 100;
/// The most rows a list page has.
pub const MAX_LIMIT: u32 = 1000;

/// What `outcome` may be.
const OUTCOMES: [(&str, OutcomeFilter); 4] = [
    ("deleted", OutcomeFilter::Deleted),
    ("failed", OutcomeFilter::Failed),
    ("remaining", OutcomeFilter::Remaining),
    ("all", OutcomeFilter::All),
];

/// A request's query parameters, and what is wrong with them.
pub(super) struct Query {
    /// By name, each once. A value that cannot be decoded is `None`, and among the errors.
    parameters: Vec<(String, Option<String>)>,
    errors: ValidationErrors,
}

impl Query {
    /// Reads the query. Only `known` parameters may be in it, each once.
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

    /// Ends the reading: refused if anything is wrong.
    pub(super) fn finish(self) -> Result<(), ValidationErrors> {
        self.errors.finish()
    }

    /// Ends the reading of a query that must name a task.
    pub(super) fn finish_with(self, id: Option<TaskId>) -> Result<TaskId, ValidationErrors> {
        self.errors.finish_with(id)
    }

    /// `task_id`, which must be there. `None` only beside a validation error.
    pub(super) fn task_id(&mut self) -> Option<TaskId> {
        if !self.has("task_id") {
            self.refuse("task_id", "is required");
        }
        self.read("task_id", |text| {
            TaskId::new(text).map_err(|invalid| invalid.to_string())
        })
    }

    /// `attempt`: the one that the task must still be at.
    pub(super) fn attempt(&mut self) -> Option<u32> {
        self.read("attempt", |text| whole_number(text, u32::MAX))
    }

    /// `scope`: which objects to try again.
    pub(super) fn scope(&mut self) -> Scope {
        let all = self.read("scope", |text| match text {
            "all" => Ok(Scope::All),
            _ => Err("must be `all`, or left out to try again only what was not deleted".into()),
        });
        all.unwrap_or(Scope::NotDeleted)
    }

    /// `outcome`: which objects to show.
    pub(super) fn outcome(&mut self) -> Option<OutcomeFilter> {
        self.read("outcome", |text| {
            let found = OUTCOMES.iter().find(|(word, _)| *word == text);
            found
                .map(|(_, filter)| *filter)
                .ok_or_else(|| must_be_one_of(&OUTCOMES.map(|(word, _)| word)))
        })
    }

    /// `status`: which tasks to list.
    pub(super) fn status(&mut self) -> Option<TaskStatus> {
        self.read("status", |text| {
            text.parse()
                .map_err(|_| must_be_one_of(&TaskStatus::ALL.map(TaskStatus::as_str)))
        })
    }

    /// `embedding_model_id`: which tasks to list.
    pub(super) fn model(&mut self) -> Option<ModelId> {
        self.read("embedding_model_id", |text| {
            ModelId::new(text).map_err(|invalid| invalid.to_string())
        })
    }

    /// `created_after` and `created_before`: tasks created in this time, as far as it is bounded.
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

    /// `limit`: rows of a list page.
    pub(super) fn limit(&mut self) -> u32 {
        let limit = self.read("limit", |text| whole_number(text, MAX_LIMIT));
        limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// `cursor`: the place in `listing` that it stands for, as `place` reads it.
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

    /// Whether a parameter is there, readable or not.
    pub(super) fn has(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|(name, _)| name == parameter)
    }

    /// Something else is wrong with a parameter.
    pub(super) fn refuse(&mut self, parameter: &str, detail: &str) {
        self.errors.in_query(parameter, detail);
    }

    /// A parameter's value, as `read` makes it of the text. `None` where it is not there, and where
    /// it is wrong.
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

/// A whole number from 1 to `max`, in digits only: no sign, no space.
fn whole_number(text: &str, max: u32) -> Result<u32, String> {
    let is_digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = is_digits.then(|| text.parse().ok()).flatten();
    number
        .filter(|n| (1..=max).contains(n))
        .ok_or_else(|| format!("must be a whole number from 1 to {max}"))
}

/// A time in RFC 3339, and the first whole second that is not before it. Tasks are created at whole
/// seconds, so what is not before the one is not before the other.
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

/// Decodes a name or value (application/x-www-form-urlencoded, WHATWG URL), strictly.
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
