//! Identifiers, checked and quoted. An object id is never an identifier.

/// The most bytes of a name in PostgreSQL (`NAMEDATALEN` less one). PostgreSQL truncates a longer
/// name, which then names another table.
const MAX_BYTES: usize = 63;

/// A name of a table, a schema or a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identifier(String);

impl Identifier {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        match text.len() {
            0 => Err("a name must not be empty".to_owned()),
            1..=MAX_BYTES if !text.contains('\0') => Ok(Self(text.to_owned())),
            1..=MAX_BYTES => Err("a name must not contain a null character".to_owned()),
            bytes => Err(format!(
                "a name has at most {MAX_BYTES} bytes in PostgreSQL, and `{text}` has {bytes}"
            )),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it is written in a statement.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// A table, with its schema if one is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Table {
    pub(super) schema: Option<Identifier>,
    pub(super) name: Identifier,
}

impl Table {
    /// The table as it is written in a statement.
    pub(super) fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", schema.quoted(), self.name.quoted()),
            None => self.name.quoted(),
        }
    }

    /// The table as it is written for a person.
    pub(super) fn shown(&self) -> String {
        match &self.schema {
            Some(schema) => format!("`{}`.`{}`", schema.as_str(), self.name.as_str()),
            None => format!("`{}`", self.name.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_it_holds() {
        for (text, quoted) in [
            ("items", r#""items""#),
            ("Text-3.5 large", r#""Text-3.5 large""#),
            (r#"a"; DROP TABLE b; --"#, r#""a""; DROP TABLE b; --""#),
            ("имя", r#""имя""#),
        ] {
            assert_eq!(Identifier::new(text).unwrap().quoted(), quoted);
        }
    }

    #[test]
    fn a_name_that_postgresql_would_cut_off_is_refused() {
        assert!(Identifier::new(&"a".repeat(63)).is_ok());
        assert!(Identifier::new(&"я".repeat(32)).is_err()); // 64 bytes
        for text in ["", "a\0b", &"a".repeat(64)] {
            assert!(Identifier::new(text).is_err(), "{text:?}");
        }
    }
}
