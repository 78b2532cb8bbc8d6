//! The work on one chunk of a task's objects: which are open, what a claim records, what a
//! settlement says.

use super::{Bitmap, FailedHead, ObjectIds, Outcome, Outcomes, Reason, TaskStatus};
use chrono::{DateTime, Utc};

/// Up to 500 objects of a task, and the state of the work on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The objects, in the order of the request.
    pub ids: ObjectIds,
    /// The state of the work on them.
    pub state: ChunkState,
}

/// The state of the work on a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkState {
    /// How many objects the chunk has.
    pub size: usize,
    /// The number of claims so far, across restarts. It includes claims that only defer or fail.
    pub fence: u64,
    /// The newest claim's token.
    pub claim: Option<String>,
    /// Set while the newest claim is not settled. While it is in the future, nobody else may claim.
    pub lease_until: Option<DateTime<Utc>>,
    /// The attempt that the newest claim was made in, or 0 if there was none.
    ///
    /// `tries` and `put_offs` are counted in that attempt.
    pub attempt: u32,
    /// Claims that ended without progress, including the claim in force: see [`Self::tries_in`].
    pub tries: u32,
    /// How often the chunk was deferred since its last progress: see [`Self::put_offs_in`].
    pub put_offs: u32,
    /// When the chunk is to be sent again, if it was deferred or its worker died.
    pub due_at: Option<DateTime<Utc>>,
    /// Objects that a claim saw in the index and whose deletion is not settled.
    ///
    /// If such an object is gone now, this service deleted it.
    pub seen: Bitmap,
    /// The outcome of each object.
    pub outcomes: Outcomes,
}

/// The record that a worker stores before its first delete call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// A name that no other claim has.
    pub token: String,
    /// The claim's number: one more than the fence that the worker read.
    pub fence: u64,
    /// The attempt that it is made in.
    pub attempt: u32,
    /// The number of claims without progress, including this one.
    pub tries: u32,
    /// The objects that this claim found in the index, and those that earlier unsettled claims
    /// found.
    pub seen: Bitmap,
}

/// The number of objects that have an outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects that count as deleted.
    pub deleted: u32,
    /// Objects that were tried and not deleted.
    pub failed: u32,
    /// The failed objects that are not in the index.
    pub not_found: u32,
}

impl Counts {
    /// Returns the number of objects that have an outcome.
    pub fn sum(self) -> u32 {
        self.deleted + self.failed
    }

    /// Returns the sum of these counts and `more`.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            deleted: self.deleted + more.deleted,
            failed: self.failed + more.failed,
            not_found: self.not_found + more.not_found,
        }
    }

    fn fail(&mut self, reason: &Reason) {
        self.failed += 1;
        self.not_found += u32::from(*reason == Reason::NotFound);
    }

    /// Returns how much these counts exceed `before`.
    fn since(self, before: Self) -> Self {
        Self {
            deleted: self.deleted.saturating_sub(before.deleted),
            failed: self.failed.saturating_sub(before.failed),
            not_found: self.not_found.saturating_sub(before.not_found),
        }
    }
}

/// What the end of a claim records for its chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The outcome of each object, including all earlier ones.
    pub outcomes: Outcomes,
    /// The objects that were seen and are still not settled.
    pub seen: Bitmap,
    /// The objects that have an outcome now and had none before. The task's counters grow by these.
    pub newly: Counts,
    /// Whether no object of the chunk remains.
    pub is_complete: bool,
    /// The reason why objects of the chunk were given up, if any were.
    pub gave_up: Option<String>,
    /// The chunk's first failures, as many as a list row can show.
    pub failed_head: FailedHead,
}

impl ChunkState {
    /// Creates the state of a chunk with `size` objects that no worker has claimed yet.
    pub fn of(size: usize) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    /// Returns whether a claim is in force at `now`, so that nobody else may claim.
    pub fn is_leased(&self, now: DateTime<Utc>) -> bool {
        self.lease_until.is_some_and(|until| now < until)
    }

    /// Returns how many claims of `attempt` ended without progress.
    pub fn tries_in(&self, attempt: u32) -> u32 {
        if self.attempt == attempt {
            self.tries
        } else {
            0
        }
    }

    /// Returns how often the chunk was deferred in `attempt` since its last progress.
    pub fn put_offs_in(&self, attempt: u32) -> u32 {
        if self.attempt == attempt {
            self.put_offs
        } else {
            0
        }
    }

    /// Returns what each object counts as in `attempt`, in order.
    pub fn outcomes_in(&self, attempt: u32, baseline: u32) -> impl Iterator<Item = Outcome> {
        (0..self.size).map(move |position| self.outcomes.at(position, attempt, baseline))
    }

    /// Returns how many objects have an outcome in `attempt`.
    pub fn counts(&self, attempt: u32, baseline: u32) -> Counts {
        let mut counts = Counts::default();
        for outcome in self.outcomes_in(attempt, baseline) {
            match outcome {
                Outcome::Remaining => {}
                Outcome::Deleted => counts.deleted += 1,
                Outcome::Failed(reason) => counts.fail(&reason),
            }
        }
        counts
    }
}

impl Chunk {
    /// Creates a chunk that no worker has claimed yet.
    pub fn new(ids: ObjectIds) -> Self {
        Self {
            state: ChunkState::of(ids.len()),
            ids,
        }
    }

    /// Returns the positions of the objects that have no outcome in `attempt` yet.
    pub fn open(&self, attempt: u32, baseline: u32) -> Vec<usize> {
        let outcomes = self.state.outcomes_in(attempt, baseline).enumerate();
        outcomes
            .filter(|(_, outcome)| *outcome == Outcome::Remaining)
            .map(|(position, _)| position)
            .collect()
    }

    /// Creates the claim of a worker in `attempt` whose existence check found `present`.
    pub fn claim(
        &self,
        token: String,
        attempt: u32,
        present: impl IntoIterator<Item = usize>,
    ) -> Claim {
        let mut seen = self.state.seen.clone();
        for position in present {
            seen.insert(position);
        }
        Claim {
            token,
            fence: self.state.fence + 1,
            attempt,
            tries: self.state.tries_in(attempt) + 1,
            seen,
        }
    }

    /// Returns the settlement of a claim that was made in `claimed_attempt` and ended with
    /// `results`.
    ///
    /// The task is now in `status` and in `attempt`:
    ///
    /// - If the task is still processing in the claim's attempt, every result counts.
    /// - If the task has been canceled since the claim, definite results count. An object that was
    ///   given up remains.
    /// - If the task has been restarted since the claim, deletions count. The new attempt handles
    ///   everything else.
    /// - If everything has been restarted since the claim, nothing counts, and the record of what
    ///   was seen is kept. The new attempt checks every object. If an object in the record is gone
    ///   then, this service deleted it.
    pub fn settle(
        &self,
        results: &[(usize, Outcome)],
        status: TaskStatus,
        claimed_attempt: u32,
        attempt: u32,
        baseline: u32,
    ) -> Settlement {
        let restarted = attempt != claimed_attempt;
        let results = if baseline > claimed_attempt {
            &[]
        } else {
            results
        };
        let canceled = status == TaskStatus::Canceled;
        let mut outcomes = Outcomes::none(attempt);
        for (position, outcome) in self.state.outcomes_in(attempt, baseline).enumerate() {
            outcomes.set(position, &outcome);
        }
        let mut settled = Bitmap::default();
        for (position, outcome) in results {
            let definite = match outcome {
                Outcome::Deleted => true,
                Outcome::Failed(reason) => reason.is_definite(),
                Outcome::Remaining => false,
            };
            if definite {
                settled.insert(*position);
            }
            let counts = match outcome {
                Outcome::Deleted => true,
                Outcome::Failed(_) if restarted => false,
                Outcome::Failed(_) => definite || !canceled,
                Outcome::Remaining => false,
            };
            if counts {
                outcomes.set(*position, outcome);
            }
        }
        let seen = (0..self.ids.len())
            .filter(|i| self.state.seen.contains(*i) && !settled.contains(*i))
            .collect();
        self.sum_up(outcomes, seen, attempt, baseline)
    }

    fn sum_up(&self, outcomes: Outcomes, seen: Bitmap, attempt: u32, baseline: u32) -> Settlement {
        let before = self.state.counts(attempt, baseline);
        let mut counts = Counts::default();
        let mut given_up: Vec<String> = Vec::new();
        let mut head = FailedHead::default();
        for (position, id) in self.ids.iter().enumerate() {
            match outcomes.at(position, attempt, baseline) {
                Outcome::Remaining => {}
                Outcome::Deleted => counts.deleted += 1,
                Outcome::Failed(reason) => {
                    counts.fail(&reason);
                    head.push(id, reason.detail());
                    if let Reason::GaveUp(detail) = reason {
                        given_up.push(detail);
                    }
                }
            }
        }
        let gave_up = given_up.first();
        Settlement {
            outcomes,
            seen,
            newly: counts.since(before),
            is_complete: counts.sum() as usize == self.ids.len(),
            gave_up: gave_up.map(|first| in_one_sentence(first, &given_up)),
            failed_head: head,
        }
    }
}

fn in_one_sentence(first: &str, all: &[String]) -> String {
    if all.iter().all(|detail| detail == first) {
        first.to_owned()
    } else {
        format!("Objects failed for several reasons; the first: {first}")
    }
}

#[cfg(test)]
mod tests;
