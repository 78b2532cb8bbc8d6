//! The namespace of the metrics.

use std::fmt;
use std::str::FromStr;

/// The most bytes of a namespace. CloudWatch allows 255 characters, but a longer namespace than
/// this could make a line longer than [`super::MAX_LINE_BYTES`].
pub const MAX_NAMESPACE_BYTES: usize = 64;

/// A namespace of CloudWatch metrics ("CloudWatch concepts", "PutMetricData"). It has letters,
/// digits and `.-_/#: `, not only spaces, no colon at the beginning, and is not one of AWS's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsNamespace(String);

impl MetricsNamespace {
    /// The values of the setting, for the text of an error.
    pub const CHOICES: &str = "at most 64 of `A-Z a-z 0-9 . - _ / # :` and space that do not begin with `:` or `AWS/`, or leave it empty \
                               for no metrics";

    /// The namespace.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MetricsNamespace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_known = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
        let is_good = !text.trim().is_empty()
            && text.len() <= MAX_NAMESPACE_BYTES
            && text.chars().all(is_known)
            && !text.starts_with(':')
            && !text.starts_with("AWS/");
        if is_good {
            Ok(Self(text.to_owned()))
        } else {
            Err(())
        }
    }
}

impl fmt::Display for MetricsNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cloudwatch_takes_is_taken_and_nothing_else() {
        let longest = "x".repeat(MAX_NAMESPACE_BYTES);
        for good in ["DeletionTasks/live-1", "a", "A b.c_d#e:f", &longest] {
            assert!(good.parse::<MetricsNamespace>().is_ok(), "{good}");
        }
        let too_long = "x".repeat(MAX_NAMESPACE_BYTES + 1);
        for bad in [
            "",
            " ",
            ":a",
            "AWS/Lambda",
            "a\"b",
            "a\\b",
            "é",
            "a\tb",
            &too_long,
        ] {
            assert!(bad.parse::<MetricsNamespace>().is_err(), "{bad}");
        }
        assert!(MetricsNamespace::CHOICES.contains(&MAX_NAMESPACE_BYTES.to_string()));
    }
}
