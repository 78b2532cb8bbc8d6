//! The truth about each object: what was done to it, by whom, and what the service may say about
//! it.

use crate::sim::unsound::Effect;
use crate::sim::world::ProcessId;
use shared::task::{Outcome, Reason};
use std::collections::BTreeMap;

/// The truth about every object.
#[derive(Default)]
pub(crate) struct Objects {
    objects: BTreeMap<String, Object>,
    /// When a process last saw an object absent, or deleted it. From then on it may report the
    /// object as gone.
    decided: BTreeMap<(ProcessId, String), u64>,
    /// When a process last saw an object present.
    saw: BTreeMap<(ProcessId, String), u64>,
    /// Counts everything that happens to objects.
    events: u64,
}

#[derive(Default)]
struct Object {
    present: bool,
    /// When others last inserted it.
    inserted: u64,
    /// The service removed the object and has not counted that yet.
    removed: bool,
    /// A claim has recorded the object as seen, and it has not been counted as deleted since.
    seen: bool,
}

impl Objects {
    /// Returns the number of the next event.
    pub(super) fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    fn object(&mut self, key: &str) -> &mut Object {
        self.objects.entry(key.to_owned()).or_default()
    }

    /// Records that somebody else inserted an object.
    pub(crate) fn inserted(&mut self, key: &str) {
        let at = self.event();
        let object = self.object(key);
        (object.present, object.inserted) = (true, at);
    }

    /// Records that somebody else removed an object.
    pub(crate) fn removed_by_others(&mut self, key: &str) {
        self.object(key).present = false;
    }

    /// Records the response to a process's existence check.
    pub(crate) fn looked(&mut self, process: ProcessId, key: &str, present: bool) {
        let at = self.event();
        let log = if present {
            &mut self.saw
        } else {
            &mut self.decided
        };
        log.insert((process, key.to_owned()), at);
    }

    /// Records that a process's delete was carried out.
    pub(super) fn deleted(&mut self, process: ProcessId, key: &str, effect: Effect) {
        let at = self.event();
        if matches!(effect, Effect::Kept | Effect::Part) {
            return; // it is still there
        }
        self.decided.insert((process, key.to_owned()), at);
        let object = self.object(key);
        object.present = false;
        object.removed |= effect == Effect::Gone;
    }

    /// When a process last saw an object absent, or removed it.
    pub(super) fn decided_at(&self, process: ProcessId, key: &str) -> Option<u64> {
        self.decided.get(&(process, key.to_owned())).copied()
    }

    /// When others last inserted it.
    pub(super) fn inserted_at(&self, key: &str) -> u64 {
        self.objects.get(key).map_or(0, |object| object.inserted)
    }

    /// Checks a claim that records that it saw the object.
    pub(super) fn seen(&mut self, process: ProcessId, key: &str) -> Result<(), String> {
        self.object(key).seen = true;
        if self.saw.contains_key(&(process, key.to_owned())) {
            Ok(())
        } else {
            Err(format!(
                "{key} is recorded as seen by process {process}, which never saw it"
            ))
        }
    }

    /// Checks the outcome that a settlement of `process` records for an open object. `tried` is
    /// when the claim first deleted the object, if it did. If the outcome says that the object is
    /// gone, returns since when that may be reported.
    pub(super) fn counted(
        &mut self,
        process: ProcessId,
        key: &str,
        outcome: &Outcome,
        is_bad: bool,
        tried: Option<u64>,
    ) -> Result<Option<u64>, String> {
        let decided = self.decided_at(process, key);
        let object = self.object(key);
        match outcome {
            Outcome::Deleted => {
                if !object.removed && !object.seen {
                    return Err(format!(
                        "{key} counts as deleted, but nobody saw or removed it"
                    ));
                }
                (object.removed, object.seen) = (false, false);
            }
            Outcome::Failed(Reason::NotFound) => {
                if object.removed {
                    return Err(format!(
                        "{key} counts as not found, but the service removed it"
                    ));
                }
            }
            Outcome::Failed(Reason::InvalidId(_)) if !is_bad => {
                return Err(format!("{key} counts as refused, but its id is a good one"));
            }
            Outcome::Failed(_) | Outcome::Remaining => return Ok(None),
        }
        match decided {
            decided if tried > decided => Err(format!(
                "{key} counts as {outcome:?}, but the claim's deletes left it there"
            )),
            None => Err(format!(
                "{key} counts as {outcome:?} by one who never looked"
            )),
            Some(decided) if object.present && object.inserted < decided => {
                Err(format!("{key} counts as {outcome:?}, but it is there"))
            }
            decided => Ok(decided),
        }
    }

    /// Whether the object is in the index although nobody inserted it after `event`.
    pub(super) fn was_left(&self, key: &str, event: u64) -> bool {
        let object = self.objects.get(key);
        object.is_some_and(|object| object.present && object.inserted < event)
    }
}
