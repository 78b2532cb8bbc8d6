//! EmbeddingStudio's own tables in PostgreSQL: `dbo_<model>` holds objects, `dbop_<model>` their
//! parts with the vectors.
//!
//! A delete of a listed object also deletes the object from which it was derived and the objects
//! derived from it, each with its parts. EmbeddingStudio's own deletion worker does the same.

use super::catalog::{Facts, ORIGINAL_ID};
use super::errors::Failure;
use super::names::{Identifier, Table};
use super::pool::{Lease, Parameter, Pool, Statement, time_left};
use super::relation::{Layout, Relation};
use crate::vector::url_parts::Template;
use futures_util::future::OptionFuture;
use futures_util::join;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// The column of the object ids, in both tables.
const OBJECT_ID: &str = "object_id";

/// Resets the role and the search path. The delete of the objects depends on them, and a trigger of
/// the parts may have changed them.
const UNSET: &str = "SET SESSION AUTHORIZATION DEFAULT; RESET search_path";

/// The tables and the column, by name.
pub(super) fn layout(schema: Option<Template>) -> Option<Layout> {
    let table = |prefix| Template::parse(&format!("{prefix}{{embedding_model_id}}")).ok();
    Some(Layout {
        schema,
        table: table("dbo_")?,
        id_column: Identifier::new(OBJECT_ID).ok()?,
        parts: Some(table("dbop_")?),
    })
}

/// One collection: a model's objects and their parts.
pub(super) struct Objects<'a> {
    pub(super) relation: &'a Relation,
    pub(super) parts: &'a Table,
}

impl Objects<'_> {
    /// Deletes the objects of these ids and what belongs to them in one transaction, then reads in
    /// another.
    pub(super) async fn delete(
        &self,
        pool: &Pool,
        facts: Facts,
        ids: &[&str],
        read: Statement<'_>,
        began: Instant,
    ) -> Result<Vec<Row>, Failure> {
        let lease = pool.lease().await?;
        match self.delete_all(&lease, facts, ids, read, began).await {
            Ok(rows) => {
                lease.give_back();
                Ok(rows)
            }
            Err(failure) => Err(lease.roll_back(failure).await),
        }
    }

    /// Locks the objects, deletes the parts, then deletes the objects. The lock prevents others
    /// from adding parts in between. Objects are locked first, in the order in which
    /// EmbeddingStudio's own upserts lock them.
    async fn delete_all(
        &self,
        lease: &Lease<'_>,
        facts: Facts,
        ids: &[&str],
        read: Statement<'_>,
        began: Instant,
    ) -> Result<Vec<Row>, Failure> {
        let objects = self.relation.table.quoted();
        let wanted = facts.id_type.parameter();
        let mut which = format!("SELECT unnest({wanted})");
        if facts.has_originals {
            which = format!(
                "{which} UNION SELECT {ORIGINAL_ID} FROM {objects} \
                    WHERE {OBJECT_ID} = ANY({wanted}) AND {ORIGINAL_ID} IS NOT NULL \
                UNION SELECT {OBJECT_ID} FROM {objects} WHERE {ORIGINAL_ID} = ANY({wanted})"
            );
        }
        let client = lease.client();
        let lock = format!(
            "SELECT {OBJECT_ID}::text FROM {objects} WHERE {OBJECT_ID} IN ({which}) ORDER BY {OBJECT_ID} FOR UPDATE"
        );
        // Joined statements are sent together. One round trip finds the objects, one deletes them
        // and reads.
        let begin = format!(
            "BEGIN; SET LOCAL row_security = on; {}",
            limit_within(time_left(began)?)
        );
        let parameters: [Parameter<'_>; 1] = [(&ids, Type::TEXT_ARRAY)];
        let (begun, found) = join!(
            client.batch_execute(&begin),
            client.query_typed(&lock, &parameters),
        );
        begun.map_err(Failure::Deleting)?;
        let found = found.map_err(Failure::Deleting)?;
        let all = found
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<Vec<&str>, _>>()?;
        let found: HashSet<&str> = all.iter().copied().collect();
        let alone: Vec<&str> = ids
            .iter()
            .copied()
            .filter(|id| !found.contains(id))
            .collect();
        let parts = self.parts.quoted();
        let delete =
            |table: &str| format!("DELETE FROM {table} AS t WHERE {OBJECT_ID} = ANY({wanted})");
        let (parts, delete_objects) = (delete(&parts), delete(&objects));
        // Parts of listed ids that have no object. They are rare.
        let orphans = format!(
            "{parts} AND NOT EXISTS (SELECT FROM {objects} AS o WHERE o.{OBJECT_ID} = t.{OBJECT_ID})"
        );
        let orphaned = async {
            let alone: [Parameter<'_>; 1] = [(&alone, Type::TEXT_ARRAY)];
            client.execute_typed(&orphans, &alone).await
        };
        let orphaned = OptionFuture::from((!alone.is_empty()).then_some(orphaned));
        let parameters: [Parameter<'_>; 1] = [(&all, Type::TEXT_ARRAY)];
        // The two deletes share the time that is left. The limit ends with the transaction.
        let limit = limit_within(time_left(began)? / 2);
        let (limited, parts, orphans, unset, objects, committed, reset, rows) = join!(
            client.batch_execute(&limit),
            client.execute_typed(&parts, &parameters),
            orphaned,
            client.batch_execute(UNSET),
            client.execute_typed(&delete_objects, &parameters),
            client.batch_execute("COMMIT"),
            client.batch_execute(lease.session()),
            client.query_typed(read.text, read.parameters),
        );
        limited
            .and(parts)
            .and(orphans.unwrap_or(Ok(0)))
            .and(objects)
            .and(unset)
            .and(committed)
            .and(reset)
            .map_err(Failure::Deleting)?;
        Ok(rows?)
    }
}

fn limit_within(time: Duration) -> String {
    format!("SET LOCAL statement_timeout = {}", time.as_millis())
}
