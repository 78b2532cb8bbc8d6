//! S3 Vectors: one index, and the truth about each object in it.

use super::connector::{Call, Response};
use super::unsound::{Effect, UnsoundKey};
use super::world::{ProcessId, State};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The maximum number of keys in a get and in a delete.
const MAX_GET: usize = 100;
const MAX_DELETE: usize = 500;

/// The calls that always refuse an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    InEveryCall,
    InDeletes,
}

/// The index.
#[derive(Default)]
pub(crate) struct Index {
    present: BTreeSet<String>,
    pub(crate) bad: BTreeMap<String, Bad>,
    /// Keys whose deletes are acknowledged but not always fully carried out.
    pub(crate) unsound: BTreeMap<String, UnsoundKey>,
    /// Objects that deletes removed, until [`State::take_insertions`] takes them.
    pub(crate) taken_away: Vec<String>,
    /// How fast the index deletes. If absent, there is no limit.
    pub(crate) rate: Option<Rate>,
}

/// A limit on vectors per second. Unused capacity is saved up for one second at most. Calls above
/// the limit are refused.
pub(crate) struct Rate {
    per_second: f64,
    saved: f64,
    at: DateTime<Utc>,
}

impl Rate {
    pub(crate) fn new(per_second: u32, now: DateTime<Utc>) -> Self {
        Self {
            per_second: per_second.into(),
            saved: per_second.into(),
            at: now,
        }
    }

    fn allows(&mut self, vectors: usize, now: DateTime<Utc>) -> bool {
        let passed = (now - self.at).as_seconds_f64();
        self.saved = (self.saved + passed * self.per_second).min(self.per_second);
        self.at = now;
        let asked = u32::try_from(vectors).map_or(f64::MAX, f64::from);
        if asked > self.saved {
            return false;
        }
        self.saved -= asked;
        true
    }
}

impl Index {
    /// Whether the index has the object.
    pub(crate) fn holds(&self, key: &str) -> bool {
        self.present.contains(key)
    }

    /// A delete of one key.
    fn delete(&mut self, key: &str, now: DateTime<Utc>) -> Effect {
        let is_present = self.holds(key);
        let effect = match self.unsound.get_mut(key) {
            Some(key) => key.delete(is_present, now),
            None if is_present => Effect::Gone,
            None => Effect::Absent,
        };
        if effect == Effect::Gone {
            self.present.remove(key);
            self.taken_away.push(key.to_owned());
        }
        effect
    }
}

impl State {
    /// Somebody else puts an object into the index.
    pub(crate) fn insert_object(&mut self, key: &str) {
        self.note(0, &format!("somebody inserts {key}"));
        self.index.present.insert(key.to_owned());
        if let Some(unsound) = self.index.unsound.get_mut(key) {
            unsound.inserted();
        }
        self.checks.objects.inserted(key);
    }

    /// Somebody else takes an object out of the index.
    pub(crate) fn remove_object(&mut self, key: &str) {
        self.note(0, &format!("somebody removes {key}"));
        self.index.present.remove(key);
        self.checks.objects.removed_by_others(key);
    }

    pub(super) fn serve_s3vectors(
        &mut self,
        process: ProcessId,
        call: &Call,
        partly: bool,
    ) -> Response {
        let mut keys = keys_of(&call.body);
        let is_delete = call.name == "DeleteVectors";
        let most = if is_delete { MAX_DELETE } else { MAX_GET };
        if keys.is_empty() || keys.len() > most {
            self.violated(format!("{} of {} keys", call.name, keys.len()));
        }
        let is_bad = |key: &String| match self.index.bad.get(key) {
            Some(Bad::InEveryCall) => true,
            Some(Bad::InDeletes) => is_delete,
            None => false,
        };
        if keys.iter().any(is_bad) {
            self.fault("invalid keys");
            return invalid_keys();
        }
        let now = self.now();
        let is_too_fast = |rate: &mut Rate| is_delete && !rate.allows(keys.len(), now);
        if self.index.rate.as_mut().is_some_and(is_too_fast) {
            self.fault("delete too fast for the store");
            return Response::refusal(429, "TooManyRequestsException");
        }
        if !is_delete {
            let mut found = Vec::new();
            for key in &keys {
                let present = self.index.holds(key);
                self.checks.objects.looked(process, key, present);
                if present {
                    found.push(json!({"key": key}));
                }
            }
            self.rng.shuffle(&mut found);
            return Response::ok(&json!({"vectors": found}));
        }
        if partly {
            self.rng.shuffle(&mut keys);
            keys.truncate(self.rng.usize(0..=keys.len()));
        }
        for key in &keys {
            let effect = self.index.delete(key, now);
            if matches!(effect, Effect::Kept | Effect::Part) {
                self.note(process, &format!("the delete of {key}: {effect:?}"));
            }
            let checked = self.checks.deleted(process, key, effect);
            self.expect(checked);
        }
        self.meddle(&keys);
        if partly {
            Response::refusal(500, "InternalServerException")
        } else {
            Response::ok(&json!({}))
        }
    }
}

/// The keys in a call.
pub(super) fn keys_of(body: &Value) -> Vec<String> {
    let keys = body["keys"].as_array().into_iter().flatten();
    keys.filter_map(|key| key.as_str().map(str::to_owned))
        .collect()
}

fn invalid_keys() -> Response {
    let fields = json!([{"path": "keys", "message": "refused by the simulation"}]);
    let body = json!({"__type": "ValidationException", "message": "refused", "fieldList": fields});
    Response {
        status: 400,
        body: body.to_string(),
    }
}
