//! The names of tasks, embedding models and objects. Each is validated once, where it enters.

use serde::Serialize;
use std::fmt;

/// The longest task id, in bytes of UTF-8.
pub const MAX_TASK_ID_BYTES: usize = 255;
/// The longest embedding model id, in bytes of UTF-8.
pub const MAX_MODEL_ID_BYTES: usize = 128;
/// The longest object id, in bytes of UTF-8.
pub const MAX_OBJECT_ID_BYTES: usize = 1024;
/// The longest reason of a request, in bytes of UTF-8.
pub const MAX_REQUEST_REASON_BYTES: usize = 256;

/// The reason why a text is not a valid name. Every message begins with "must".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text has no characters.
    #[error("must not be empty")]
    Empty,
    /// The text is longer than the rule allows.
    #[error("must be at most {max} bytes of UTF-8, got {bytes}")]
    TooLong {
        /// The longest allowed.
        max: usize,
        /// How long it is.
        bytes: usize,
    },
    /// The text holds a control character.
    #[error("must not contain control characters, got U+{:04X}", u32::from(*.0))]
    ControlCharacter(char),
    /// The text holds white space, which a task id must not contain.
    #[error("must not contain white space, got U+{:04X}", u32::from(*.0))]
    WhiteSpace(char),
}

fn check(text: &str, max: usize) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty);
    }
    if text.len() > max {
        let bytes = text.len();
        return Err(InvalidName::TooLong { max, bytes });
    }
    if is_plain(text) {
        return Ok(());
    }
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(InvalidName::ControlCharacter(c)),
        None => Ok(()),
    }
}

/// Returns whether a text consists of visible ASCII characters.
///
/// Most names do, and such a name needs no further check. The loop reads all bytes without a
/// branch, so that the processor can check many at a time.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .fold(true, |plain, byte| plain & byte.is_ascii_graphic())
}

/// The name of a task: 1 to 255 bytes of UTF-8 without control characters or white space.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct TaskId(String);

impl TaskId {
    /// Validates `text` as a task's name.
    ///
    /// # Errors
    /// Returns the rule that the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        check(&text, MAX_TASK_ID_BYTES)?;
        if is_plain(&text) {
            return Ok(Self(text));
        }
        match text.chars().find(|c| c.is_whitespace()) {
            Some(c) => Err(InvalidName::WhiteSpace(c)),
            None => Ok(Self(text)),
        }
    }

    /// Creates a name from a UUIDv7 (RFC 9562). Such names sort by the time of their creation.
    pub fn from_uuid(uuid: uuid::Uuid) -> Self {
        Self(uuid.to_string())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an embedding model: 1 to 128 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ModelId(String);

impl ModelId {
    /// Validates `text` as a model's name.
    ///
    /// # Errors
    /// Returns the rule that the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        check(&text, MAX_MODEL_ID_BYTES)?;
        Ok(Self(text))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a caller wants the objects deleted, such as a ticket or an article of a law: 1 to 256 bytes
/// of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestReason(String);

impl RequestReason {
    /// Validates `text` as the reason of a request.
    ///
    /// # Errors
    /// Returns the rule that the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        check(&text, MAX_REQUEST_REASON_BYTES)?;
        Ok(Self(text))
    }

    /// The reason as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Validates the name of an object in vector storage: 1 to 1,024 bytes of UTF-8 without control
/// characters.
///
/// # Errors
/// Returns the rule that the text breaks.
pub fn check_object_id(text: &str) -> Result<(), InvalidName> {
    check(text, MAX_OBJECT_ID_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_script_are_welcome() {
        for name in [
            "a",
            "🗑️",
            "a/b",
            "..",
            "100%",
            "naïve",
            "日本語",
            "a#b",
            "T#x",
        ] {
            assert!(TaskId::new(name).is_ok(), "{name:?}");
            assert!(ModelId::new(name).is_ok(), "{name:?}");
            assert!(check_object_id(name).is_ok(), "{name:?}");
        }
        assert!(check_object_id("white space is fine here").is_ok());
        assert!(ModelId::new("and here").is_ok());
    }

    #[test]
    fn lengths_are_counted_in_bytes() {
        assert!(TaskId::new("é".repeat(127)).is_ok());
        assert_eq!(
            TaskId::new("é".repeat(128)),
            Err(InvalidName::TooLong {
                max: 255,
                bytes: 256
            })
        );
        assert!(ModelId::new("m".repeat(128)).is_ok());
        assert!(ModelId::new("m".repeat(129)).is_err());
        assert!(check_object_id(&"o".repeat(1024)).is_ok());
        assert!(check_object_id(&"o".repeat(1025)).is_err());
    }

    #[test]
    fn control_characters_are_refused_everywhere_and_white_space_in_task_ids() {
        for c in ['\0', '\n', '\t', '\u{7f}', '\u{85}'] {
            let name = format!("a{c}b");
            assert_eq!(TaskId::new(&*name), Err(InvalidName::ControlCharacter(c)));
            assert_eq!(ModelId::new(&*name), Err(InvalidName::ControlCharacter(c)));
            assert_eq!(
                check_object_id(&name),
                Err(InvalidName::ControlCharacter(c))
            );
        }
        for c in [' ', '\u{a0}', '\u{2003}', '\u{3000}'] {
            assert_eq!(
                TaskId::new(format!("a{c}")),
                Err(InvalidName::WhiteSpace(c))
            );
        }
        assert_eq!(TaskId::new(""), Err(InvalidName::Empty));
    }
}
