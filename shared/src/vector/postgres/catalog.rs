//! What the catalog says of a model's table and its columns.

use super::errors::Failure;
use super::id_type::IdType;
use super::pool::{Parameter, Pool};
use super::relation::Relation;
use crate::vector::port::{VectorError, VectorErrorKind};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::{Oid, Type};

/// A row for each of the columns `$2` of table `$1` that exists: its name, type, length, whether its collation is deterministic,
/// and whether a delete from the table runs nothing else (see [`Facts::is_plain`]). If the table has none of the columns, one row
/// with nulls; if there is no table, no row.
const LOOK_UP: &str = "SELECT a.attname::text, a.atttypid, a.atttypmod, coalesce(c.collisdeterministic, true), \
        t.relkind = 'r' AND NOT (t.relhastriggers OR t.relhasrules OR t.relhassubclass OR t.relrowsecurity) \
    FROM pg_catalog.pg_class AS t \
    LEFT JOIN pg_catalog.pg_attribute AS a \
        ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname::text = ANY($2) \
    LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = a.attcollation \
    WHERE t.oid = pg_catalog.to_regclass($1)";

/// The column with the id of the object from which this one was derived. Older databases of EmbeddingStudio do not have it.
pub(super) const ORIGINAL_ID: &str = "original_id";

/// What the catalog says of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) id_type: IdType,
    /// The type of the column of the ids, as the server names it.
    pub(super) oid: Oid,
    /// Whether the table has the column [`ORIGINAL_ID`].
    pub(super) has_originals: bool,
    /// Whether a delete from the table runs nothing else: it has no trigger, rule, policy or partition.
    pub(super) is_plain: bool,
    /// When this was read.
    pub(super) at: Instant,
}

/// What the catalog says of a table's columns.
pub(super) struct Columns(Vec<Row>);

impl Columns {
    /// Asks for the columns that matter: of the ids, and of the originals.
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

    /// What matters of the table.
    ///
    /// # Errors
    /// The column of the ids is missing, or is not usable.
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
            return Err(unusable("its collation is nondeterministic").into());
        }
        let oid = row.try_get(1)?;
        let found = IdType::of(oid, row.try_get(2)?);
        let unusable = || unusable("its type is not text, varchar, uuid or bigint");
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
