//! Who holds which chunk, as the calls that arrive at the services tell: a delete may arrive only under its worker's claim, and
//! that must be the newest. Else it could remove an object that was inserted again.

use super::World;
use serde_json::Value;
use shared::store::KEY;
use std::collections::BTreeMap;
use std::sync::MutexGuard;

/// The newest claim's worker, by task and chunk.
pub(super) type Holders = BTreeMap<(String, usize), u64>;

/// How many objects a chunk has; the ids are too short for its other limit.
const CHUNK: usize = shared::task::MAX_CHUNK_OBJECTS;

impl World {
    /// Takes note of a claim that DynamoDB made for this worker.
    pub(super) fn claimed(&self, worker: u64, call: &[u8]) {
        let Some(chunk) = claimed_chunk(call) else {
            return self.fault(format!("a claim of nothing: {}", text(call)));
        };
        self.holders().insert(chunk, worker);
    }

    /// Takes note of this worker's delete, as it arrives at S3 Vectors.
    pub(super) fn deletes(&self, worker: u64, call: &[u8]) {
        let Some(chunk) = deleted_chunk(call) else {
            return self.fault(format!("a delete of nothing: {}", text(call)));
        };
        let holder = self.holders().get(&chunk).copied();
        if holder != Some(worker) {
            let (task, number) = chunk;
            let what = "a delete arrived that was not under the newest claim";
            self.fault(format!("{task}, chunk {number}: {what}"));
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

/// The task and the chunk that a delete is for: an index is named like its task, an object ends with its position.
fn deleted_chunk(call: &[u8]) -> Option<(String, usize)> {
    let call: Value = serde_json::from_slice(call).ok()?;
    let index = call["indexName"].as_str()?.to_owned();
    let position: usize = call["keys"][0].as_str()?.rsplit('-').next()?.parse().ok()?;
    Some((index, position / CHUNK))
}

/// The task and the chunk that a claim is for: an update of the task's only item, or a transaction on the task's item and
/// the chunk's.
fn claimed_chunk(call: &[u8]) -> Option<(String, usize)> {
    let call: Value = serde_json::from_slice(call).ok()?;
    let parts: Vec<_> = match call["TransactItems"].as_array() {
        Some(parts) => parts
            .iter()
            .flat_map(|part| part.as_object().into_iter().flatten())
            .map(|(_, part)| part)
            .collect(),
        None => vec![&call],
    };
    let (mut task, mut chunk) = (None, 0);
    for part in parts {
        match part["Key"][KEY]["S"].as_str()?.split_once('#')? {
            ("T", id) => task = Some(id.to_owned()),
            (_, state) => chunk = state.rsplit('#').next()?.parse().ok()?,
        }
    }
    Some((task?, chunk))
}
