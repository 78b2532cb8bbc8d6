//! The query string, read strictly: an unknown, repeated or oddly encoded parameter is a fault, not a surprise.

use super::cursor;
use super::problem::{Faults, Problem, did_you_mean};
use crate::store::Scope;
use crate::task::{ModelId, OutcomeFilter, TaskId, TaskStatus};
use lambda_http::Request;
use percent_encoding::percent_decode_str;

/// Rows a list page has when the caller does not say.
pub const DEFAULT_LIMIT: usize = 100;
/// The most rows a list page has.
pub const MAX_LIMIT: usize = 1000;

/// What `outcome` may be.
const OUTCOMES: [(&str, OutcomeFilter); 4] = [
    ("deleted", OutcomeFilter::Deleted),
    ("failed", OutcomeFilter::Failed),
    ("remaining", OutcomeFilter::Remaining),
    ("all", OutcomeFilter::All),
];

/// A request's query parameters, and what is wrong with them so far.
pub(super) struct Query {
    parameters: Vec<(String, String)>,
    /// Names of parameters that are there, though their value cannot be read.
    unreadable: Vec<String>,
    faults: Faults,
}

impl Query {
    /// Reads the query. Only `known` parameters may be in it, each once.
    pub(super) fn of(request: &Request, known: &[&str]) -> Self {
        let mut parameters: Vec<(String, String)> = Vec::new();
        let mut unreadable = Vec::new();
        let mut faults = Faults::default();
        let query = request.uri().query().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = match (decode(name), decode(value)) {
                (Ok(name), Ok(value)) => (name, value),
                (Ok(name), Err(detail)) => {
                    faults.in_query(name.as_str(), detail);
                    unreadable.push(name);
                    continue;
                }
                (Err(detail), _) => {
                    faults.in_query(name, detail);
                    continue;
                }
            };
            if !known.contains(&name.as_str()) {
                let detail = did_you_mean(&name, known);
                faults.in_query(name, detail);
            } else if parameters.iter().any(|(other, _)| *other == name) {
                faults.in_query(name, "is given more than once");
            } else {
                parameters.push((name, value));
            }
        }
        Self {
            parameters,
            unreadable,
            faults,
        }
    }

    /// Ends the reading: 422 if anything was wrong.
    pub(super) fn finish(self) -> Result<(), Problem> {
        self.faults.finish()
    }

    /// Ends the reading of a query that must name a task.
    pub(super) fn finish_with(self, id: Option<TaskId>) -> Result<TaskId, Problem> {
        self.faults.finish()?;
        // Without a fault there is an id.
        id.ok_or_else(|| Problem::bad_request("The query names no task"))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.parameters.iter().position(|(n, _)| n == name)?;
        Some(self.parameters.swap_remove(at).1)
    }

    /// `task_id`, which must be there. `None` only beside a fault.
    pub(super) fn task_id(&mut self) -> Option<TaskId> {
        let Some(text) = self.take("task_id") else {
            if !self.has("task_id") {
                self.faults.in_query("task_id", "is required");
            }
            return None;
        };
        match TaskId::new(text) {
            Ok(id) => Some(id),
            Err(fault) => {
                self.faults.in_query("task_id", fault.to_string());
                None
            }
        }
    }

    /// `attempt`: a whole number from 1.
    pub(super) fn attempt(&mut self) -> Option<u32> {
        let text = self.take("attempt")?;
        let attempt = whole_number(&text).and_then(|n| u32::try_from(n).ok());
        if attempt.is_none_or(|n| n == 0) {
            let detail = format!("must be a whole number from 1 to {}", u32::MAX);
            self.faults.in_query("attempt", detail);
        }
        attempt
    }

    /// `scope`: only `all` means anything.
    pub(super) fn scope(&mut self) -> Scope {
        match self.take("scope").as_deref() {
            None => Scope::NotDeleted,
            Some("all") => Scope::All,
            Some(_) => {
                let detail = "must be `all`, or left out to try again only what was not deleted";
                self.faults.in_query("scope", detail);
                Scope::NotDeleted
            }
        }
    }

    /// `outcome`: which objects to show.
    pub(super) fn outcome(&mut self) -> Option<OutcomeFilter> {
        let text = self.take("outcome")?;
        let found = OUTCOMES.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words = OUTCOMES.map(|(word, _)| word).join(", ");
            self.faults
                .in_query("outcome", format!("must be one of {words}"));
        }
        found.map(|(_, filter)| *filter)
    }

    /// `status`: which tasks to list.
    pub(super) fn status(&mut self) -> Option<TaskStatus> {
        let text = self.take("status")?;
        let status = text.parse().ok();
        if status.is_none() {
            let words = TaskStatus::ALL.map(TaskStatus::as_str).join(", ");
            self.faults
                .in_query("status", format!("must be one of {words}"));
        }
        status
    }

    /// `embedding_model_id`: which tasks to list.
    pub(super) fn model(&mut self) -> Option<ModelId> {
        let model = ModelId::new(self.take("embedding_model_id")?);
        model
            .map_err(|fault| {
                self.faults
                    .in_query("embedding_model_id", fault.to_string())
            })
            .ok()
    }

    /// `limit`: rows of a list page.
    pub(super) fn limit(&mut self) -> usize {
        let Some(text) = self.take("limit") else {
            return DEFAULT_LIMIT;
        };
        match whole_number(&text).filter(|n| (1..=MAX_LIMIT).contains(n)) {
            Some(limit) => limit,
            None => {
                let detail = format!("must be a whole number from 1 to {MAX_LIMIT}");
                self.faults.in_query("limit", detail);
                DEFAULT_LIMIT
            }
        }
    }

    /// `cursor`: the place in the listing that `query` asks for.
    pub(super) fn cursor(&mut self, query: &str) -> Option<String> {
        let text = self.take("cursor")?;
        let place = cursor::decode(query, &text);
        if place.is_none() {
            self.faults.in_query("cursor", cursor::DAMAGED);
        }
        place
    }

    /// Something else that is wrong with a parameter.
    pub(super) fn fault(&mut self, parameter: &str, detail: &str) {
        self.faults.in_query(parameter, detail);
    }

    /// Whether a parameter is there and not yet taken.
    pub(super) fn has(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|(name, _)| name == parameter)
            || self.unreadable.iter().any(|name| name == parameter)
    }
}

/// Digits only: no sign, no space.
fn whole_number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
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
                return Err(
                    "has a `%` that two hexadecimal digits do not follow: write `%` as `%25`",
                );
            }
        }
    }
    let decoded = percent_decode_str(&text).decode_utf8();
    decoded
        .map(|text| text.into_owned())
        .map_err(|_| "is not UTF-8 once it is percent-decoded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::Body;
    use lambda_http::http;

    const KNOWN: &[&str] = &["task_id", "attempt", "limit", "status"];

    fn query(text: &str) -> Query {
        let request = http::Request::builder().uri(format!("http://x/?{text}"));
        Query::of(&request.body(Body::Empty).unwrap(), KNOWN)
    }

    fn faults(query: Query) -> Vec<String> {
        let problem = query.finish().unwrap_err();
        assert_eq!(problem.kind.status(), 422);
        problem
            .errors
            .iter()
            .map(|fault| serde_json::to_string(fault).unwrap())
            .collect()
    }

    #[test]
    fn a_task_id_of_any_script_survives_the_query() {
        for (text, id) in [
            ("delete-xyz", "delete-xyz"),
            ("%F0%9F%97%91%EF%B8%8F", "🗑️"),
            ("a%2Fb", "a/b"),
            ("a/b", "a/b"),
            ("..", ".."),
            ("100%25", "100%"),
            ("a%2Bb", "a+b"),
            ("a=b", "a=b"),
            ("%26%3D%23", "&=#"),
        ] {
            let mut query = query(&format!("task_id={text}"));
            assert_eq!(query.task_id().unwrap().as_str(), id);
            query.finish().unwrap();
        }
    }

    #[test]
    fn odd_encodings_are_named() {
        for (text, word) in [
            ("task_id=%", "%25"),
            ("task_id=%zz", "%25"),
            ("task_id=a%2", "%25"),
            ("task_id=%FF", "UTF-8"),
            ("task_id=%C3%28", "UTF-8"),
            ("task_id=a+b", "white space"),
            ("task_id=a%20b", "white space"),
            ("task_id=%00", "control"),
            ("task_id=", "empty"),
            ("task_id", "empty"),
        ] {
            let mut query = query(text);
            query.task_id();
            let faults = faults(query);
            assert_eq!(faults.len(), 1, "{text}: {faults:?}");
            assert!(faults[0].contains(word), "{text}: {faults:?}");
        }
    }

    #[test]
    fn unknown_repeated_and_missing_parameters_are_all_named() {
        let mut query = query("taskId=a&limit=1&limit=2&status=Done&attempt=0&x=1");
        query.task_id();
        query.attempt();
        query.status();
        let faults = faults(query).join("\n");
        for part in [
            "did you mean `task_id`",
            "more than once",
            "pending, processing",
            "from 1",
            r#""parameter":"x""#,
            "required",
        ] {
            assert!(faults.contains(part), "{part}: {faults}");
        }
    }

    #[test]
    fn limits_are_whole_numbers_from_1_to_1000() {
        for (text, limit) in [("1", 1), ("1000", 1000), ("007", 7)] {
            assert_eq!(query(&format!("limit={text}")).limit(), limit);
        }
        for text in [
            "0",
            "-1",
            "abc",
            "",
            "1001",
            "1.5",
            "+1",
            "%201",
            "99999999999999999999999",
        ] {
            let mut query = query(&format!("limit={text}"));
            query.limit();
            assert_eq!(faults(query).len(), 1, "{text}");
        }
    }
}
