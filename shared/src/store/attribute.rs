//! DynamoDB attributes: their names, and how values are converted to attributes and back.

use super::StoreError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use std::collections::HashMap;

/// An item as the SDK represents it.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The table's hash key: `T#` and the task's id.
pub const KEY: &str = "pk";
/// The index's hash key: `<status>#<shard>`.
pub const INDEX_HASH_KEY: &str = "list_pk";
/// The index's range key: `<created_at>#<id>`.
pub const INDEX_RANGE_KEY: &str = "list_sk";

macro_rules! names {
    ($($constant:ident = $name:literal),* $(,)?) => { $(pub(super) const $constant: &str = $name;)* };
}

names! {
    // A task.
    MODEL = "model",
    STATUS = "status",
    PREVIOUS_STATUS = "previous_status",
    DETAIL = "detail",
    ATTEMPT = "attempt",
    BASELINE = "baseline",
    NONCE = "nonce",
    FINGERPRINT = "fingerprint",
    TOTAL = "total",
    DELETED = "deleted",
    FAILED = "failed",
    REMAINING = "remaining",
    CREATED_AT = "created_at",
    UPDATED_AT = "updated_at",
    EXPIRES_AT = "expires_at",
    DUE_AT = "due_at",
    SENDS = "sends",
    FAILED_HEAD = "failed_head",
    CHUNKS = "chunks",
    REASON = "reason",
    CREATED_BY = "created_by",
    CHANGED_BY = "changed_by",
    // The tokens of guarded writes.
    RESTART_OP = "restart_op",
    CANCEL_OP = "cancel_op",
    DISPATCH = "dispatch",
    FAN_OUT = "fan_out",
    // The fan-out of a task of several chunks.
    FAN_OUTS = "fan_outs",
    FAN_OUT_DUE_AT = "fan_out_due_at",
    // A chunk.
    IDS = "ids",
    SIZE = "size",
    FENCE = "fence",
    CLAIM = "claim",
    CLAIM_ATTEMPT = "claim_attempt",
    LEASE_UNTIL = "lease_until",
    TRIES = "tries",
    PUT_OFFS = "put_offs",
    SEEN = "seen",
    OUTCOMES = "outcomes",
    OUTCOMES_ATTEMPT = "outcomes_attempt",
    REASONS = "reasons",
    // The sweep.
    POSITIONS = "positions",
    // The grants of an index's time.
    PAID_UNTIL = "paid_until",
}

/// Returns a text as an attribute.
pub(super) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// Returns a number as an attribute.
pub(super) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Returns bytes as an attribute.
pub(super) fn b(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Returns a time as an attribute, in seconds since 1970.
pub(super) fn seconds(time: DateTime<Utc>) -> AttributeValue {
    n(time.timestamp())
}

/// Takes attributes out of an item. An error names the attribute and the item.
pub(super) struct Attributes {
    item: Item,
    pub(super) key: String,
}

impl Attributes {
    pub(super) fn of(item: Item) -> Self {
        let key = match item.get(KEY) {
            Some(AttributeValue::S(key)) => key.clone(),
            _ => String::new(),
        };
        Self { item, key }
    }

    /// Takes out an attribute that may be absent.
    pub(super) fn optional<T: FromAttribute>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let Some(value) = self.item.remove(name) else {
            return Ok(None);
        };
        let value = T::from_attribute(value);
        value.map(Some).ok_or_else(|| self.damaged(name))
    }

    /// Takes out an attribute that every such item has.
    pub(super) fn required<T: FromAttribute>(
        &mut self,
        name: &'static str,
    ) -> Result<T, StoreError> {
        let value = self.optional(name)?;
        value.ok_or_else(|| self.damaged(name))
    }

    /// Returns the error for an attribute that is missing, or has a value that this service never
    /// writes.
    pub(super) fn damaged(&self, name: &str) -> StoreError {
        StoreError::damaged(name, &self.key)
    }
}

/// A value that an attribute can hold.
pub(super) trait FromAttribute: Sized {
    /// Returns `None` if the attribute does not hold such a value.
    fn from_attribute(value: AttributeValue) -> Option<Self>;
}

impl FromAttribute for String {
    fn from_attribute(value: AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::S(text) => Some(text),
            _ => None,
        }
    }
}

impl FromAttribute for Vec<String> {
    fn from_attribute(value: AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::L(list) => list.into_iter().map(String::from_attribute).collect(),
            _ => None,
        }
    }
}

impl FromAttribute for Vec<u8> {
    fn from_attribute(value: AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::B(blob) => Some(blob.into_inner()),
            _ => None,
        }
    }
}

/// Stored in seconds since 1970.
impl FromAttribute for DateTime<Utc> {
    fn from_attribute(value: AttributeValue) -> Option<Self> {
        DateTime::from_timestamp_secs(i64::from_attribute(value)?)
    }
}

macro_rules! numbers {
    ($($number:ty),*) => { $(
        impl FromAttribute for $number {
            fn from_attribute(value: AttributeValue) -> Option<Self> {
                match value {
                    AttributeValue::N(digits) => digits.parse().ok(),
                    _ => None,
                }
            }
        }
    )* };
}

numbers!(u32, u64, i64, usize);
