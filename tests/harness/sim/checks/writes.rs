//! What must hold at every committed write.

use super::{Checks, ChunkTruth, TaskTruth, Tried};
use crate::sim::dynamodb::Change;
use crate::sim::images::{ChunkImage, TaskImage, ids_of};
use crate::sim::world::ProcessId;
use chrono::{DateTime, Utc};
use shared::task::{Outcome, Reason, TaskStatus};

impl Checks {
    /// Checks a committed write. `changes` are all the items that it changed.
    pub(crate) fn written(
        &mut self,
        process: ProcessId,
        changes: Vec<Change>,
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        let mut touched = Vec::new();
        let mut chunks = Vec::new();
        for change in &changes {
            if change.key == "SWEEP" {
                continue; // this place affects only when tasks end
            }
            let (kind, name) = change.key.split_once('#').ok_or("an odd key")?;
            match kind {
                "T" => {
                    let before = self.tasks.get(name).map(|task| task.image.clone());
                    let image = TaskImage::of(&change.after);
                    self.task_written(name, before.as_ref(), &image)?;
                    if change.before.is_none() {
                        self.created(name, &image, &change.after)?;
                    } else if let Some(task) = self.tasks.get_mut(name) {
                        task.image = image;
                    }
                    touched.push(name.to_owned());
                    if ids_of(&change.after).is_some() {
                        chunks.push((name.to_owned(), 0, before, ChunkImage::of(&change.after)));
                    }
                }
                "S" => {
                    let (nonce, number) = name.split_once('#').ok_or("an odd key")?;
                    let number = number.parse().map_err(|_| "an odd key")?;
                    let task = self.nonces.get(nonce).cloned();
                    let task = task.ok_or_else(|| format!("a chunk of no task: {number}"))?;
                    touched.push(task.clone());
                    chunks.push((task, number, None, ChunkImage::of(&change.after)));
                }
                "I" => {
                    if change.before.is_some() {
                        return Err("a chunk's ids were written again, differently".to_owned());
                    }
                    let (nonce, number) = name.split_once('#').ok_or("an odd key")?;
                    let number = number.parse().map_err(|_| "an odd key")?;
                    let ids = ids_of(&change.after).ok_or("a chunk without ids")?;
                    if self.nonces.contains_key(nonce) {
                        return Err("ids are written after their task".to_owned());
                    }
                    self.ids
                        .entry(nonce.to_owned())
                        .or_default()
                        .insert(number, ids);
                }
                // The grants of an index's time. Losing one costs only time.
                "P" => {}
                other => return Err(format!("an item of kind {other}")),
            }
        }
        for (task, number, before, image) in chunks {
            self.chunk_written(process, &task, number, before.as_ref(), image, now)
                .map_err(|what| format!("task {task}, chunk {number}: {what}"))?;
        }
        for task in touched {
            self.counters_match(&task)
                .map_err(|what| format!("task {task}: {what}"))?;
        }
        Ok(())
    }

    /// Checks the first write of a task's item.
    fn created(
        &mut self,
        id: &str,
        image: &TaskImage,
        item: &serde_json::Value,
    ) -> Result<(), String> {
        let chunks: Vec<Vec<String>> = match image.chunks {
            None => vec![ids_of(item).ok_or("a task without ids")?],
            Some(count) => {
                let ids = self.ids.remove(&image.nonce).unwrap_or_default();
                if ids.len() != count as usize || !ids.keys().copied().eq(0..count) {
                    return Err(format!("task {id} is stored before its ids"));
                }
                ids.into_values().collect()
            }
        };
        self.nonces.insert(image.nonce.clone(), id.to_owned());
        for (number, ids) in (0..).zip(&chunks) {
            for key in ids {
                self.homes.insert(key.clone(), (id.to_owned(), number));
            }
        }
        let chunks = chunks.into_iter().map(|ids| ChunkTruth {
            ids,
            ..ChunkTruth::default()
        });
        let task = TaskTruth {
            image: image.clone(),
            chunks: chunks.collect(),
        };
        self.tasks.insert(id.to_owned(), task);
        Ok(())
    }

    /// [1, 2, 3]
    fn task_written(
        &self,
        id: &str,
        before: Option<&TaskImage>,
        after: &TaskImage,
    ) -> Result<(), String> {
        use TaskStatus::{Canceled, Done, Failed, Pending, Processing};
        let Some(before) = before else {
            return match (after.status, after.attempt) {
                (Pending, 1) => Ok(()),
                _ => Err(format!("task {id} begins as {after:?}")),
            };
        };
        if before.fixed != after.fixed {
            return Err(format!("what the create of {id} stored has changed"));
        }
        let is_restart = after.attempt == before.attempt + 1;
        if after.attempt != before.attempt && !is_restart {
            let (before, after) = (before.attempt, after.attempt);
            return Err(format!("the attempt of {id} goes from {before} to {after}"));
        }
        let is_legal = match (before.status, after.status) {
            (Done | Failed | Canceled, Pending) => is_restart,
            _ if is_restart => false,
            (from, to) if from == to => true,
            (Pending, Processing | Failed | Canceled) | (Processing, Done | Failed | Canceled) => {
                true
            }
            _ => false,
        };
        if !is_legal {
            let (before, after) = (before.status, after.status);
            return Err(format!(
                "task {id} goes from {before} to {after}, restart: {is_restart}"
            ));
        }
        let is_baseline_legal =
            after.baseline == before.baseline || (is_restart && after.baseline == after.attempt);
        if !is_baseline_legal || after.baseline < before.baseline {
            return Err(format!(
                "the baseline of {id} is already {}",
                after.baseline
            ));
        }
        Ok(())
    }

    /// [6, 7, 8, 9, 11]
    fn chunk_written(
        &mut self,
        process: ProcessId,
        id: &str,
        number: u32,
        task_before: Option<&TaskImage>,
        after: ChunkImage,
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        let task = self.tasks.get_mut(id).ok_or("no such task")?;
        let at_work = task_before.unwrap_or(&task.image);
        let chunk = task
            .chunks
            .get_mut(number as usize)
            .ok_or("no such chunk")?;
        let before = std::mem::replace(&mut chunk.image, after);
        let after = &chunk.image;
        if after.fence < before.fence {
            return Err(format!(
                "the fence falls from {} to {}",
                before.fence, after.fence
            ));
        }
        let is_claim = after.claim != before.claim;
        if is_claim {
            if after.fence != before.fence + 1 {
                return Err("a claim does not take the next fence".to_owned());
            }
            if before.lease_until.is_some_and(|until| until > now) {
                return Err("a claim is made while another is in force".to_owned());
            }
            let may_work = !at_work.status.is_terminal() && after.claim_attempt == at_work.attempt;
            if after.claim_attempt < before.claim_attempt {
                return Err("a worker of an earlier attempt takes the chunk over".to_owned());
            }
            chunk.owner = process;
            chunk.is_late = !may_work;
            chunk.last_delete = None;
            chunk.tried.clear();
        } else if after.fence != before.fence {
            return Err("the fence moves without a claim".to_owned());
        }
        let is_settlement =
            !is_claim && before.lease_until.is_some() && after.lease_until.is_none();
        if !is_claim && !is_settlement && after.lease_until != before.lease_until {
            return Err("a lease changes without a claim".to_owned());
        }
        if is_settlement && chunk.owner != process {
            return Err(format!(
                "process {process} settles the claim of {}",
                chunk.owner
            ));
        }
        let mut made_progress = chunk.tried.values().any(Tried::went_in_part);
        let mut remains = false;
        for (at, key) in chunk.ids.iter().enumerate() {
            let was = before
                .outcomes
                .at(at, task.image.attempt, task.image.baseline);
            let is = after
                .outcomes
                .at(at, task.image.attempt, task.image.baseline);
            let is_bad = self.bad.contains(key);
            let (was_seen, is_seen) = (before.seen.contains(at), after.seen.contains(at));
            made_progress |= was != is;
            remains |= is == Outcome::Remaining;
            if was != is {
                if !is_settlement && !is_claim {
                    return Err(format!("the outcome of {key} changes without a settlement"));
                }
                if was != Outcome::Remaining {
                    return Err(format!("{key} was {was:?} and becomes {is:?}"));
                }
                if is_claim && is_certain(&is) {
                    return Err(format!("{key} becomes {is:?} without a claim before"));
                }
                let tried = chunk.tried.get(&at);
                if is_given_up_as_kept(&is) {
                    if !tried.is_some_and(Tried::is_kept_twice) {
                        return Err(format!("{key} becomes {is:?}, but was not kept twice"));
                    }
                    self.given_up_as_kept += 1;
                }
                let since = tried.map(|tried| tried.since);
                if let Some(decided) = self.objects.counted(process, key, &is, is_bad, since)? {
                    chunk.decided.insert(at, decided);
                    self.gone.push(key.clone());
                }
            }
            if is_seen && !was_seen {
                if !is_claim {
                    return Err(format!("{key} is recorded as seen without a claim"));
                }
                self.objects.seen(process, key)?;
            }
            // If a restart prevents that a refusal is counted, the settlement still clears the
            // record.
            let is_refused = is_bad && task.image.attempt != before.claim_attempt;
            let may_clear = is_settlement && (is_certain(&is) || is_refused);
            if was_seen && !is_seen && !may_clear {
                return Err(format!("the record that {key} was seen is lost"));
            }
        }
        let is_at_work = task.image.status == TaskStatus::Processing
            && task.image.attempt == after.claim_attempt;
        if is_settlement && is_at_work && remains && made_progress && after.tries > 0 {
            return Err("a claim that made progress counts as a try".to_owned());
        }
        Ok(())
    }

    /// [4, 5]
    fn counters_match(&self, id: &str) -> Result<(), String> {
        let task = self.tasks.get(id).ok_or("no such task")?;
        let image = &task.image;
        let (mut deleted, mut failed, mut gave_up, mut size) = (0, 0, 0, 0);
        for chunk in &task.chunks {
            size += chunk.ids.len();
            for outcome in chunk.image.counted(chunk.ids.len(), image) {
                match outcome {
                    Outcome::Remaining => {}
                    Outcome::Deleted => deleted += 1,
                    Outcome::Failed(reason) => {
                        failed += 1;
                        gave_up += u32::from(!reason.is_definite());
                    }
                }
            }
        }
        if size != image.total as usize || deleted != image.deleted || failed != image.failed {
            return Err(format!(
                "counts {} deleted and {} failed of {}, but its chunks {deleted} and {failed} of {size}",
                image.deleted, image.failed, image.total
            ));
        }
        let is_complete = deleted + failed == image.total;
        match image.status {
            TaskStatus::Done if !is_complete || gave_up > 0 => Err(format!(
                "is done with {gave_up} given up, complete: {is_complete}"
            )),
            TaskStatus::Failed if !is_complete || gave_up == 0 => Err(format!(
                "has failed with {gave_up} given up, complete: {is_complete}"
            )),
            _ => Ok(()),
        }
    }
}

/// Whether the outcome says that one claim found the object kept, and not that many claims did.
fn is_given_up_as_kept(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Failed(Reason::GaveUp(why)) => {
            why.contains("still has the object") && !why.starts_with("Gave up after")
        }
        Outcome::Failed(Reason::NotFound | Reason::InvalidId(_))
        | Outcome::Deleted
        | Outcome::Remaining => false,
    }
}

/// Whether another try cannot change the outcome.
fn is_certain(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Deleted => true,
        Outcome::Failed(reason) => reason.is_definite(),
        Outcome::Remaining => false,
    }
}
