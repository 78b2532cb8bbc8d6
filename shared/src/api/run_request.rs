//! The request of `/run`, validated in one pass that collects every validation error.

use super::MAX_BODY_BYTES;
use super::json::{Read, Reader, Skip};
use super::problem::Problem;
use super::query::Query;
use super::validation::{ValidationErrors, describe_unknown};
use crate::task::{DistinctIds, InvalidName, ModelId, ObjectIds, RequestReason, TaskId};
use lambda_http::Request;
use lambda_http::http::header;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess};
use std::iter;

const FIELDS: &[&str] = &["embedding_model_id", "task_id", "object_ids", "reason"];
const REQUIRED: &[&str] = &["embedding_model_id", "object_ids"];

/// A valid request of `/run`.
#[derive(Debug)]
pub(super) struct RunRequest {
    pub(super) model: ModelId,
    pub(super) task_id: Option<TaskId>,
    /// Each once, in the order of their first mention.
    pub(super) object_ids: DistinctIds,
    pub(super) reason: Option<RequestReason>,
}

impl RunRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// 415 for a content type that is not JSON or for an encoded body, 413 for a body that is too
    /// large, 400 for a body that is not JSON, 422 for validation errors.
    pub(super) fn read(request: &Request) -> Result<Self, Problem> {
        check_content_type(request)?;
        check_content_encoding(request)?;
        Query::of(request, &[]).finish()?;
        let body = request.body();
        if body.len() > MAX_BODY_BYTES {
            return Err(Problem::body_too_large());
        }
        Self::parse(body)
    }

    fn parse(body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Err(Problem::bad_request(
                "The body is empty: send a JSON object",
            ));
        }
        let text = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to();
            Problem::bad_request(format!("The body is not valid UTF-8 from byte {at} on"))
        })?;
        if text.starts_with('\u{feff}') {
            return Err(Problem::bad_request(
                "The body begins with a byte order mark (U+FEFF): send UTF-8 without it",
            ));
        }
        let draft = match Draft::read(text) {
            // No field is a number, so it does not matter how large a number is.
            Err(error) if is_out_of_range(&error) => Draft::read(&with_small_numbers(text)),
            other => other,
        };
        let draft = draft.map_err(|error| Problem::bad_request(not_json(&error)))?;
        Ok(Self {
            model: draft.errors.finish_with(draft.model)?,
            task_id: draft.task_id,
            object_ids: draft.object_ids.distinct(),
            reason: draft.reason,
        })
    }
}

/// Checks the content type. It may be absent, else it must be JSON.
fn check_content_type(request: &Request) -> Result<(), Problem> {
    let Some(given) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let given = String::from_utf8_lossy(given.as_bytes()).to_ascii_lowercase();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let subtype = essence.strip_prefix("application/").unwrap_or_default();
    if subtype == "json" || (subtype.ends_with("+json") && subtype.len() > 5) {
        Ok(())
    } else {
        Err(Problem::unsupported_media_type(essence))
    }
}

/// Checks that the body is not encoded, since no encoding is undone.
fn check_content_encoding(request: &Request) -> Result<(), Problem> {
    for given in request.headers().get_all(header::CONTENT_ENCODING) {
        let given = String::from_utf8_lossy(given.as_bytes()).to_ascii_lowercase();
        let mut codings = given.split(',').map(str::trim);
        if let Some(coding) = codings.find(|coding| !["", "identity"].contains(coding)) {
            return Err(Problem::unsupported_content_encoding(coding));
        }
    }
    Ok(())
}

/// Returns whether the error is a number that is larger than serde_json reads.
///
/// serde_json tells these errors apart only by their text.
fn is_out_of_range(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("number out of range")
}

/// Returns the text with every number replaced by `0` and white space, so that all else keeps its
/// place.
fn with_small_numbers(text: &str) -> String {
    let mut small = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| matches!(c, '"' | '-' | '0'..='9')) {
        let (before, from) = rest.split_at(start);
        small.push_str(before);
        let is_string = from.starts_with('"');
        let end = if is_string {
            end_of_string(from)
        } else {
            let is_of_it = |c: char| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E');
            from.find(|c| !is_of_it(c)).unwrap_or(from.len())
        };
        let (token, after) = from.split_at(end);
        if is_string || serde_json::from_str::<IgnoredAny>(token).is_err() {
            small.push_str(token);
        } else {
            small.push('0');
            small.extend(iter::repeat_n(' ', token.len() - 1));
        }
        rest = after;
    }
    small + rest
}

/// Returns the end of the JSON string at the start of the text.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

fn not_json(error: &serde_json::Error) -> String {
    let error = error.to_string();
    match error.strip_prefix("recursion limit exceeded") {
        Some(place) => format!("The body is nested too deeply{place}"),
        None => format!("The body is not JSON: {error}"),
    }
}

/// The parts of a request that have been read so far.
#[derive(Default)]
struct Draft {
    errors: ValidationErrors,
    model: Option<ModelId>,
    task_id: Option<TaskId>,
    object_ids: ObjectIds,
    reason: Option<RequestReason>,
}

impl Draft {
    fn read(text: &str) -> serde_json::Result<Self> {
        let mut draft = Self::default();
        let mut json = serde_json::Deserializer::from_str(text);
        Read(Root(&mut draft)).deserialize(&mut json)?;
        json.end()?;
        Ok(draft)
    }
}

/// The whole body.
struct Root<'a>(&'a mut Draft);

impl<'de> Reader<'de> for Root<'_> {
    type Output = ();

    fn other(self, kind: &'static str) {
        let detail = format!("must be a JSON object, got {kind}");
        self.0.errors.in_body("", detail);
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let draft = self.0;
        let mut given = Vec::new();
        while let Some(key) = object.next_key::<String>()? {
            let Some(field) = FIELDS.iter().find(|field| **field == key) else {
                let detail = describe_unknown(&key, FIELDS);
                draft.errors.in_body(pointer_to(&key), detail);
                object.next_value_seed(Read(Skip))?;
                continue;
            };
            if given.contains(field) {
                let detail = "is given more than once";
                draft.errors.in_body(pointer_to(&key), detail);
                object.next_value_seed(Read(Skip))?;
                continue;
            }
            given.push(*field);
            match *field {
                "object_ids" => object.next_value_seed(Read(IdList(draft)))?,
                "task_id" => {
                    let name = Name::of(field, TaskId::new, &mut draft.errors);
                    draft.task_id = object.next_value_seed(Read(name))?;
                }
                "reason" => {
                    let name = Name::of(field, RequestReason::new, &mut draft.errors);
                    draft.reason = object.next_value_seed(Read(name))?;
                }
                _ => {
                    let name = Name::of(field, ModelId::new, &mut draft.errors);
                    draft.model = object.next_value_seed(Read(name))?;
                }
            }
        }
        for field in REQUIRED.iter().filter(|field| !given.contains(field)) {
            draft.errors.in_body(pointer_to(field), "is required");
        }
        Ok(())
    }
}

/// Returns a JSON Pointer to a key of the body. An absurdly long key is cut.
fn pointer_to(key: &str) -> String {
    let shown: String = key.chars().take(100).collect();
    let cut = if shown.len() < key.len() { "…" } else { "" };
    format!("/{}{cut}", shown.replace('~', "~0").replace('/', "~1"))
}

/// The value of `object_ids`.
///
/// Each id is validated as soon as it is read, so that a large request is held in memory only once.
struct IdList<'a>(&'a mut Draft);

impl<'de> Reader<'de> for IdList<'_> {
    type Output = ();

    fn other(self, kind: &'static str) {
        let detail = format!("must be a list of strings, got {kind}");
        self.0.errors.in_body("/object_ids", detail);
    }

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let draft = self.0;
        for position in 0_usize.. {
            let id = ObjectIdAt { position, draft };
            if array.next_element_seed(Read(id))?.is_some() {
                continue;
            }
            if position == 0 {
                draft.errors.in_body("/object_ids", "must not be empty");
            }
            break;
        }
        Ok(())
    }
}

/// One of the object ids.
struct ObjectIdAt<'a> {
    position: usize,
    draft: &'a mut Draft,
}

impl ObjectIdAt<'_> {
    fn refuse(self, detail: String) {
        let pointer = format!("/object_ids/{}", self.position);
        self.draft.errors.in_body(pointer, detail);
    }
}

impl Reader<'_> for ObjectIdAt<'_> {
    type Output = ();

    fn string(self, text: &str) {
        if let Err(invalid) = self.draft.object_ids.push(text) {
            self.refuse(invalid.to_string());
        }
    }

    fn other(self, kind: &'static str) {
        self.refuse(must_be_a_string(kind));
    }
}

/// A string that must follow a rule.
///
/// It is read as `None` with a validation error, or if it is null and the field is optional.
struct Name<'a, T> {
    field: &'static str,
    new: fn(String) -> Result<T, InvalidName>,
    errors: &'a mut ValidationErrors,
}

impl<'a, T> Name<'a, T> {
    fn of(
        field: &'static str,
        new: fn(String) -> Result<T, InvalidName>,
        errors: &'a mut ValidationErrors,
    ) -> Self {
        Self { field, new, errors }
    }

    fn refuse(self, detail: String) -> Option<T> {
        self.errors.in_body(pointer_to(self.field), detail);
        None
    }
}

impl<T> Reader<'_> for Name<'_, T> {
    type Output = Option<T>;

    fn string(self, text: &str) -> Option<T> {
        match (self.new)(text.to_owned()) {
            Ok(name) => Some(name),
            Err(invalid) => self.refuse(invalid.to_string()),
        }
    }

    fn null(self) -> Option<T> {
        if REQUIRED.contains(&self.field) {
            self.other("null")
        } else {
            None
        }
    }

    fn other(self, kind: &'static str) -> Option<T> {
        self.refuse(must_be_a_string(kind))
    }
}

fn must_be_a_string(kind: &str) -> String {
    format!("must be a string, got {kind}")
}

#[cfg(test)]
mod tests;
