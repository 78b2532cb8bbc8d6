//! The stored state, as the checks read it. They read the items directly, not through the service.

use base64::prelude::{BASE64_STANDARD, Engine};
use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::task::{Bitmap, ObjectIds, Outcome, Outcomes, TaskStatus};

/// A task's item.
#[derive(Clone, Debug)]
pub(crate) struct TaskImage {
    pub(crate) status: TaskStatus,
    pub(crate) attempt: u32,
    pub(crate) baseline: u32,
    pub(crate) total: u32,
    pub(crate) deleted: u32,
    pub(crate) failed: u32,
    pub(crate) nonce: String,
    pub(crate) due_at: Option<i64>,
    /// The number of chunks, if they are separate items.
    pub(crate) chunks: Option<u32>,
    /// What the winner of the create stored, which never changes.
    pub(crate) fixed: Vec<Value>,
}

/// A chunk's state, from its own item or from its task's.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChunkImage {
    pub(crate) fence: u64,
    pub(crate) claim: Option<String>,
    pub(crate) claim_attempt: u32,
    /// Claims that ended without progress.
    pub(crate) tries: u32,
    pub(crate) lease_until: Option<DateTime<Utc>>,
    pub(crate) seen: Bitmap,
    pub(crate) outcomes: Outcomes,
}

impl TaskImage {
    pub(crate) fn of(item: &Value) -> Self {
        let fixed = [
            "model",
            "fingerprint",
            "nonce",
            "total",
            "created_at",
            "expires_at",
            "ids",
            "chunks",
        ];
        Self {
            status: text(item, "status")
                .and_then(|word| word.parse().ok())
                .expect("a status"),
            attempt: number(item, "attempt").expect("an attempt"),
            baseline: number(item, "baseline").expect("a baseline"),
            total: number(item, "total").expect("a counter"),
            deleted: number(item, "deleted").expect("a counter"),
            failed: number(item, "failed").expect("a counter"),
            nonce: text(item, "nonce").expect("a nonce"),
            due_at: number(item, "due_at"),
            chunks: number(item, "chunks"),
            fixed: fixed.map(|name| item[name].clone()).to_vec(),
        }
    }
}

impl ChunkImage {
    pub(crate) fn of(item: &Value) -> Self {
        let reasons = item.pointer("/reasons/L").and_then(Value::as_array);
        let reasons = reasons.into_iter().flatten();
        let reasons = reasons.filter_map(|reason| reason["S"].as_str().map(str::to_owned));
        let outcomes_attempt = number(item, "outcomes_attempt").unwrap_or(0);
        Self {
            fence: number(item, "fence").unwrap_or(0),
            claim: text(item, "claim"),
            claim_attempt: number(item, "claim_attempt").unwrap_or(0),
            tries: number(item, "tries").unwrap_or(0),
            lease_until: number(item, "lease_until").and_then(DateTime::from_timestamp_millis),
            seen: Bitmap::from_bytes(bytes(item, "seen")),
            outcomes: Outcomes::from_parts(
                bytes(item, "outcomes"),
                reasons.collect(),
                outcomes_attempt,
            ),
        }
    }

    /// The outcome that a task counts for each of `size` objects.
    pub(crate) fn counted(&self, size: usize, task: &TaskImage) -> Vec<Outcome> {
        (0..size)
            .map(|at| self.outcomes.at(at, task.attempt, task.baseline))
            .collect()
    }
}

/// The ids in an item.
pub(crate) fn ids_of(item: &Value) -> Option<Vec<String>> {
    item.get("ids")?;
    let ids = ObjectIds::from_bytes(&bytes(item, "ids")).expect("ids as they are stored");
    Some(ids.iter().map(str::to_owned).collect())
}

fn text(item: &Value, name: &str) -> Option<String> {
    item[name]["S"].as_str().map(str::to_owned)
}

fn number<T: std::str::FromStr>(item: &Value, name: &str) -> Option<T> {
    item[name]["N"].as_str()?.parse().ok()
}

fn bytes(item: &Value, name: &str) -> Vec<u8> {
    let text = item[name]["B"].as_str().unwrap_or_default();
    BASE64_STANDARD.decode(text).expect("base64")
}
