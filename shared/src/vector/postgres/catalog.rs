//! What the catalog says of a model's table and its columns.

use super::errors::Failure;
use super::id_type::IdType;
use super::pool::{Parameter, Pool};
use super::relation::Relation;
use crate::vector::port::{VectorError, VectorErrorKind};
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
pub(super) const ORIGINAL_ID: &str = "original_id";

/// What the catalog says of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) id_type: IdType,
    /// The type as the server knows it.
    pub(super) oid: Oid,
    /// Whether objects say what they were derived from.
    pub(super) has_originals: bool,
    /// Whether a delete runs nothing but itself: no trigger, no rule, no policy, no partition's.
    pub(super) is_plain: bool,
    /// When it was read.
    pub(super) at: Instant,
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
