//! The request of `/run`, read in one pass that collects every fault.

use super::problem::{Faults, Problem, did_you_mean};
use crate::task::{MAX_CHUNK_BYTES, MAX_CHUNK_OBJECTS, ModelId, ObjectId, TaskId};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

const FIELDS: &[&str] = &["embedding_model_id", "task_id", "object_ids"];

/// A well-formed request of `/run`.
#[derive(Debug)]
pub(super) struct RunRequest {
    pub(super) model: ModelId,
    pub(super) task_id: Option<TaskId>,
    /// Each once, in the order of their first mention.
    pub(super) object_ids: Vec<ObjectId>,
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
        Root(&mut draft)
            .deserialize(&mut json)
            .and_then(|()| json.end())
            .map_err(|error| Problem::bad_request(format!("The body is not JSON: {error}")))?;
        draft.finish()
    }
}

/// What has been read so far.
#[derive(Default)]
struct Draft {
    faults: Faults,
    model: Option<ModelId>,
    task_id: Option<TaskId>,
    object_ids: Vec<ObjectId>,
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
        let object_ids = each_once(self.object_ids);
        if object_ids.len() > MAX_CHUNK_OBJECTS {
            let detail = format!(
                "must name at most {MAX_CHUNK_OBJECTS} different objects, and names {}: split them over several tasks",
                object_ids.len()
            );
            self.faults.at("/object_ids", detail);
        }
        let bytes: usize = object_ids.iter().map(|id| id.as_str().len()).sum();
        if bytes > MAX_CHUNK_BYTES {
            let detail = format!(
                "must come to at most {MAX_CHUNK_BYTES} bytes of ids, and comes to {bytes}: split them over several tasks"
            );
            self.faults.at("/object_ids", detail);
        }
        self.faults.finish()?;
        let model = self
            .model
            .ok_or_else(|| Problem::bad_request("The body names no model"))?;
        Ok(RunRequest {
            model,
            task_id: self.task_id,
            object_ids,
        })
    }

    /// Takes a string for `field`, or says what it is instead.
    fn name<T, E: fmt::Display>(
        &mut self,
        field: &str,
        value: Value,
        new: impl FnOnce(String) -> Result<T, E>,
    ) -> Option<T> {
        let result = match value {
            Value::String(text) => new(text).map_err(|fault| fault.to_string()),
            other => Err(format!("must be a string, and is {}", other.kind())),
        };
        result
            .map_err(|detail| self.faults.at(format!("/{field}"), detail))
            .ok()
    }
}

/// Drops repeated ids; the first mention stays.
fn each_once(ids: Vec<ObjectId>) -> Vec<ObjectId> {
    let mut known = HashSet::with_capacity(ids.len());
    let first: Vec<bool> = ids.iter().map(|id| known.insert(id.as_str())).collect();
    drop(known);
    let both = ids.into_iter().zip(first);
    both.filter_map(|(id, first)| first.then_some(id)).collect()
}

/// The whole body.
struct Root<'a>(&'a mut Draft);

impl<'de> DeserializeSeed<'de> for Root<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let draft = self.0;
        while let Some(key) = map.next_key::<String>()? {
            let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            let Some(field) = FIELDS.iter().find(|field| **field == key) else {
                draft.faults.at(pointer, did_you_mean(&key, FIELDS));
                map.next_value::<Value>()?;
                continue;
            };
            if draft.given.contains(field) {
                draft.faults.at(pointer, "is given more than once");
                map.next_value::<Value>()?;
                continue;
            }
            draft.given.push(field);
            match *field {
                "object_ids" => map.next_value_seed(ObjectIds(draft))?,
                "task_id" => match map.next_value()? {
                    Value::Null => {}
                    value => draft.task_id = draft.name(field, value, TaskId::new),
                },
                _ => {
                    let value = map.next_value()?;
                    draft.model = draft.name(field, value, ModelId::new);
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        let kind = Value::visit_seq(seq)?.kind();
        self.other(kind)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.other("a string")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.other("a boolean")
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.other("a number")
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.other("a number")
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.other("a number")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.other("null")
    }
}

impl Root<'_> {
    fn other<E>(self, kind: &str) -> Result<(), E> {
        self.0.not_an_object = true;
        self.0
            .faults
            .at("", format!("must be a JSON object, and is {kind}"));
        Ok(())
    }
}

/// The value of `object_ids`. Its ids are checked as they come, so that a large request is held only once.
struct ObjectIds<'a>(&'a mut Draft);

impl<'de> DeserializeSeed<'de> for ObjectIds<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectIds<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let draft = self.0;
        let mut position = 0_usize;
        while let Some(value) = seq.next_element::<Value>()? {
            let id = draft.name(&format!("object_ids/{position}"), value, ObjectId::new);
            draft.object_ids.extend(id);
            position += 1;
        }
        if position == 0 {
            draft.faults.at("/object_ids", "must not be empty");
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let kind = Value::visit_map(map)?.kind();
        self.other(kind)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.other("a string")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.other("a boolean")
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.other("a number")
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.other("a number")
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.other("a number")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.other("null")
    }
}

impl ObjectIds<'_> {
    fn other<E>(self, kind: &str) -> Result<(), E> {
        let detail = format!("must be a list of strings, and is {kind}");
        self.0.faults.at("/object_ids", detail);
        Ok(())
    }
}

/// Any JSON value: a string with its text, of all else only what it is. Nesting counts against serde_json's limit of
/// 128 levels, so that an absurdly deep body is refused, not followed.
enum Value {
    Null,
    Boolean,
    Number,
    String(String),
    Array,
    Object,
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String(_) => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }

    fn visit_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(Self::Array)
    }

    fn visit_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(Self::Object)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value::String(text.to_owned()))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
                Ok(Value::Boolean)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
                Ok(Value::Number)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
                Ok(Value::Number)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
                Ok(Value::Number)
            }

            fn visit_unit<E: Error>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Value, A::Error> {
                Value::visit_seq(seq)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
                Value::visit_map(map)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests;
