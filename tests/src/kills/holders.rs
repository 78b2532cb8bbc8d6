//! Who holds which chunk, as the calls that arrive at the services tell: a delete may arrive only under its worker's claim, and
//! that must be the newest. Else it could remove an object that was inserted again.

use super::World;
use local::NAME;
use serde_json::Value;
use std::collections::BTreeMap;

/// The newest claim's worker, by task and chunk.
pub(super) type Holders = BTreeMap<(String, usize), u64>;

/// How many objects a chunk has; the ids are too short for its other limit.
const CHUNK: usize = shared::task::MAX_CHUNK_OBJECTS;

impl World {
    /// Takes note of a claim that DynamoDB made for this worker.
    pub(super) fn claimed(&self, worker: u64, call: &Value) {
        let chunk = chunk_of(call);
        let mut holders = self.holders.lock().expect("not poisoned");
        holders.insert(chunk, worker);
    }

    /// Takes note of this worker's delete, as it arrives at S3 Vectors.
    pub(super) fn deletes(&self, worker: u64, call: &Value) {
        let index = call["indexName"].as_str().expect("an index").to_owned();
        let first = call["keys"][0].as_str().expect("a key");
        let position = first
            .rsplit('-')
            .next()
            .and_then(|n| n.parse::<usize>().ok());
        let chunk = (index, position.expect("a numbered object") / CHUNK);
        let holders = self.holders.lock().expect("not poisoned");
        if holders.get(&chunk) != Some(&worker) {
            let (task, number) = chunk;
            let fault = format!("{task}, chunk {number}: a delete arrived after a newer claim");
            self.report().late.push(fault);
        }
    }
}

/// The task and the chunk that a guarded write is about: an update of the task's only item, or a transaction on the task's
/// item and the chunk's.
fn chunk_of(call: &Value) -> (String, usize) {
    let parts = match call["TransactItems"].as_array() {
        Some(parts) => parts
            .iter()
            .filter_map(Value::as_object)
            .flat_map(|part| part.values())
            .collect(),
        None => vec![call],
    };
    let (mut task, mut chunk) = (None, 0);
    for part in parts {
        assert_eq!(part["TableName"], NAME);
        let key = part["Key"]["pk"]["S"].as_str().expect("a key");
        match key.split_once('#') {
            Some(("T", id)) => task = Some(id.to_owned()),
            Some(("S", state)) => {
                let number = state.rsplit('#').next().and_then(|n| n.parse().ok());
                chunk = number.expect("a chunk's number");
            }
            _ => panic!("a claim writes {key}"),
        }
    }
    (task.expect("a claim is about a task"), chunk)
}
