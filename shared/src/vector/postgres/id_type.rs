//! The type of the column that holds the ids, and which ids it can hold.

use crate::vector::port::{VectorError, VectorErrorKind};
use tokio_postgres::types::{Oid, Type};

/// The type of the column that holds the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdType {
    /// `text`, or `varchar` with its greatest length in characters.
    Text(Option<usize>),
    /// `uuid`.
    Uuid,
    /// `smallint`, `integer` or `bigint`, with its number of bits.
    Integer(u32),
}

/// The names of the types, for the text of an error.
pub(super) const USABLE: &str = "text, varchar, uuid, smallint, integer or bigint";

impl IdType {
    /// The array of ids in a statement. It is sent as text, after each id was checked.
    pub(super) fn parameter(self) -> &'static str {
        match self {
            Self::Text(_) => "$1::text[]",
            Self::Uuid => "$1::text[]::uuid[]",
            Self::Integer(16) => "$1::text[]::smallint[]",
            Self::Integer(32) => "$1::text[]::integer[]",
            Self::Integer(_) => "$1::text[]::bigint[]",
        }
    }

    /// Whether PostgreSQL compares values of the two types, and can use an index for that.
    pub(super) fn compares_with(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// Checks that the column can hold all of these ids.
    pub(super) fn check(self, ids: &[&str]) -> Result<(), VectorError> {
        if ids.iter().all(|id| self.can_be(id)) {
            return Ok(());
        }
        Err(VectorError {
            kind: VectorErrorKind::InvalidId,
            detail: self.refusal(),
            code: "not of the column's type".to_owned(),
            source: None,
        })
    }

    /// Whether the column can hold an id. A value of the type can be written in several forms. Only
    /// one of them is an id, so that two ids never mean the same row.
    pub(super) fn can_be(self, id: &str) -> bool {
        match self {
            Self::Text(None) => true,
            Self::Text(Some(most)) => id.len() <= most || id.chars().count() <= most,
            Self::Uuid => {
                let is_form = |(at, c): (usize, u8)| match at {
                    8 | 13 | 18 | 23 => c == b'-',
                    _ => matches!(c, b'0'..=b'9' | b'a'..=b'f'),
                };
                id.len() == 36 && id.bytes().enumerate().all(is_form)
            }
            Self::Integer(bits) => id.parse::<i64>().is_ok_and(|number| {
                // All bits from the sign on are equal.
                let fits = [0, -1].contains(&(number >> (bits - 1)));
                fits && number.to_string() == id
            }),
        }
    }

    /// Why the column cannot hold an id, as one sentence for the person who reads the task.
    pub(super) fn refusal(self) -> String {
        match self {
            Self::Text(most) => {
                let most = most.unwrap_or_default();
                format!("The vector store's ids have at most {most} characters")
            }
            Self::Uuid => {
                "The vector store's ids are UUIDs, in lower case and with hyphens".to_owned()
            }
            Self::Integer(bits) => {
                format!("The vector store's ids are whole numbers of {bits} bits, in plain digits")
            }
        }
    }

    /// The type with this OID and modifier. For a domain, they are those of the type below it.
    /// `None`: the type cannot be used for ids.
    pub(super) fn of(oid: Oid, modifier: i32) -> Option<Self> {
        match Type::from_oid(oid)? {
            Type::TEXT => Some(Self::Text(None)),
            // The modifier is the length plus four, or -1 if there is no limit.
            Type::VARCHAR => Some(Self::Text(usize::try_from(modifier - 4).ok())),
            Type::UUID => Some(Self::Uuid),
            Type::INT2 => Some(Self::Integer(16)),
            Type::INT4 => Some(Self::Integer(32)),
            Type::INT8 => Some(Self::Integer(64)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_form_that_is_an_id() {
        let good = [
            (IdType::Uuid, "0190a5f0-7b1c-7def-8a3b-0123456789ab"),
            (IdType::Integer(16), "-32768"),
            (IdType::Integer(16), "32767"),
            (IdType::Integer(32), "-2147483648"),
            (IdType::Integer(32), "2147483647"),
            (IdType::Integer(64), "0"),
            (IdType::Integer(64), "-9223372036854775808"),
            (IdType::Integer(64), "9223372036854775807"),
            (IdType::Text(Some(3)), "яяя"),
            (IdType::Text(None), "'; DROP TABLE items; --"),
        ];
        for (kind, id) in good {
            assert!(kind.check(&[id]).is_ok(), "{kind:?} {id}");
        }
        let bad = [
            (IdType::Uuid, "0190A5F0-7B1C-7DEF-8A3B-0123456789AB"),
            (IdType::Uuid, "{0190a5f0-7b1c-7def-8a3b-0123456789ab}"),
            (IdType::Uuid, "0190a5f07b1c7def8a3b0123456789ab"),
            (IdType::Uuid, "я190a5f0-7b1c-7def-8a3b-0123456789a"),
            (IdType::Integer(64), "007"),
            (IdType::Integer(64), "+7"),
            (IdType::Integer(64), "-0"),
            (IdType::Integer(64), " 7"),
            (IdType::Integer(64), "7.0"),
            (IdType::Integer(16), "-32769"),
            (IdType::Integer(16), "32768"),
            (IdType::Integer(32), "-2147483649"),
            (IdType::Integer(32), "2147483648"),
            (IdType::Integer(64), "9223372036854775808"),
            (IdType::Text(Some(3)), "яяяя"),
        ];
        for (kind, id) in bad {
            let error = kind.check(&["7", id]).unwrap_err();
            assert_eq!(error.kind, VectorErrorKind::InvalidId, "{kind:?} {id}");
        }
    }
}
