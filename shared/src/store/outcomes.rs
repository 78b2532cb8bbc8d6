//! The outcome of each object, in the order of the request, one page at a time.

use super::item::{Objects, StoredTask};
use super::{StoreError, TaskStore};
use crate::task::{ChunkState, FailedItem, MAX_CHUNK_OBJECTS, ObjectIds, Outcome, OutcomeFilter};
use std::fmt;
use std::str::FromStr;

/// The most chunks whose ids one page reads. A page that has read this many ends, full or not.
const MAX_CHUNKS_READ: usize = 40;
/// The most bytes that a page's objects take in a response, however they have to be escaped.
///
/// With the first thousand failures beside it, a page stays below the 6 MB of a Lambda response.
const MAX_PAGE_BYTES: usize = 1_000_000;

/// A position in the order of a task's objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectPosition {
    /// The chunk's number.
    pub chunk: u32,
    /// The position in the chunk.
    pub position: usize,
}

/// One object and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectOutcome {
    /// The object.
    pub object_id: String,
    /// Its outcome.
    pub outcome: Outcome,
}

/// Some of a task's objects, in the order of the request.
#[derive(Debug, Default)]
pub struct OutcomePage {
    /// The objects.
    pub items: Vec<ObjectOutcome>,
    /// Where the next page begins. `None` if nothing follows.
    pub next: Option<ObjectPosition>,
    /// Whether the task was restarted while it was read. Then outcomes may be of a later attempt.
    pub restarted: bool,
}

/// The first objects of a task that were tried and not deleted.
#[derive(Debug, Default)]
pub struct Failures {
    /// The objects, in the order of the request.
    pub items: Vec<FailedItem>,
    /// Whether the task was restarted while they were read. Then some may be of a later attempt.
    pub restarted: bool,
}

impl TaskStore {
    /// Returns the objects of `task` that `filter` selects, from `from` on, at most `most` of them.
    ///
    /// A page may have fewer and still be followed by another. The cost of a page does not depend
    /// on where it begins: the states of chunks are small, and ids are read only for chunks that
    /// have something to show.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn outcomes(
        &self,
        task: &StoredTask,
        filter: OutcomeFilter,
        from: ObjectPosition,
        most: usize,
    ) -> Result<OutcomePage, StoreError> {
        let mut page = Filling::new(task, filter, most);
        let count = match &task.objects {
            Objects::Inline(chunk) => {
                let ids = chunk.ids(&task.task.id)?;
                page.take(from, &ids, Some(&chunk.state));
                return Ok(page.done);
            }
            Objects::Chunks(count) => *count,
        };
        let mut may_read = MAX_CHUNKS_READ;
        for window in super::windows(from.chunk, count) {
            let states = self.chunk_states(task, window.clone()).await?;
            let mut wanted: Vec<_> = window
                .zip(states)
                .filter(|(_, state)| page.matches(state.as_ref()) > 0)
                .collect();
            while let Some((next, _)) = wanted.first() {
                if may_read == 0 {
                    page.end_before(ObjectPosition {
                        chunk: *next,
                        position: 0,
                    });
                    return Ok(page.done);
                }
                // As many chunks as fill the page, according to their states.
                let mut expected = 0;
                let enough = wanted.iter().position(|(_, state)| {
                    expected += page.matches(state.as_ref());
                    expected > page.left()
                });
                let reads = enough.map_or(wanted.len(), |at| at + 1).min(may_read);
                let rest = wanted.split_off(reads);
                may_read -= reads;
                let numbers: Vec<u32> = wanted.iter().map(|(number, _)| *number).collect();
                let ids = self.chunk_ids(task, &numbers).await?;
                for ((chunk, state), ids) in wanted.iter().zip(&ids) {
                    let position = if *chunk == from.chunk {
                        from.position
                    } else {
                        0
                    };
                    let place = ObjectPosition {
                        chunk: *chunk,
                        position,
                    };
                    if page.take(place, ids, state.as_ref()) {
                        return Ok(page.done);
                    }
                }
                wanted = rest;
            }
        }
        Ok(page.done)
    }

    /// Returns the first `most` objects of `task` that were tried and not deleted.
    ///
    /// Reads nothing if the task's counter says that there are none.
    ///
    /// # Errors
    /// If a call to DynamoDB fails.
    pub async fn failures(&self, task: &StoredTask, most: usize) -> Result<Failures, StoreError> {
        let mut failures = Failures::default();
        let mut from = (task.task.progress.failed > 0).then(ObjectPosition::default);
        while let Some(place) = from {
            let left = most - failures.items.len();
            let page = self.outcomes(task, OutcomeFilter::Failed, place, left);
            let page = page.await?;
            failures.restarted |= page.restarted;
            failures
                .items
                .extend(page.items.into_iter().filter_map(|item| {
                    let Outcome::Failed(reason) = item.outcome else {
                        return None;
                    };
                    Some(FailedItem::new(item.object_id, reason.detail()))
                }));
            from = page.next.filter(|_| failures.items.len() < most);
        }
        Ok(failures)
    }
}

impl fmt::Display for ObjectPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.chunk, self.position)
    }
}

impl FromStr for ObjectPosition {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (chunk, position) = text.split_once('.').ok_or(())?;
        Ok(Self {
            chunk: chunk.parse().map_err(drop)?,
            position: position.parse().map_err(drop)?,
        })
    }
}

/// A page that is being filled.
struct Filling {
    attempt: u32,
    baseline: u32,
    filter: OutcomeFilter,
    most: usize,
    bytes: usize,
    done: OutcomePage,
}

impl Filling {
    fn new(task: &StoredTask, filter: OutcomeFilter, most: usize) -> Self {
        Self {
            attempt: task.task.attempt,
            baseline: task.baseline,
            filter,
            most,
            bytes: 0,
            done: OutcomePage::default(),
        }
    }

    /// Returns how many more objects the page can take.
    fn left(&self) -> usize {
        self.most - self.done.items.len()
    }

    fn end_before(&mut self, place: ObjectPosition) {
        self.done.next = Some(place);
    }

    /// Returns how many objects of a chunk the page selects.
    ///
    /// The size of a chunk without a state is not known, so the largest possible size is assumed.
    fn matches(&mut self, state: Option<&ChunkState>) -> usize {
        let Some(state) = state else {
            let all_match = self.filter.lets_through(&Outcome::Remaining);
            return if all_match { MAX_CHUNK_OBJECTS } else { 0 };
        };
        self.done.restarted |= state.outcomes.attempt() > self.attempt;
        let outcomes = state.outcomes_in(self.attempt, self.baseline);
        outcomes
            .filter(|outcome| self.filter.lets_through(outcome))
            .count()
    }

    /// Adds a chunk's objects from `from` on.
    ///
    /// Returns whether the page is full and another one follows.
    fn take(&mut self, from: ObjectPosition, ids: &ObjectIds, state: Option<&ChunkState>) -> bool {
        for (position, id) in ids.iter().enumerate().skip(from.position) {
            let outcome = state.map_or(Outcome::Remaining, |state| {
                state.outcomes.at(position, self.attempt, self.baseline)
            });
            if !self.filter.lets_through(&outcome) {
                continue;
            }
            let bytes = size_in_a_response(id, &outcome);
            if self.left() == 0 || self.bytes + bytes > MAX_PAGE_BYTES {
                let chunk = from.chunk;
                self.end_before(ObjectPosition { chunk, position });
                return true;
            }
            self.bytes += bytes;
            self.done.items.push(ObjectOutcome {
                object_id: id.to_owned(),
                outcome,
            });
        }
        false
    }
}

/// Returns an upper bound for an object's bytes in Lambda's response.
///
/// The body is JSON inside JSON: a quote or a backslash takes four bytes.
fn size_in_a_response(id: &str, outcome: &Outcome) -> usize {
    let detail = match outcome {
        Outcome::Failed(reason) => reason.detail(),
        Outcome::Remaining | Outcome::Deleted => "",
    };
    let escaped = |text: &str| text.len() + 3 * text.matches(['"', '\\']).count();
    escaped(id) + escaped(detail) + 80
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Reason;
    use serde_json::json;

    #[test]
    fn the_bound_of_an_objects_bytes_is_hardly_more_than_what_it_takes() {
        let gave_up = |why: &str| Outcome::Failed(Reason::GaveUp(why.to_owned()));
        for id in ["o-1", "\"", "a\\b\"c", &"\"x".repeat(500)] {
            for outcome in [Outcome::Deleted, gave_up("no"), gave_up(&"\"\\".repeat(99))] {
                let bound = size_in_a_response(id, &outcome);
                let detail = match &outcome {
                    Outcome::Failed(reason) => reason.detail(),
                    Outcome::Remaining | Outcome::Deleted => "",
                };
                let item = json!({"object_id": id, "outcome": "remaining", "detail": detail});
                let takes = json!(item.to_string()).to_string().len();
                assert!(
                    (takes..takes + 80).contains(&bound),
                    "{takes}, {bound}: {id}"
                );
            }
        }
    }
}
