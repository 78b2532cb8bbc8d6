//! Text of bounded length.

use serde::Serialize;
use std::fmt;

/// The most bytes of a text in JSON.
const MAX_TEXT_BYTES: usize = 150;

/// The beginning of a text that takes at most 150 bytes in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ShortText(String);

impl ShortText {
    /// The beginning of a text.
    pub fn new(text: impl fmt::Display) -> Self {
        let mut text = text.to_string();
        let mut bytes = 0;
        let end = text.char_indices().find(|(_, c)| {
            bytes += match c {
                '"' | '\\' => 2,
                '\0'..' ' => r"\u0000".len(),
                _ => c.len_utf8(),
            };
            bytes > MAX_TEXT_BYTES
        });
        if let Some((end, _)) = end {
            text.truncate(end);
        }
        Self(text)
    }
}

impl From<ShortText> for serde_json::Value {
    fn from(text: ShortText) -> Self {
        Self::String(text.0)
    }
}
