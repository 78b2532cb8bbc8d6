//! The column that holds the ids: its type, and which ids it can hold.

use super::errors::Failure;
use super::pool::{Parameter, Pool};
use super::{Facts, Relation};
use crate::vector::{VectorError, VectorErrorKind};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::{Oid, Type};

/// Of each column asked for that exists: name, type, length, whether equal means the same bytes; and whether a delete from the
/// table runs nothing but itself. One row where there is no column; no row where there is no table.
const LOOK_UP: &str = "SELECT a.attname::text, a.atttypid, a.atttypmod, coalesce(c.collisdeterministic, true), \
        t.relkind = 'r' AND NOT (t.relhastriggers OR t.relhasrules OR t.relhassubclass OR t.relrowsecurity) \
    FROM pg_catalog.pg_class AS t \
    LEFT JOIN pg_catalog.pg_attribute AS a \
        ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname::text = ANY($2) \
    LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = a.attcollation \
    WHERE t.oid = pg_catalog.to_regclass($1)";

/// The column with the id of the object that this one was derived from. Older databases of EmbeddingStudio have none.
pub(in crate::vector) const ORIGINAL_ID: &str = "original_id";

/// A column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vector) enum IdType {
    /// `text`, or `varchar` of at most so many characters.
    Text(Option<usize>),
    /// `uuid`.
    Uuid,
    /// `bigint`.
    BigInt,
}

impl IdType {
    /// The array of ids in a statement. It is always sent as text, and each id was checked before.
    pub(in crate::vector) fn parameter(self) -> &'static str {
        match self {
            Self::Text(_) => "$1::text[]",
            Self::Uuid => "$1::text[]::uuid[]",
            Self::BigInt => "$1::text[]::bigint[]",
        }
    }

    /// Refuses ids that the column cannot hold.
    pub(in crate::vector) fn check(self, ids: &[&str]) -> Result<(), VectorError> {
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

    /// Whether the column can hold an id. A value of the type has one form that counts, so that two ids never mean the same
    /// row.
    pub(in crate::vector) fn can_be(self, id: &str) -> bool {
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
            Self::BigInt => id
                .parse::<i64>()
                .is_ok_and(|number| number.to_string() == id),
        }
    }

    /// Why an id is refused: one sentence for the person who reads the task.
    pub(in crate::vector) fn refusal(self) -> String {
        match self {
            Self::Text(most) => {
                let most = most.unwrap_or_default();
                format!("The vector store's ids have at most {most} characters")
            }
            Self::Uuid => {
                "The vector store's ids are UUIDs, in lower case and with hyphens".to_owned()
            }
            Self::BigInt => {
                "The vector store's ids are whole numbers of 64 bits, in plain digits".to_owned()
            }
        }
    }

    /// From the catalog. `None`: a type whose values are no ids.
    fn of(oid: Oid, modifier: i32) -> Option<Self> {
        match Type::from_oid(oid)? {
            Type::TEXT => Some(Self::Text(None)),
            // Four more than the length; -1 where there is no limit.
            Type::VARCHAR => Some(Self::Text(usize::try_from(modifier - 4).ok())),
            Type::UUID => Some(Self::Uuid),
            Type::INT8 => Some(Self::BigInt),
            _ => None,
        }
    }
}

/// What the catalog says of a table's columns.
pub(super) struct Columns(Vec<Row>);

impl Columns {
    /// Looks at those that matter.
    pub(super) async fn look_up(pool: &Pool, relation: &Relation) -> Result<Self, Failure> {
        let table = &relation.table;
        let (name, columns) = (table.quoted(), [relation.id_column.as_str(), ORIGINAL_ID]);
        let parameters: [Parameter<'_>; 2] =
            [(&name, Type::TEXT), (&columns.as_slice(), Type::TEXT_ARRAY)];
        let rows = pool.query(LOOK_UP, &parameters).await?;
        if rows.is_empty() {
            return Err(missing(format!("Table {} does not exist", table.shown())));
        }
        Ok(Self(rows))
    }

    fn row(&self, name: &str) -> Result<Option<&Row>, Failure> {
        for row in &self.0 {
            if row.try_get::<_, Option<&str>>(0)? == Some(name) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The type of the column that holds the ids, and whether there are originals.
    pub(super) fn facts(&self, relation: &Relation) -> Result<Facts, Failure> {
        let (table, column) = (relation.table.shown(), relation.id_column.as_str());
        let Some(row) = self.row(column)? else {
            return Err(missing(format!("Table {table} has no column `{column}`")));
        };
        let unusable = |why| VectorError {
            kind: VectorErrorKind::Denied,
            detail: format!("Column `{column}` of table {table} cannot be used for ids: {why}"),
            code: "unusable column".to_owned(),
            source: None,
        };
        if !row.try_get::<_, bool>(3)? {
            return Err(unusable("its collation takes different texts for equal").into());
        }
        let oid = row.try_get(1)?;
        let found = IdType::of(oid, row.try_get(2)?);
        let unusable = || unusable("it is not text, varchar, uuid or bigint");
        Ok(Facts {
            id_type: found.ok_or_else(unusable)?,
            oid,
            has_originals: self.row(ORIGINAL_ID)?.is_some(),
            is_plain: row.try_get(4)?,
            at: Instant::now(),
        })
    }
}

fn missing(detail: String) -> Failure {
    Failure::Sorted(VectorError {
        kind: VectorErrorKind::IndexMissing,
        detail,
        code: "not in the catalog".to_owned(),
        source: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_form_that_is_an_id() {
        let good = [
            (IdType::Uuid, "0190a5f0-7b1c-7def-8a3b-0123456789ab"),
            (IdType::BigInt, "0"),
            (IdType::BigInt, "-9223372036854775808"),
            (IdType::BigInt, "9223372036854775807"),
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
            (IdType::BigInt, "007"),
            (IdType::BigInt, "+7"),
            (IdType::BigInt, "-0"),
            (IdType::BigInt, " 7"),
            (IdType::BigInt, "7.0"),
            (IdType::BigInt, "9223372036854775808"),
            (IdType::Text(Some(3)), "яяяя"),
        ];
        for (kind, id) in bad {
            let error = kind.check(&["7", id]).unwrap_err();
            assert_eq!(error.kind, VectorErrorKind::InvalidId, "{kind:?} {id}");
        }
    }
}
