//! Words that a person can paste into a shell.

use crate::screen::safe;
use std::borrow::Cow;

/// An option with its value in a form that a shell reads.
pub(crate) fn option(name: &str, value: &str) -> String {
    // A value that begins with a hyphen would pass for another option.
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{between}{}", quoted(value))
}

/// A word in a form that a shell reads. Characters that a terminal must not get are escaped in
/// `$'…'`, which bash and zsh understand.
pub(crate) fn quoted(word: &str) -> String {
    // To zsh, `=` at the start of a word is the path of a command.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && !word.starts_with('=') && word.chars().all(is_plain) {
        return word.to_owned();
    }
    if let Cow::Borrowed(word) = safe(word) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let word = word.replace('\\', r"\\").replace('\'', r"\'");
    format!("$'{}'", safe(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word_for_a_shell() {
        for (word, expected) in [
            ("erase-4711", "erase-4711"),
            ("a b", "'a b'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("a=b", "a=b"),
            ("=ls", "'=ls'"),
            ("a\u{202e}'b\\", r"$'a\u202e\'b\\'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
        assert_eq!(option("--model", "a b"), "--model 'a b'");
        assert_eq!(option("--model", "-a b"), "--model='-a b'");
    }
}
