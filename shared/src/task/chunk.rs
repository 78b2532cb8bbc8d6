//! The work on one chunk of a task's objects: what is open, what a claim records, what a settlement
//! says.

use super::{Bitmap, FailedHead, ObjectIds, Outcome, Outcomes, Reason, TaskStatus};
use chrono::{DateTime, Utc};

/// Up to 500 objects of a task, and how far the work on them has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The objects, in the order of the request.
    pub ids: ObjectIds,
    /// How far the work on them has come.
    pub state: ChunkState,
}

/// How far the work on a chunk has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkState {
    /// How many objects the chunk has.
    pub size: usize,
    /// How many claims there have been. Grows by one with each, across restarts too.
    pub fence: u64,
    /// The newest claim's token.
    pub claim: Option<String>,
    /// While set, the newest claim is not settled. While in the future, no other claim may be made.
    pub lease_until: Option<DateTime<Utc>>,
    /// The attempt that the newest claim was made in; 0 when there was none. `tries` and `put_offs`
    /// are of that attempt.
    pub attempt: u32,
    /// Claims that ended without progress, the one under way included: see [`Self::tries_in`].
    pub tries: u32,
    /// How often the chunk was deferred since it last made progress: see [`Self::put_offs_in`].
    pub put_offs: u32,
    /// From when on a chunk that was deferred, or whose worker died, is to be sent again.
    pub due_at: Option<DateTime<Utc>>,
    /// Objects that a claim saw in the index and whose deletion is not settled. If such an object
    /// is gone now, this service deleted it.
    pub seen: Bitmap,
    /// What happened to each object.
    pub outcomes: Outcomes,
}

/// What a worker records before its first delete call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// A name for this claim that no other has.
    pub token: String,
    /// The claim's number: one more than the fence the worker read.
    pub fence: u64,
    /// The attempt it is made in.
    pub attempt: u32,
    /// Until when no other claim may be made.
    pub lease_until: DateTime<Utc>,
    /// The claims without progress, this one counted.
    pub tries: u32,
    /// What was in the index, together with what earlier unsettled claims saw there.
    pub seen: Bitmap,
}

/// How many objects have an outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects that count as deleted.
    pub deleted: u32,
    /// Objects that were tried and not deleted.
    pub failed: u32,
    /// Those of the failed ones that are not in the index.
    pub not_found: u32,
}

impl Counts {
    /// Objects that have an outcome.
    pub fn sum(self) -> u32 {
        self.deleted + self.failed
    }

    /// These and `more`.
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

    /// How much these are more than `before`.
    fn since(self, before: Self) -> Self {
        Self {
            deleted: self.deleted.saturating_sub(before.deleted),
            failed: self.failed.saturating_sub(before.failed),
            not_found: self.not_found.saturating_sub(before.not_found),
        }
    }
}

/// What a claim's end says of its chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// What happened to each object, all earlier results included.
    pub outcomes: Outcomes,
    /// What was seen and is still not settled.
    pub seen: Bitmap,
    /// How many objects have an outcome now and had none before: what the task's counters grow by.
    pub newly: Counts,
    /// Whether no object of the chunk remains.
    pub is_complete: bool,
    /// Why objects of the chunk were given up, if any were.
    pub gave_up: Option<String>,
    /// The chunk's first failures, as many as a list row may show.
    pub failed_head: FailedHead,
}

impl ChunkState {
    /// The state of a chunk of so many objects that nobody has worked on.
    pub fn of(size: usize) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    /// Whether a claim is in force at `now`, so that nobody else may make one.
    pub fn is_leased(&self, now: DateTime<Utc>) -> bool {
        self.lease_until.is_some_and(|until| now < until)
    }

    /// How many claims of `attempt` ended without progress.
    pub fn tries_in(&self, attempt: u32) -> u32 {
        if self.attempt == attempt {
            self.tries
        } else {
            0
        }
    }

    /// How often the chunk was deferred in `attempt` since it last made progress.
    pub fn put_offs_in(&self, attempt: u32) -> u32 {
        if self.attempt == attempt {
            self.put_offs
        } else {
            0
        }
    }

    /// What each object counts as in `attempt`, in order.
    pub fn outcomes_in(&self, attempt: u32, baseline: u32) -> impl Iterator<Item = Outcome> {
        (0..self.size).map(move |position| self.outcomes.at(position, attempt, baseline))
    }

    /// How many objects have an outcome in `attempt`.
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
    /// A chunk nobody has worked on.
    pub fn new(ids: ObjectIds) -> Self {
        Self {
            state: ChunkState::of(ids.len()),
            ids,
        }
    }

    /// The positions of the objects that are to be tried in `attempt`.
    pub fn open(&self, attempt: u32, baseline: u32) -> Vec<usize> {
        let outcomes = self.state.outcomes_in(attempt, baseline).enumerate();
        outcomes
            .filter(|(_, outcome)| *outcome == Outcome::Remaining)
            .map(|(position, _)| position)
            .collect()
    }

    /// The claim a worker makes in `attempt` after an existence check that found `present`.
    pub fn claim(
        &self,
        token: String,
        attempt: u32,
        present: impl IntoIterator<Item = usize>,
        lease_until: DateTime<Utc>,
    ) -> Claim {
        let mut seen = self.state.seen.clone();
        for position in present {
            seen.insert(position);
        }
        Claim {
            token,
            fence: self.state.fence + 1,
            attempt,
            lease_until,
            tries: self.state.tries_in(attempt) + 1,
            seen,
        }
    }

    /// What a claim that was made in `claimed_attempt` and ends with `results` settles, for a task
    /// that is now `status` in `attempt`.
    ///
    /// - While the task is still at work on the claim's attempt, every result counts.
    /// - When it was canceled meanwhile, definite results count; what was given up remains.
    /// - When it was restarted meanwhile, what was deleted counts; all else is left to the new
    ///   attempt.
    /// - When everything was restarted meanwhile, nothing counts, and what was seen stays on
    ///   record: the new attempt checks every object, and what is gone then was deleted.
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
