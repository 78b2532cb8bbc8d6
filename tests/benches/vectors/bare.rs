//! The baselines: clients that only delete and report no outcomes.

use futures_util::future::try_join;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Ids in a batch, and concurrent batches, as in the service.
pub(crate) const BATCH: usize = 500;
pub(crate) const CONCURRENCY: usize = 5;

/// A connection.
pub(crate) async fn connect(url: &str) -> Client {
    // The client does not know our parameters.
    let url = url.split('?').next().expect("an address");
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.expect("the server responds");
    tokio::spawn(connection);
    client
}

/// Deletes in the service's batches, several at once: an existence check and a delete for each
/// batch. With `reads_back`, a read is sent right after each delete.
pub(crate) async fn in_batches(url: &str, table: &str, ids: &[String], reads_back: bool) {
    let (check, delete) = (
        format!("SELECT object_id FROM {table} WHERE object_id = ANY($1)"),
        format!("DELETE FROM {table} WHERE object_id = ANY($1)"),
    );
    let mut clients = Vec::new();
    for _ in 0..CONCURRENCY {
        let client = connect(url).await;
        let check = client.prepare(&check).await.expect("a statement");
        let delete = client.prepare(&delete).await.expect("a statement");
        clients.push(Arc::new((client, check, delete)));
    }
    let batches: Vec<_> = ids.chunks(BATCH).map(<[_]>::to_vec).collect();
    let shares = clients.iter().enumerate().map(|(number, client)| {
        let batches = batches.iter().skip(number).step_by(CONCURRENCY);
        async move {
            let (client, check, delete) = client.as_ref();
            for batch in batches {
                let found = client
                    .query(check, &[batch])
                    .await
                    .expect("an existence check");
                assert_eq!(found.len(), batch.len(), "all are there");
                let parameters: [&(dyn ToSql + Sync); 1] = [batch];
                let delete = client.execute(delete, &parameters);
                if reads_back {
                    // Both are sent together.
                    let read = client.query(check, &parameters);
                    let (_, left) = try_join(delete, read).await.expect("a delete and a read");
                    assert!(left.is_empty(), "none is there");
                } else {
                    delete.await.expect("a delete");
                }
            }
        }
    });
    stream::iter(shares)
        .for_each_concurrent(None, |share| share)
        .await;
}

/// Deletes one row, with one round trip, at a time.
pub(crate) async fn one_by_one(url: &str, table: &str, ids: &[String]) {
    let client = connect(url).await;
    let delete = format!("DELETE FROM {table} WHERE object_id = $1");
    let delete = client.prepare(&delete).await.expect("a statement");
    for id in ids {
        client.execute(&delete, &[id]).await.expect("a delete");
    }
}

/// Deletes as EmbeddingStudio's deletion worker does, according to its source: two selects of all
/// the objects' data, then two deletes. Each statement has all ids at once in its text, as from
/// EmbeddingStudio's database driver. The work on the rows in Python is left out. Without the
/// `selects` this is the minimum for any deletion from these tables.
pub(crate) async fn as_embedding_studio(url: &str, schema: &str, ids: &[String], selects: bool) {
    let client = connect(url).await;
    let (objects, parts) = (
        format!("{schema}.dbo_items"),
        format!("{schema}.dbop_items"),
    );
    let list = ids.iter().map(|id| format!("'{id}'"));
    let list = list.collect::<Vec<_>>().join(", ");
    let select = |column: &str| {
        format!(
            "SELECT o.object_id, p.part_id, p.vector, o.payload, o.storage_meta, o.original_id, o.user_id, o.session_id \
             FROM {parts} p JOIN {objects} o ON o.object_id = p.object_id WHERE o.{column} IN ({list})"
        )
    };
    let columns = [("object_id", ids.len()), ("original_id", 0)];
    for (column, count) in columns.into_iter().filter(|_| selects) {
        let answer = client.simple_query_raw(&select(column)).await;
        let mut answer = Box::pin(answer.expect("a response"));
        let mut rows = 0;
        while let Some(message) = answer.try_next().await.expect("a row") {
            rows += usize::from(matches!(message, SimpleQueryMessage::Row(_)));
        }
        assert_eq!(rows, count, "{column}");
    }
    let deletes = [parts, objects]
        .map(|table| format!("DELETE FROM {table} WHERE object_id IN ({list});"))
        .concat();
    let deleted = client
        .batch_execute(&format!("BEGIN; {deletes} COMMIT"))
        .await;
    deleted.expect("all is deleted");
}
