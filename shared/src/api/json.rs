//! Reading JSON whose values may be of any kind.
//!
//! A value of the wrong kind is a validation error, and the rest is still read.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// How to read a JSON value.
///
/// A method that is not overridden reads the value to its end and reports its kind to
/// [`Reader::other`].
pub(super) trait Reader<'de>: Sized {
    /// What the value is read into.
    type Output;

    /// Handles a value of an unexpected kind: "a string", "null" and so on.
    fn other(self, kind: &'static str) -> Self::Output;

    /// Handles a string.
    fn string(self, _text: &str) -> Self::Output {
        self.other("a string")
    }

    /// Handles null.
    fn null(self) -> Self::Output {
        self.other("null")
    }

    /// Handles an array, which messages for people call a list.
    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Output, A::Error> {
        while array.next_element_seed(Read(Skip))?.is_some() {}
        Ok(self.other("a list"))
    }

    /// Handles an object.
    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Output, A::Error> {
        while object.next_key_seed(Read(Skip))?.is_some() {
            object.next_value_seed(Read(Skip))?;
        }
        Ok(self.other("an object"))
    }
}

/// Reads a value and ignores it.
///
/// Unlike serde's `IgnoredAny` it recurses, so that serde_json refuses an absurdly deep value (more
/// than 128 levels).
pub(super) struct Skip;

impl Reader<'_> for Skip {
    type Output = ();

    fn other(self, _kind: &'static str) {}
}

/// A [`Reader`] in the form that serde needs.
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
