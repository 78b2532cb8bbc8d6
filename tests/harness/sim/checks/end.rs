//! What must hold once faults have stopped and everything has come to rest. [4, 5, 9, 11]

use super::Checks;
use shared::task::{Outcome, Reason, TaskStatus};

impl Checks {
    /// Checks that every accepted task has ended, and that what it says about its objects is true.
    pub(crate) fn at_rest(&self) -> Result<(), String> {
        for (id, told) in &self.told {
            if told.accepted && !self.tasks.contains_key(id) {
                return Err(format!("{id} was accepted and is lost"));
            }
        }
        for (id, task) in &self.tasks {
            if !task.image.status.is_terminal() {
                return Err(format!("{id} is stuck: {:?}", task.image));
            }
            for (chunk, outcomes) in task.chunks.iter().zip(self.outcomes(id)) {
                for (at, (key, outcome)) in chunk.ids.iter().zip(outcomes).enumerate() {
                    let is_gone = matches!(
                        outcome,
                        Outcome::Deleted | Outcome::Failed(Reason::NotFound)
                    );
                    let decided = chunk.decided.get(&at).copied().unwrap_or(u64::MAX);
                    if is_gone && self.objects.was_left(key, decided) {
                        return Err(format!("{key} of {id} is {outcome:?}, but it is there"));
                    }
                    if outcome == Outcome::Remaining && task.image.status != TaskStatus::Canceled {
                        return Err(format!("{key} of {id} remains"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The items that the pages of `/info?outcome=all` must show: every object and its outcome, in
    /// order.
    pub(crate) fn expected_items(&self, id: &str) -> Vec<(String, &'static str)> {
        let chunks = self.tasks.get(id).map(|task| task.chunks.as_slice());
        let ids = chunks.unwrap_or_default().iter();
        let ids = ids.flat_map(|chunk| chunk.ids.iter().cloned());
        let outcomes = self.outcomes(id).into_iter().flatten();
        ids.zip(outcomes.map(|outcome| outcome.as_str())).collect()
    }

    /// The status and the counters that responses must show.
    pub(crate) fn expected_progress(&self, id: &str) -> Option<(TaskStatus, u32, u32, u32)> {
        let image = &self.tasks.get(id)?.image;
        Some((image.status, image.total, image.deleted, image.failed))
    }

    /// Every object's outcome, chunk by chunk.
    fn outcomes(&self, id: &str) -> Vec<Vec<Outcome>> {
        let Some(task) = self.tasks.get(id) else {
            return Vec::new();
        };
        let chunks = task.chunks.iter();
        chunks
            .map(|chunk| chunk.image.counted(chunk.ids.len(), &task.image))
            .collect()
    }
}
