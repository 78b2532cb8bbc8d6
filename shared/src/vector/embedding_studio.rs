//! EmbeddingStudio's own tables in PostgreSQL: `dbo_<model>` holds objects, `dbop_<model>` their parts with the vectors.
//!
//! With a listed object goes the object that it was derived from, and go those derived from it, as EmbeddingStudio's own
//! deletion worker has it; and with each of them its parts.

use super::postgres::column::{Columns, IdType};
use super::postgres::errors::Failure;
use super::postgres::names::Table;
use super::postgres::pool::{Lease, Parameter, Pool, time_left};
use super::postgres::{Learned, MAX_DELETE, MaybeTable, among, call, known, learn, table_named};
use super::schemes::{StoreOf, Template};
use super::{VectorError, VectorStore};
use futures_util::future::{BoxFuture, try_join, try_join4};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::types::Type;

/// The column with an object's id, in both tables.
const OBJECT_ID: &str = "object_id";
/// The column with the id of the object that this one was derived from. Older databases have none.
const ORIGINAL_ID: &str = "original_id";

/// Opens the collections of one database.
pub(super) fn open(pool: Arc<Pool>, schema: Option<Template>) -> StoreOf {
    let types = Arc::default();
    Box::new(move |model| {
        let table = |prefix| table_named(schema.as_ref(), &format!("{prefix}{model}"), model);
        // The parts' name is the longer one: where it can be, both can.
        let (parts, objects) = match table("dbop_") {
            Ok(parts) => (parts.quoted(), table("dbo_")),
            Err(why) => (String::new(), Err(why)),
        };
        Arc::new(Collection {
            pool: Arc::clone(&pool),
            types: Arc::clone(&types),
            objects,
            parts,
        })
    })
}

/// One collection: a model's objects and their parts.
struct Collection {
    pool: Arc<Pool>,
    types: Learned<IdType>,
    objects: MaybeTable,
    /// Quoted.
    parts: String,
}

impl Collection {
    /// The type of an object's id, and whether objects say what they were derived from. What is missing may be added any
    /// time, so an older database is looked at again for each batch.
    async fn look_up(&self, objects: &Table) -> Result<(IdType, bool), Failure> {
        if let Some(known) = known(&self.types, objects) {
            return Ok((known, true));
        }
        let columns = Columns::look_up(&self.pool, objects, &[OBJECT_ID, ORIGINAL_ID]).await?;
        let id_type = columns.id_type(objects, OBJECT_ID)?;
        let has_originals = columns.has(ORIGINAL_ID)?;
        if has_originals {
            learn(&self.types, objects, Some(id_type));
        }
        Ok((id_type, has_originals))
    }

    /// In one transaction: locks what is to go, and deletes the parts, then the objects. The lock lets nobody add a part in
    /// between, and is taken in the order in which EmbeddingStudio's own upserts take theirs: objects first.
    async fn delete_all(
        &self,
        lease: &Lease<'_>,
        objects: &str,
        which: &str,
        ids: Parameter<'_>,
        began: Instant,
    ) -> Result<(), Failure> {
        let client = lease.client();
        let lock = format!(
            "SELECT {OBJECT_ID}::text FROM {objects} WHERE {OBJECT_ID} IN ({which}) ORDER BY {OBJECT_ID} FOR UPDATE"
        );
        // What is joined is sent together: one round trip to find what goes, one to delete it.
        let (begin, parameters) = (begin_within(time_left(began)?), [ids]);
        let (begin, find) = (
            client.batch_execute(&begin),
            client.query_typed(&lock, &parameters),
        );
        let ((), rows) = try_join(begin, find).await?;
        let all: Vec<&str> = rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?;
        let delete =
            |table: &str| format!("DELETE FROM {table} WHERE {OBJECT_ID} = ANY($1::text[])");
        let (parts, objects) = (delete(&self.parts), delete(objects));
        let parameters: [Parameter<'_>; 1] = [(&all, Type::TEXT_ARRAY)];
        // Both deletes together have what is left.
        let limit = limit_within(time_left(began)? / 2);
        try_join4(
            client.batch_execute(&limit),
            client.execute_typed(&parts, &parameters),
            client.execute_typed(&objects, &parameters),
            client.batch_execute("COMMIT"),
        )
        .await?;
        Ok(())
    }
}

/// Begins a transaction whose statements may run so long at the server. The session's own limits are back at its end.
fn begin_within(time: Duration) -> String {
    format!("BEGIN; {}", limit_within(time))
}

fn limit_within(time: Duration) -> String {
    format!("SET LOCAL statement_timeout = {}", time.as_millis())
}

impl VectorStore for Collection {
    fn present<'a>(&'a self, ids: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<bool>, VectorError>> {
        Box::pin(call(&self.objects, async move |table| {
            let (id_type, _) = self.look_up(table).await?;
            id_type.check(ids)?;
            let (objects, wanted) = (table.quoted(), id_type.parameter());
            let statement = format!(
                "SELECT {OBJECT_ID}::text FROM {objects} WHERE {OBJECT_ID} = ANY({wanted})"
            );
            let rows = self
                .pool
                .query(&statement, &[(&ids, Type::TEXT_ARRAY)])
                .await?;
            among(&rows, ids)
        }))
    }

    fn delete<'a>(&'a self, ids: &'a [&'a str]) -> BoxFuture<'a, Result<(), VectorError>> {
        let began = Instant::now();
        Box::pin(call(&self.objects, async move |table| {
            let (id_type, has_originals) = self.look_up(table).await?;
            id_type.check(ids)?;
            let objects = table.quoted();
            let mut which = "SELECT unnest($1::text[])".to_owned();
            if has_originals {
                which = format!(
                    "{which} UNION SELECT {ORIGINAL_ID} FROM {objects} \
                        WHERE {OBJECT_ID} = ANY($1::text[]) AND {ORIGINAL_ID} IS NOT NULL \
                    UNION SELECT {OBJECT_ID} FROM {objects} WHERE {ORIGINAL_ID} = ANY($1::text[])"
                );
            }
            let lease = self.pool.lease().await?;
            let ids: Parameter<'_> = (&ids, Type::TEXT_ARRAY);
            match self.delete_all(&lease, &objects, &which, ids, began).await {
                Ok(()) => {
                    lease.give_back();
                    Ok(())
                }
                // The transaction ends with its connection.
                Err(failure) => Err(lease.close(failure)),
            }
        }))
    }

    fn max_delete(&self) -> usize {
        MAX_DELETE
    }
}
