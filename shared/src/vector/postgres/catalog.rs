//! What the catalog says about a model's tables and their columns.

use super::errors::Failure;
use super::id_type::{IdType, USABLE};
use super::names::Table;
use super::pool::{Parameter, Pool};
use super::relation::Relation;
use crate::vector::port::{VectorError, VectorErrorKind};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::{Oid, Type};

/// Reads, for each of the tables `$1` that exists, its number in the list and a row for each of its
/// columns `$2`. A row has the column's name, its type, the type below a domain with its modifier,
/// the type's name, whether its collation is deterministic, and whether a delete from the table
/// runs nothing else (see [`Facts::is_plain`]). If the table has none of the columns, there is one
/// row with nulls.
const LOOK_UP: &str = "SELECT n.at, a.attname::text, a.atttypid, base.type, base.modifier, \
        pg_catalog.format_type(a.atttypid, a.atttypmod), coalesce(c.collisdeterministic, true), \
        t.relkind = 'r' AND NOT (t.relhastriggers OR t.relhasrules OR t.relhassubclass OR t.relrowsecurity) \
    FROM unnest($1::text[]) WITH ORDINALITY AS n(name, at) \
    JOIN pg_catalog.pg_class AS t ON t.oid = pg_catalog.to_regclass(n.name) \
    LEFT JOIN pg_catalog.pg_attribute AS a \
        ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname::text = ANY($2::text[]) \
    LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = a.attcollation \
    LEFT JOIN LATERAL ( \
        WITH RECURSIVE below(type, modifier) AS ( \
            SELECT a.atttypid, a.atttypmod \
            UNION ALL \
            SELECT d.typbasetype, d.typtypmod FROM below JOIN pg_catalog.pg_type AS d ON d.oid = below.type \
                WHERE d.typtype = 'd') \
        SELECT below.type, below.modifier FROM below JOIN pg_catalog.pg_type AS d ON d.oid = below.type \
            WHERE d.typtype <> 'd') AS base ON true";

/// The column with the id of the object from which this one was derived. Older databases of
/// EmbeddingStudio do not have it.
pub(super) const ORIGINAL_ID: &str = "original_id";

/// The catalog's facts about a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) id_type: IdType,
    /// The OID of the id column's type.
    pub(super) oid: Oid,
    /// Whether the table has the column [`ORIGINAL_ID`].
    pub(super) has_originals: bool,
    /// Whether a delete from the table runs nothing else: it has no trigger, rule, policy or
    /// partition.
    pub(super) is_plain: bool,
    /// When the facts were read.
    pub(super) at: Instant,
}

/// The catalog's rows about the columns of a model's tables.
pub(super) struct Columns(Vec<Row>);

/// A column that holds ids.
struct IdColumn<'a> {
    table: &'a Table,
    name: &'a str,
    id_type: IdType,
    oid: Oid,
    /// The type's name, for the text of an error.
    type_name: &'a str,
    is_plain: bool,
}

impl Columns {
    /// Reads the columns that matter: those of the ids and of the originals.
    pub(super) async fn look_up(pool: &Pool, relation: &Relation) -> Result<Self, Failure> {
        let tables = relation.quoted();
        let columns = [relation.id_column.as_str(), ORIGINAL_ID];
        let parameters: [Parameter<'_>; 2] = [
            (&tables, Type::TEXT_ARRAY),
            (&columns.as_slice(), Type::TEXT_ARRAY),
        ];
        Ok(Self(pool.query(LOOK_UP, &parameters).await?))
    }

    /// Returns the facts about the tables.
    ///
    /// # Errors
    /// If a table or a column of ids is missing or not usable.
    pub(super) fn facts(&self, relation: &Relation) -> Result<Facts, Failure> {
        let (table, column) = (&relation.table, relation.id_column.as_str());
        let ids = self.ids_in(1, table, column)?;
        let mut has_originals = false;
        if let Some(parts) = &relation.parts {
            self.ids_in(2, parts, column)?.must_compare_with(&ids)?;
            has_originals = self.row(1, Some(ORIGINAL_ID))?.is_some();
            if has_originals {
                self.ids_in(1, table, ORIGINAL_ID)?
                    .must_compare_with(&ids)?;
            }
        }
        Ok(Facts {
            id_type: ids.id_type,
            oid: ids.oid,
            has_originals,
            is_plain: ids.is_plain,
            at: Instant::now(),
        })
    }

    /// The row about a column of the table with this number, or about the table itself if it has
    /// none of the columns.
    fn row(&self, number: i64, column: Option<&str>) -> Result<Option<&Row>, Failure> {
        for row in &self.0 {
            let is_of_it = row.try_get::<_, i64>(0)? == number;
            if is_of_it && (column.is_none() || row.try_get::<_, Option<&str>>(1)? == column) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// A column of ids in the table with this number.
    fn ids_in<'a>(
        &'a self,
        number: i64,
        table: &'a Table,
        name: &'a str,
    ) -> Result<IdColumn<'a>, Failure> {
        if self.row(number, None)?.is_none() {
            return Err(missing(format!("Table {} does not exist", table.shown())));
        }
        let Some(row) = self.row(number, Some(name))? else {
            let table = table.shown();
            return Err(missing(format!("Table {table} has no column `{name}`")));
        };
        if !row.try_get::<_, bool>(6)? {
            return Err(unusable(table, name, "its collation is nondeterministic"));
        }
        let type_name = row.try_get(5)?;
        let Some(id_type) = IdType::of(row.try_get(3)?, row.try_get(4)?) else {
            let why =
                format!("its type is {type_name}, and not {USABLE}, or a domain over one of these");
            return Err(unusable(table, name, &why));
        };
        Ok(IdColumn {
            table,
            name,
            id_type,
            oid: row.try_get(2)?,
            type_name,
            is_plain: row.try_get(7)?,
        })
    }
}

impl IdColumn<'_> {
    /// Checks that PostgreSQL compares the ids of both columns.
    fn must_compare_with(&self, other: &Self) -> Result<(), Failure> {
        if self.id_type.compares_with(other.id_type) {
            return Ok(());
        }
        let (table, name) = (other.table.shown(), other.name);
        let why = format!(
            "its type is {}, and that of `{name}` in table {table} is {}",
            self.type_name, other.type_name
        );
        Err(unusable(self.table, self.name, &why))
    }
}

fn unusable(table: &Table, column: &str, why: &str) -> Failure {
    let table = table.shown();
    Failure::Sorted(VectorError {
        kind: VectorErrorKind::Denied,
        detail: format!("Column `{column}` of table {table} cannot be used for ids: {why}"),
        code: "unusable column".to_owned(),
        source: None,
    })
}

fn missing(detail: String) -> Failure {
    Failure::Sorted(VectorError {
        kind: VectorErrorKind::IndexMissing,
        detail,
        code: "not in the catalog".to_owned(),
        source: None,
    })
}
