//! What must hold at every delete call. [7, 8]

use super::{Checks, ChunkTruth, TaskRead, Tried};
use crate::sim::images::TaskImage;
use crate::sim::unsound::Effect;
use crate::sim::world::ProcessId;
use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::task::{Outcome, TaskStatus};
use shared::vector::AfterDelete;

impl Checks {
    /// Records that a process has the response to a read of an item.
    pub(crate) fn read(&mut self, process: ProcessId, key: &str, item: Option<&Value>) {
        let Some(id) = key.strip_prefix("T#") else {
            return;
        };
        self.steps += 1;
        let image = item.map(TaskImage::of);
        let at_work = image.filter(|image| image.status == TaskStatus::Processing);
        let read = TaskRead {
            step: self.steps,
            at_work_in: at_work.map(|image| image.attempt),
        };
        self.reads
            .entry((process, id.to_owned()))
            .or_default()
            .push(read);
    }

    /// Checks a delete call that a process starts.
    pub(crate) fn delete_starts(
        &mut self,
        process: ProcessId,
        keys: Vec<String>,
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        self.steps += 1;
        let home = keys.first().and_then(|key| self.homes.get(key).cloned());
        let Some((id, number)) = home else {
            return Err(format!("{keys:?} are deleted, which no task asks for"));
        };
        let task = self.tasks.get_mut(&id).ok_or("no such task")?;
        let chunk = task
            .chunks
            .get_mut(number as usize)
            .ok_or("no such chunk")?;
        let image = &chunk.image;
        let place = format!("a delete for task {id}, chunk {number}");
        if chunk.owner != process {
            return Err(format!(
                "{place} starts under a claim that {} took over",
                chunk.owner
            ));
        }
        if chunk.is_late {
            return Err(format!(
                "{place} starts under a claim made after its task had moved"
            ));
        }
        match image.lease_until {
            None => return Err(format!("{place} starts after its claim is settled")),
            Some(until) if until <= now => return Err(format!("{place} starts after its lease")),
            Some(_) => {}
        }
        for key in &keys {
            let at = chunk.ids.iter().position(|id| id == key);
            let at = at.ok_or_else(|| format!("{place} has {key}, of another chunk"))?;
            if !image.seen.contains(at) {
                return Err(format!("{place} has {key}, not on record as seen"));
            }
            let (attempt, baseline) = (task.image.attempt, task.image.baseline);
            let counts = image.outcomes.at(at, attempt, baseline);
            if counts != Outcome::Remaining {
                return Err(format!("{place} has {key}, which is {counts:?}"));
            }
            let since = self.objects.event();
            let tried = chunk.tried.entry(at);
            let tried = tried.or_insert(Tried {
                since,
                responses: Vec::new(),
            });
            if !tried.goes_on() {
                let responses = &tried.responses;
                return Err(format!("{place} has {key}, after {responses:?}"));
            }
        }
        if let Some(last) = chunk.last_delete {
            let reads = self.reads.get(&(process, id)).map(Vec::as_slice);
            let found = reads.unwrap_or_default().iter();
            let (mut found, attempt) = (found.rev(), Some(image.claim_attempt));
            if !found.any(|read| read.step > last && read.at_work_in == attempt) {
                return Err(format!(
                    "{place} starts though the task was not seen at work before"
                ));
            }
        }
        chunk.last_delete = Some(self.steps);
        Ok(())
    }

    /// Records that a delete call of the port ends with a response. A further call needs a read of
    /// the task after this.
    pub(crate) fn delete_ends(&mut self, process: ProcessId, keys: &[&str]) {
        self.steps += 1;
        let step = self.steps;
        if let Some((chunk, _)) = keys.first().and_then(|key| self.under_claim(process, key)) {
            chunk.last_delete = Some(step);
        }
    }

    /// Records the outcome that a process gets for an object.
    pub(crate) fn after_delete(&mut self, process: ProcessId, key: &str, after: &AfterDelete) {
        if let Some(tried) = self.tried(process, key) {
            tried.responses.push(after.clone());
        }
    }

    /// Whether an object was gone at some time since a process first deleted it.
    pub(crate) fn was_gone(&mut self, process: ProcessId, key: &str) -> bool {
        let decided = self.objects.decided_at(process, key);
        let tried = self.tried(process, key);
        tried.is_some_and(|tried| decided > Some(tried.since))
    }

    fn tried(&mut self, process: ProcessId, key: &str) -> Option<&mut Tried> {
        let (chunk, at) = self.under_claim(process, key)?;
        chunk.tried.get_mut(&at)
    }

    /// The chunk and the position of an object, if the newest claim on it is this process's.
    fn under_claim(&mut self, process: ProcessId, key: &str) -> Option<(&mut ChunkTruth, usize)> {
        let (id, number) = self.homes.get(key)?;
        let chunk = self.tasks.get_mut(id)?.chunks.get_mut(*number as usize)?;
        let at = chunk.ids.iter().position(|id| id == key)?;
        (chunk.owner == process).then_some((chunk, at))
    }

    /// Records that a process's delete is carried out on one object.
    pub(crate) fn deleted(
        &mut self,
        process: ProcessId,
        key: &str,
        effect: Effect,
    ) -> Result<(), String> {
        let decided = self.homes.get(key).and_then(|(id, number)| {
            let chunk = self.tasks.get(id)?.chunks.get(*number as usize)?;
            let at = chunk.ids.iter().position(|id| id == key)?;
            chunk.decided.get(&at).copied()
        });
        let inserted = self.objects.inserted_at(key);
        self.objects.deleted(process, key, effect);
        let does_harm = matches!(effect, Effect::Part | Effect::Gone);
        match decided {
            Some(decided) if does_harm && inserted > decided && self.is_over(process, key) => {
                Err(format!(
                    "a late delete of process {process} removes {key}, inserted after it was gone"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether the claim under which `process` deletes the object is settled or superseded.
    fn is_over(&self, process: ProcessId, key: &str) -> bool {
        let chunk = self
            .homes
            .get(key)
            .and_then(|(id, number)| self.tasks.get(id)?.chunks.get(*number as usize));
        chunk.is_none_or(|chunk| chunk.owner != process || chunk.image.lease_until.is_none())
    }
}
