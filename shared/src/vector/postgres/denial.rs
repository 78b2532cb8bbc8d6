//! The reason why access is denied or a table does not allow deletes. It is read from the catalog
//! after the server has refused.

use super::errors::unknown;
use super::names::Table;
use super::pool::{Parameter, Pool};
use super::relation::Relation;
use crate::vector::port::{VectorError, VectorErrorKind};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::types::Type;

/// The time limit of the query. Without its result the error is less clear, but no less certain.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Reads what kind of relation `$1` is, whether it allows deletes by itself, by a rule or by a
/// trigger (bit 4 of `pg_relation_is_updatable`), and which of the rights `$2` on the tables `$3`
/// the role lacks, counted from 1.
const EXPLAIN: &str = "SELECT c.relkind::text, pg_catalog.pg_relation_is_updatable(c.oid, true) & 16 <> 0, \
        ARRAY(SELECT n.at FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS n(need, relation, at) \
            WHERE NOT CASE n.need \
                WHEN 'DELETE' THEN pg_catalog.has_table_privilege(n.relation, n.need) \
                WHEN 'SELECT' THEN pg_catalog.has_column_privilege(n.relation, $4, n.need) \
                ELSE pg_catalog.has_any_column_privilege(n.relation, n.need) END) \
    FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass($1)";

/// Replaces the error's detail with a sentence that says what to change, if the catalog has the
/// reason.
pub(super) async fn explain(
    pool: &Pool,
    relation: &Relation,
    deletes: bool,
    error: &mut VectorError,
) {
    let needs = relation.needs();
    let (rights, tables): (Vec<&str>, Vec<String>) = needs
        .iter()
        .map(|(right, table)| (*right, table.quoted()))
        .unzip();
    let (name, column) = (relation.table.quoted(), relation.id_column.as_str());
    let parameters: [Parameter<'_>; 4] = [
        (&name, Type::TEXT),
        (&rights, Type::TEXT_ARRAY),
        (&tables, Type::TEXT_ARRAY),
        (&column, Type::TEXT),
    ];
    let shown = relation.shown();
    let is_denied = error.code == "42501";
    let rows = timeout(TIMEOUT, pool.query(EXPLAIN, &parameters)).await;
    let Ok(Ok(rows)) = rows else {
        if is_denied {
            // The role may not even look the name up.
            error.detail = format!("Access to table {shown}, or to its schema, is denied");
        }
        return;
    };
    let told = rows.first().and_then(|row| {
        let lacks: Vec<i64> = row.try_get(2).ok()?;
        Some((row.try_get(0).ok()?, row.try_get(1).ok()?, lacks))
    });
    let Some((kind, allows_deletes, lacks)): Option<(&str, bool, _)> = told else {
        return;
    };
    if is_denied && !lacks.is_empty() {
        let lacks = lacks
            .iter()
            .filter_map(|at| needs.get(usize::try_from(at - 1).ok()?));
        let lacks: Vec<String> = lacks
            .map(|(right, table): &(&str, &Table)| format!("{right} on {}", table.shown()))
            .collect();
        let lacks = lacks.join(", ");
        error.detail = format!("Access to table {shown} is denied: the role lacks {lacks}");
    } else if is_denied {
        if deletes {
            error.kind = VectorErrorKind::KeptObject;
        }
        error.detail = format!(
            "A view, a rule or a function behind table {shown} is denied access to something that it uses"
        );
    } else if allows_deletes && deletes {
        error.kind = VectorErrorKind::KeptObject;
        error.detail = unknown(&error.code, &shown);
    } else {
        let what = match kind {
            "v" => "View",
            "m" => "Materialized view",
            "f" => "Foreign table",
            _ => "Relation",
        };
        error.detail =
            format!("{what} {shown} does not allow deletes: name the table that holds its rows");
    }
}
