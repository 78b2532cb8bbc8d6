//! The request of `/run`, read in one pass that collects every fault.

use super::json::{Read, Reader, Skip};
use super::problem::{Faults, Problem, did_you_mean};
use crate::task::{DistinctIds, InvalidName, ModelId, ObjectIds, TaskId};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess};

const FIELDS: &[&str] = &["embedding_model_id", "task_id", "object_ids"];

/// A well-formed request of `/run`.
#[derive(Debug)]
pub(super) struct RunRequest {
    pub(super) model: ModelId,
    pub(super) task_id: Option<TaskId>,
    /// Each once, in the order of their first mention.
    pub(super) object_ids: DistinctIds,
}

impl RunRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 for what is not JSON, 422 with every fault for what breaks a rule.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Err(Problem::bad_request(
                "The body is empty: send a JSON object",
            ));
        }
        let text = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to();
            Problem::bad_request(format!("The body is not UTF-8, from byte {at} on"))
        })?;
        let mut draft = Draft::default();
        let mut json = serde_json::Deserializer::from_str(text);
        Read(Root(&mut draft))
            .deserialize(&mut json)
            .and_then(|()| json.end())
            .map_err(|error| Problem::bad_request(not_json(&error)))?;
        draft.finish()
    }
}

fn not_json(error: &serde_json::Error) -> String {
    let error = error.to_string();
    match error.strip_prefix("recursion limit exceeded") {
        Some(place) => format!("The body is nested too deeply{place}"),
        None => format!("The body is not JSON: {error}"),
    }
}

/// What has been read so far.
#[derive(Default)]
struct Draft {
    faults: Faults,
    model: Option<ModelId>,
    task_id: Option<TaskId>,
    object_ids: ObjectIds,
    /// Fields that were given, well or badly.
    given: Vec<&'static str>,
    not_an_object: bool,
}

impl Draft {
    fn finish(mut self) -> Result<RunRequest, Problem> {
        let required = |field: &str| !self.not_an_object && !self.given.contains(&field);
        for field in ["embedding_model_id", "object_ids"] {
            if required(field) {
                self.faults.at(format!("/{field}"), "is required");
            }
        }
        self.faults.finish()?;
        let model = self
            .model
            .ok_or_else(|| Problem::bad_request("The body names no model"))?;
        Ok(RunRequest {
            model,
            task_id: self.task_id,
            object_ids: self.object_ids.distinct(),
        })
    }
}

/// The whole body.
struct Root<'a>(&'a mut Draft);

impl<'de> Reader<'de> for Root<'_> {
    type Output = ();

    fn other(self, kind: &'static str) {
        self.0.not_an_object = true;
        let detail = format!("must be a JSON object, and is {kind}");
        self.0.faults.at("", detail);
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let draft = self.0;
        while let Some(key) = object.next_key::<String>()? {
            let Some(field) = FIELDS.iter().find(|field| **field == key) else {
                let detail = did_you_mean(&key, FIELDS);
                draft.faults.at(pointer_to(&key), detail);
                object.next_value_seed(Read(Skip))?;
                continue;
            };
            if draft.given.contains(field) {
                let detail = "is given more than once";
                draft.faults.at(pointer_to(&key), detail);
                object.next_value_seed(Read(Skip))?;
                continue;
            }
            draft.given.push(field);
            let faults = &mut draft.faults;
            match *field {
                "object_ids" => object.next_value_seed(Read(IdList(draft)))?,
                "task_id" => {
                    let name = Name::optional(faults, "/task_id", TaskId::new);
                    draft.task_id = object.next_value_seed(Read(name))?;
                }
                _ => {
                    let name = Name::required(faults, "/embedding_model_id", ModelId::new);
                    draft.model = object.next_value_seed(Read(name))?;
                }
            }
        }
        Ok(())
    }
}

/// A JSON Pointer to a key of the body; an absurdly long key is cut.
fn pointer_to(key: &str) -> String {
    let shown: String = key.chars().take(100).collect();
    let cut = if shown.len() < key.len() { "…" } else { "" };
    format!("/{}{cut}", shown.replace('~', "~0").replace('/', "~1"))
}

/// The value of `object_ids`. Its ids are checked as they come, so that a large request is held only once.
struct IdList<'a>(&'a mut Draft);

impl<'de> Reader<'de> for IdList<'_> {
    type Output = ();

    fn other(self, kind: &'static str) {
        let detail = format!("must be a list of strings, and is {kind}");
        self.0.faults.at("/object_ids", detail);
    }

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let draft = self.0;
        for position in 0_usize.. {
            let id = ObjectIdAt { position, draft };
            if array.next_element_seed(Read(id))?.is_some() {
                continue;
            }
            if position == 0 {
                draft.faults.at("/object_ids", "must not be empty");
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
    fn fault(self, detail: String) {
        let pointer = format!("/object_ids/{}", self.position);
        self.draft.faults.at(pointer, detail);
    }
}

impl Reader<'_> for ObjectIdAt<'_> {
    type Output = ();

    fn string(self, text: &str) {
        if let Err(fault) = self.draft.object_ids.push(text) {
            self.fault(fault.to_string());
        }
    }

    fn other(self, kind: &'static str) {
        self.fault(must_be_a_string(kind));
    }
}

fn must_be_a_string(kind: &str) -> String {
    format!("must be a string, and is {kind}")
}

/// A string that is a name; `None` where it is not, beside a fault.
struct Name<'a, T> {
    faults: &'a mut Faults,
    pointer: &'static str,
    new: fn(String) -> Result<T, InvalidName>,
    may_be_null: bool,
}

impl<'a, T> Name<'a, T> {
    fn required(
        faults: &'a mut Faults,
        pointer: &'static str,
        new: fn(String) -> Result<T, InvalidName>,
    ) -> Self {
        Self {
            faults,
            pointer,
            new,
            may_be_null: false,
        }
    }

    /// One for which null is the same as absence.
    fn optional(
        faults: &'a mut Faults,
        pointer: &'static str,
        new: fn(String) -> Result<T, InvalidName>,
    ) -> Self {
        Self {
            may_be_null: true,
            ..Self::required(faults, pointer, new)
        }
    }
}

impl<T> Reader<'_> for Name<'_, T> {
    type Output = Option<T>;

    fn string(self, text: &str) -> Option<T> {
        (self.new)(text.to_owned())
            .map_err(|fault| self.faults.at(self.pointer, fault.to_string()))
            .ok()
    }

    fn null(self) -> Option<T> {
        match self.may_be_null {
            true => None,
            false => self.other("null"),
        }
    }

    fn other(self, kind: &'static str) -> Option<T> {
        self.faults.at(self.pointer, must_be_a_string(kind));
        None
    }
}

#[cfg(test)]
mod tests;
