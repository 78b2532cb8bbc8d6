//! Which worker holds which chunk, according to the calls that arrive at the services.
//!
//! A delete may arrive only under its worker's claim, and that claim must be the newest. Otherwise
//! the delete could remove an object that was inserted again.

use super::World;
use crate::bench::attribute;
use serde_json::Value;
use shared::store::KEY;
use std::collections::BTreeMap;
use std::sync::MutexGuard;

/// The worker with the newest claim, by the key of the claimed item: a task or a chunk.
pub(super) type Holders = BTreeMap<String, u64>;

/// How many objects a chunk has. The ids are too short to reach the limit in bytes.
const CHUNK: usize = shared::task::MAX_CHUNK_OBJECTS;

impl World {
    /// Records a claim that DynamoDB made for this worker.
    pub(super) fn claimed(&self, worker: u64, call: &[u8]) {
        let Some(key) = claimed_key(call) else {
            return self.fault(format!("a claim of nothing: {}", text(call)));
        };
        self.holders().insert(key, worker);
    }

    /// Records this worker's delete when it arrives at S3 Vectors.
    pub(super) async fn deletes(&self, worker: u64, call: &[u8]) {
        let Some((task, chunk)) = deleted_chunk(call) else {
            return self.fault(format!("a delete of nothing: {}", text(call)));
        };
        let nonce = attribute(&self.service.running.clients.dynamodb, &task, "nonce").await;
        let keys = [format!("S#{nonce}#{chunk}"), format!("T#{task}")];
        let holder = keys.iter().find_map(|key| self.holders().get(key).copied());
        if holder != Some(worker) {
            let what = "a delete arrived that was not under the newest claim";
            self.fault(format!("{task}, chunk {chunk}: {what}"));
        }
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().expect("not poisoned")
    }

    fn fault(&self, what: String) {
        self.report().faults.push(what);
    }
}

fn text(call: &[u8]) -> String {
    String::from_utf8_lossy(call).chars().take(300).collect()
}

/// The task and the chunk that a delete is for. An index has the name of its task, and an object id
/// ends with its position.
fn deleted_chunk(call: &[u8]) -> Option<(String, usize)> {
    let call: Value = serde_json::from_slice(call).ok()?;
    let index = call["indexName"].as_str()?.to_owned();
    let position: usize = call["keys"][0].as_str()?.rsplit('-').next()?.parse().ok()?;
    Some((index, position / CHUNK))
}

/// The key of the item that a claim updates: a task or a chunk.
fn claimed_key(call: &[u8]) -> Option<String> {
    let call: Value = serde_json::from_slice(call).ok()?;
    Some(call["Key"][KEY]["S"].as_str()?.to_owned())
}
