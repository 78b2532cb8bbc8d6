//! Reading JSON that may be anything: what it is instead of what was wanted is an answer, not an error.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// What to make of a JSON value, whatever it is. By default all of it is read and only its kind is told.
pub(super) trait Reader<'de>: Sized {
    /// What it is made into.
    type Output;

    /// A value of another kind than was wanted: "a string", "null" and so on.
    fn other(self, kind: &'static str) -> Self::Output;

    /// A string.
    fn string(self, _text: &str) -> Self::Output {
        self.other("a string")
    }

    /// Null.
    fn null(self) -> Self::Output {
        self.other("null")
    }

    /// An array.
    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Output, A::Error> {
        while array.next_element_seed(Read(Skip))?.is_some() {}
        Ok(self.other("an array"))
    }

    /// An object.
    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Output, A::Error> {
        while object.next_key_seed(Read(Skip))?.is_some() {
            object.next_value_seed(Read(Skip))?;
        }
        Ok(self.other("an object"))
    }
}

/// Reads a value and makes nothing of it. Nesting counts against serde_json's limit of 128 levels, so that an absurdly
/// deep body is refused, not followed.
pub(super) struct Skip;

impl Reader<'_> for Skip {
    type Output = ();

    fn other(self, _kind: &'static str) {}
}

/// A [`Reader`] as serde wants it.
pub(super) struct Read<R>(pub(super) R);

impl<'de, R: Reader<'de>> DeserializeSeed<'de> for Read<R> {
    type Value = R::Output;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<R::Output, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: Reader<'de>> Visitor<'de> for Read<R> {
    type Value = R::Output;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<R::Output, E> {
        Ok(self.0.null())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<R::Output, E> {
        Ok(self.0.other("a boolean"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<R::Output, E> {
        Ok(self.0.other("a number"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<R::Output, E> {
        Ok(self.0.other("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<R::Output, E> {
        Ok(self.0.other("a number"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<R::Output, E> {
        Ok(self.0.string(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<R::Output, A::Error> {
        self.0.array(array)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<R::Output, A::Error> {
        self.0.object(object)
    }
}
