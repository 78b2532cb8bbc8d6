//! Taking attributes out of an item, and saying which one is not as it should be.

use super::StoreError;
use super::item::Item;
use crate::task::{
    Bitmap, ChunkState, FailedHead, FailedItem, ModelId, ObjectIds, Outcomes, Progress, Task,
    TaskId,
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};

/// Takes attributes out of an item, and says which one is not as it should be.
pub(super) struct Reader {
    item: Item,
    key: String,
}

impl Reader {
    pub(super) fn new(item: Item) -> Self {
        let key = match item.get(super::KEY) {
            Some(AttributeValue::S(key)) => key.clone(),
            _ => String::new(),
        };
        Self { item, key }
    }

    /// What a list row shows: present in the table and in the index.
    pub(super) fn task(&mut self) -> Result<Task, StoreError> {
        let id = self.key.strip_prefix("T#").map(TaskId::new);
        Ok(Task {
            id: id
                .and_then(Result::ok)
                .ok_or_else(|| self.damaged(super::KEY))?,
            model: ModelId::new(self.text("model")?).map_err(|_| self.damaged("model"))?,
            status: self
                .text("status")?
                .parse()
                .map_err(|()| self.damaged("status"))?,
            attempt: self.number("attempt")?,
            created_at: self.time("created_at")?,
            updated_at: self.time("updated_at")?,
            expires_at: self.time("expires_at")?,
            progress: Progress {
                total: self.number("total")?,
                deleted: self.number("deleted")?,
                failed: self.number("failed")?,
            },
            detail: self.optional_text("detail")?,
        })
    }

    pub(super) fn ids(&mut self) -> Result<ObjectIds, StoreError> {
        let bytes = self.bytes("ids")?.unwrap_or_default();
        ObjectIds::from_bytes(&bytes).map_err(|_| self.damaged("ids"))
    }

    /// A chunk's state. `size`: how many objects it has, where the item does not say so.
    pub(super) fn chunk_state(&mut self, size: Option<usize>) -> Result<ChunkState, StoreError> {
        Ok(ChunkState {
            size: match size {
                Some(size) => size,
                None => self.number("size")?,
            },
            fence: self.optional_number("fence")?.unwrap_or(0),
            claim: self.optional_text("claim")?,
            lease_until: self
                .optional_number("lease_until")?
                .and_then(DateTime::from_timestamp_millis),
            attempt: self.optional_number("claim_attempt")?.unwrap_or(0),
            tries: self.optional_number("tries")?.unwrap_or(0),
            put_offs: self.optional_number("put_offs")?.unwrap_or(0),
            due_at: self.optional_time("due_at")?,
            seen: Bitmap::from_bytes(self.bytes("seen")?.unwrap_or_default()),
            outcomes: Outcomes::from_parts(
                self.bytes("outcomes")?.unwrap_or_default(),
                self.texts("reasons")?,
                self.optional_number("outcomes_attempt")?.unwrap_or(0),
            ),
        })
    }

    pub(super) fn failed_head(&mut self) -> Result<Vec<FailedItem>, StoreError> {
        let Some(bytes) = self.bytes("failed_head")? else {
            return Ok(Vec::new());
        };
        let head = FailedHead::from_bytes(&bytes).map_err(|_| self.damaged("failed_head"))?;
        Ok(head.into_items())
    }

    pub(super) fn damaged(&self, name: &str) -> StoreError {
        StoreError::damaged(name, &self.key)
    }

    pub(super) fn optional_text(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        match self.item.remove(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.damaged(name)),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<String, StoreError> {
        let text = self.optional_text(name)?;
        text.ok_or_else(|| self.damaged(name))
    }

    pub(super) fn optional_number<T: std::str::FromStr>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        match self.item.remove(name) {
            None => Ok(None),
            Some(AttributeValue::N(digits)) => {
                digits.parse().map(Some).map_err(|_| self.damaged(name))
            }
            Some(_) => Err(self.damaged(name)),
        }
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self, name: &str) -> Result<T, StoreError> {
        let number = self.optional_number(name)?;
        number.ok_or_else(|| self.damaged(name))
    }

    pub(super) fn time(&mut self, name: &str) -> Result<DateTime<Utc>, StoreError> {
        let time = self.optional_time(name)?;
        time.ok_or_else(|| self.damaged(name))
    }

    pub(super) fn optional_time(
        &mut self,
        name: &str,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let Some(seconds) = self.optional_number(name)? else {
            return Ok(None);
        };
        let time = DateTime::from_timestamp_secs(seconds);
        time.map(Some).ok_or_else(|| self.damaged(name))
    }

    pub(super) fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.item.remove(name) {
            None => Ok(None),
            Some(AttributeValue::B(blob)) => Ok(Some(blob.into_inner())),
            Some(_) => Err(self.damaged(name)),
        }
    }

    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, StoreError> {
        match self.item.remove(name) {
            None => Ok(Vec::new()),
            Some(AttributeValue::L(list)) => list
                .into_iter()
                .map(|value| match value {
                    AttributeValue::S(text) => Ok(text),
                    _ => Err(self.damaged(name)),
                })
                .collect(),
            Some(_) => Err(self.damaged(name)),
        }
    }
}
