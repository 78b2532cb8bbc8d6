//! Why access is denied, or a table takes no deletes: read from the catalog once the server has said so.

use super::Relation;
use super::names::Table;
use super::pool::{Parameter, Pool};
use crate::vector::VectorError;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::types::Type;

/// How long the answer may take. Without it the error is a little less clear, and no less certain.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What kind of relation `$1` is, whether it takes deletes by itself, by a rule or by a trigger (bit 4 of
/// `pg_relation_is_updatable`), and which of the rights `$2` on the tables `$3` the role lacks, counted from 1.
const EXPLAIN: &str = "SELECT c.relkind::text, pg_catalog.pg_relation_is_updatable(c.oid, true) & 16 <> 0, \
        ARRAY(SELECT n.at FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS n(need, relation, at) \
            WHERE NOT CASE n.need \
                WHEN 'DELETE' THEN pg_catalog.has_table_privilege(n.relation, n.need) \
                ELSE pg_catalog.has_any_column_privilege(n.relation, n.need) END) \
    FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass($1)";

/// The sentence that says what to change. `None`: the catalog does not tell.
pub(super) async fn explained(
    pool: &Pool,
    relation: &Relation,
    error: &VectorError,
) -> Option<String> {
    let needs = relation.needs();
    let (rights, tables): (Vec<&str>, Vec<String>) = needs
        .iter()
        .map(|(right, table)| (*right, table.quoted()))
        .unzip();
    let name = relation.table.quoted();
    let parameters: [Parameter<'_>; 3] = [
        (&name, Type::TEXT),
        (&rights, Type::TEXT_ARRAY),
        (&tables, Type::TEXT_ARRAY),
    ];
    let shown = relation.table.shown();
    let rows = timeout(TIMEOUT, pool.query(EXPLAIN, &parameters)).await;
    let Ok(Ok(rows)) = rows else {
        // Not even its name can be looked up.
        let is_denied = error.code == "42501";
        return is_denied.then(|| format!("Access to table {shown}, or to its schema, is denied"));
    };
    let row = rows.first()?;
    if error.code == "42501" {
        let lacks: Vec<i64> = row.try_get(2).ok()?;
        let lacks = lacks
            .iter()
            .filter_map(|at| needs.get(usize::try_from(at - 1).ok()?));
        let lacks: Vec<String> = lacks
            .map(|(right, table): &(&str, &Table)| format!("{right} on {}", table.shown()))
            .collect();
        return Some(if lacks.is_empty() {
            format!(
                "What table {shown} is made of, or a rule of it, is denied access to something that it uses"
            )
        } else {
            format!(
                "Access to table {shown} is denied: the role lacks {}",
                lacks.join(", ")
            )
        });
    }
    let (kind, takes_deletes): (&str, bool) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
    if takes_deletes {
        return Some(format!(
            "Table {shown} takes no deletes: it is published for logical replication without a replica identity (ALTER TABLE … REPLICA IDENTITY gives it one)"
        ));
    }
    let what = match kind {
        "v" => "View",
        "m" => "Materialized view",
        "f" => "Foreign table",
        _ => "Relation",
    };
    Some(format!(
        "{what} {shown} takes no deletes: name the table that holds its rows"
    ))
}
