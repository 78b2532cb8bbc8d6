//! Chunks that are items of their own: writing their ids, and reading ids and states in batches.

use super::attribute::{self as attr, Item, b, seconds};
use super::claims::TaskChunk;
use super::item::{self, Objects, StoredTask};
use super::{CHUNK_RETENTION, StoreError, TaskStore, not_built};
use crate::clock::back_off;
use crate::task::{Chunk, ChunkState, ObjectIds};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, PutRequest, WriteRequest};
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

/// The most items of one BatchWriteItem ("Service, account, and table quotas in Amazon DynamoDB").
const MAX_BATCH_WRITE: usize = 25;
/// The most items of one BatchGetItem (the same page).
pub(super) const MAX_BATCH_GET: usize = 100;
/// BatchWriteItem calls in flight at once.
///
/// Each holds a copy of its ids, so a small number bounds the memory of a create.
const CONCURRENT_WRITES: usize = 4;
/// The most sends of one batch, if DynamoDB does not process all of its items.
const MAX_SENDS: u32 = 8;
/// The bounds of the pause before the rest of a batch is sent ("Error handling with DynamoDB",
/// batch operations and error handling).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(3200);

impl TaskStore {
    /// Writes the ids of a task's chunks under a name that nobody else can have.
    ///
    /// Nobody reads them until the task itself is stored. If it is never stored, they expire.
    pub(super) async fn write_ids(
        &self,
        nonce: &str,
        ids: &ObjectIds,
        chunks: &[Range<usize>],
        task_expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let expires_at = task_expires_at + CHUNK_RETENTION;
        let numbered: Vec<_> = (0_u32..).zip(chunks.iter().cloned()).collect();
        let batches: Vec<_> = numbered
            .chunks(MAX_BATCH_WRITE)
            .map(<[_]>::to_vec)
            .collect();
        let put = |(number, range): (u32, Range<usize>)| {
            PutRequest::builder()
                .item(attr::KEY, item::ids_key(nonce, number))
                .item(attr::IDS, b(ids.to_bytes(range)))
                .item(attr::EXPIRES_AT, seconds(expires_at))
                .build()
                .map(|put| WriteRequest::builder().put_request(put).build())
        };
        stream::iter(batches)
            .map(|batch| async move {
                let puts = batch.into_iter().map(put);
                let puts = puts.collect::<Result<Vec<_>, _>>().map_err(not_built)?;
                self.put_all(puts).await
            })
            .buffer_unordered(CONCURRENT_WRITES)
            .try_collect()
            .await
    }

    async fn put_all(&self, mut puts: Vec<WriteRequest>) -> Result<(), StoreError> {
        for sent in 1..=MAX_SENDS {
            let request = self.client.batch_write_item();
            let response = request
                .request_items(&self.table, puts)
                .send()
                .boxed()
                .await?;
            puts = response
                .unprocessed_items
                .and_then(|mut left| left.remove(&self.table))
                .unwrap_or_default();
            if puts.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(back_off(FIRST_PAUSE, LONGEST_PAUSE, sent)).await;
        }
        Err(unprocessed())
    }

    /// Reads up to [`MAX_BATCH_GET`] items by their keys, strongly consistent.
    ///
    /// Items that do not exist are left out.
    async fn get_all(
        &self,
        keys: Vec<AttributeValue>,
    ) -> Result<HashMap<String, Item>, StoreError> {
        let mut found = HashMap::with_capacity(keys.len());
        let keys = keys
            .into_iter()
            .map(|key| HashMap::from([(attr::KEY.to_owned(), key)]));
        let mut left = KeysAndAttributes::builder()
            .set_keys(Some(keys.collect()))
            .consistent_read(true)
            .build()
            .map_err(not_built)?;
        for sent in 1..=MAX_SENDS {
            let request = self.client.batch_get_item();
            let response = request
                .request_items(&self.table, left)
                .send()
                .boxed()
                .await?;
            let items = response
                .responses
                .and_then(|mut tables| tables.remove(&self.table));
            for item in items.unwrap_or_default() {
                if let Some(AttributeValue::S(key)) = item.get(attr::KEY) {
                    found.insert(key.clone(), item);
                }
            }
            let unprocessed = response
                .unprocessed_keys
                .and_then(|mut tables| tables.remove(&self.table));
            left = match unprocessed {
                None => return Ok(found),
                Some(keys) => keys,
            };
            tokio::time::sleep(back_off(FIRST_PAUSE, LONGEST_PAUSE, sent)).await;
        }
        Err(unprocessed())
    }

    /// Reads chunk `number` of `task` to work on it. Returns `None` if the task has no such chunk.
    ///
    /// # Errors
    /// If a call to DynamoDB fails or an item is damaged.
    pub async fn load_chunk(
        &self,
        task: StoredTask,
        number: Option<u32>,
    ) -> Result<Option<TaskChunk>, StoreError> {
        let nonce = task.nonce.clone();
        let chunk = match (task.objects, number) {
            (Objects::Inline(chunk), None) => Chunk {
                ids: chunk.ids(&task.task.id)?,
                state: chunk.state,
            },
            (Objects::Chunks(count), Some(number)) if number < count => {
                let (ids_key, state_key) = (
                    item::ids_key(&nonce, number),
                    item::state_key(&nonce, number),
                );
                let keys = vec![ids_key.clone(), state_key.clone()];
                let mut items = self.get_all(keys).await?;
                let ids = item::ids_from_item(take(&mut items, &ids_key).unwrap_or_default())?;
                match take(&mut items, &state_key) {
                    None => Chunk::new(ids),
                    Some(state) => Chunk {
                        ids,
                        state: item::state_from_item(state)?,
                    },
                }
            }
            (Objects::Inline(_) | Objects::Chunks(_), _) => return Ok(None),
        };
        Ok(Some(TaskChunk {
            task: task.task,
            baseline: task.baseline,
            number,
            chunk,
            announced: number.map(|_| self.settlements.announce(&nonce)),
            nonce,
        }))
    }

    /// Reads the states of the chunks `numbers` of `task`.
    ///
    /// The state of a chunk that no worker has claimed yet is `None`.
    ///
    /// # Errors
    /// If a call to DynamoDB fails or an item is damaged.
    pub async fn chunk_states(
        &self,
        task: &StoredTask,
        numbers: Range<u32>,
    ) -> Result<Vec<Option<ChunkState>>, StoreError> {
        let keys: Vec<_> = numbers
            .map(|number| item::state_key(&task.nonce, number))
            .collect();
        let mut items = self.get_all(keys.clone()).await?;
        let states = keys.iter().map(|key| {
            let item = take(&mut items, key);
            item.map(item::state_from_item).transpose()
        });
        states.collect()
    }

    /// Reads the ids of the chunks `numbers` of `task`.
    pub(super) async fn chunk_ids(
        &self,
        task: &StoredTask,
        numbers: &[u32],
    ) -> Result<Vec<ObjectIds>, StoreError> {
        let keys: Vec<_> = numbers
            .iter()
            .map(|number| item::ids_key(&task.nonce, *number))
            .collect();
        let mut items = self.get_all(keys.clone()).await?;
        let ids = keys
            .iter()
            .map(|key| item::ids_from_item(take(&mut items, key).unwrap_or_default()));
        ids.collect()
    }
}

fn take(items: &mut HashMap<String, Item>, key: &AttributeValue) -> Option<Item> {
    items.remove(key.as_s().ok()?)
}

/// Returns the error for a batch that DynamoDB did not process completely in any send.
fn unprocessed() -> StoreError {
    let why = "DynamoDB did not process all items of a batch";
    StoreError::unavailable("unprocessed items", why)
}
