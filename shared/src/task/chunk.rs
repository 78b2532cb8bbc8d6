//! The work on one chunk of a task's objects: what is open, what a claim records, what a settlement says.

use super::{Bitmap, FailedItem, ObjectId, Outcome, Outcomes, Reason, TaskStatus};
use chrono::{DateTime, Utc};

/// Up to 500 objects of a task, and how far the work on them has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The objects, in the order of the request.
    pub ids: Vec<ObjectId>,
    /// How many claims there have been. Grows by one with each, across restarts too.
    pub fence: u64,
    /// The newest claim's token.
    pub claim: Option<String>,
    /// While set, the newest claim is not settled. While in the future, no other claim may be made.
    pub lease_until: Option<DateTime<Utc>>,
    /// Claims of this attempt that ended without progress, the one under way included.
    pub tries: u32,
    /// Objects that a claim saw in the index and whose deletion is not settled. If such an object is gone now, this
    /// service deleted it.
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
    /// Until when no other claim may be made.
    pub lease_until: DateTime<Utc>,
    /// The claims without progress, this one counted.
    pub tries: u32,
    /// What was in the index, together with what earlier unsettled claims saw there.
    pub seen: Bitmap,
}

/// What a claim's end says of its chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// What happened to each object, all earlier results included.
    pub outcomes: Outcomes,
    /// What was seen and is still not settled.
    pub seen: Bitmap,
    /// How many objects of the chunk count as deleted.
    pub deleted: u32,
    /// How many were tried and not deleted.
    pub failed: u32,
    /// Where the whole chunk stands: `Done`, `Failed`, or `Processing` when objects remain.
    pub status: TaskStatus,
    /// Why a `Failed` one failed.
    pub detail: Option<String>,
    /// The first failures, as many as a list row may show.
    pub failed_head: Vec<FailedItem>,
}

/// The most failures a list row shows.
const MAX_HEAD_ITEMS: usize = 10;
/// The most bytes of JSON that a list row's failures take.
const MAX_HEAD_BYTES: usize = 1024;

impl Chunk {
    /// A chunk nobody has worked on.
    pub fn new(ids: Vec<ObjectId>) -> Self {
        Self {
            ids,
            fence: 0,
            claim: None,
            lease_until: None,
            tries: 0,
            seen: Bitmap::default(),
            outcomes: Outcomes::none(1),
        }
    }

    /// Whether a claim is in force at `now`, so that nobody else may make one.
    pub fn is_leased(&self, now: DateTime<Utc>) -> bool {
        self.lease_until.is_some_and(|until| now < until)
    }

    /// The positions of the objects that are to be tried in `attempt`.
    pub fn open(&self, attempt: u32, baseline: u32) -> Vec<usize> {
        (0..self.ids.len())
            .filter(|i| self.outcomes.at(*i, attempt, baseline) == Outcome::Remaining)
            .collect()
    }

    /// The claim a worker makes after it has looked and found `present`.
    pub fn claim(
        &self,
        token: String,
        present: impl IntoIterator<Item = usize>,
        lease_until: DateTime<Utc>,
    ) -> Claim {
        let mut seen = self.seen.clone();
        for position in present {
            seen.insert(position);
        }
        Claim {
            token,
            fence: self.fence + 1,
            lease_until,
            tries: self.tries + 1,
            seen,
        }
    }

    /// What the chunk comes to when a claim ends with `results`, recorded for a task that by now is `status`, in
    /// `attempt`, though the claim was made in `claimed_attempt`.
    ///
    /// - While the task is still at work on the claim's attempt, every result counts.
    /// - When it was canceled meanwhile, definite results count; what was given up remains.
    /// - When it was restarted meanwhile, what was deleted counts; all else is for the new attempt to find out.
    /// - When everything was restarted meanwhile, nothing counts, and what was seen stays on record: the new attempt
    ///   looks at every object, and what is gone by then was deleted.
    pub fn settle(
        &self,
        results: &[(usize, Outcome)],
        status: TaskStatus,
        claimed_attempt: u32,
        attempt: u32,
        baseline: u32,
    ) -> Settlement {
        let restarted = attempt != claimed_attempt;
        let results = match baseline > claimed_attempt {
            true => &[],
            false => results,
        };
        let canceled = status == TaskStatus::Canceled;
        let mut outcomes = Outcomes::none(attempt);
        for position in 0..self.ids.len() {
            outcomes.set(position, &self.outcomes.at(position, attempt, baseline));
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
            .filter(|i| self.seen.contains(*i) && !settled.contains(*i))
            .collect();
        self.sum_up(outcomes, seen, attempt, baseline)
    }

    fn sum_up(&self, outcomes: Outcomes, seen: Bitmap, attempt: u32, baseline: u32) -> Settlement {
        let (mut deleted, mut failed, mut remaining) = (0, 0, 0);
        let mut given_up: Vec<String> = Vec::new();
        let mut head = FailedHead::default();
        for (position, id) in self.ids.iter().enumerate() {
            match outcomes.at(position, attempt, baseline) {
                Outcome::Remaining => remaining += 1,
                Outcome::Deleted => deleted += 1,
                Outcome::Failed(reason) => {
                    failed += 1;
                    head.push(id, reason.detail());
                    if let Reason::GaveUp(detail) = reason {
                        given_up.push(detail);
                    }
                }
            }
        }
        let (status, detail) = match (remaining, given_up.first()) {
            (0, None) => (TaskStatus::Done, None),
            (0, Some(first)) => (TaskStatus::Failed, Some(in_one_sentence(first, &given_up))),
            (_, _) => (TaskStatus::Processing, None),
        };
        Settlement {
            outcomes,
            seen,
            deleted,
            failed,
            status,
            detail,
            failed_head: head.items,
        }
    }
}

fn in_one_sentence(first: &str, all: &[String]) -> String {
    match all.iter().all(|detail| detail == first) {
        true => first.to_owned(),
        false => format!(
            "{} objects failed for several reasons; the first: {first}",
            all.len()
        ),
    }
}

/// The first failures, within what a list row may show.
#[derive(Default)]
struct FailedHead {
    items: Vec<FailedItem>,
    bytes: usize,
    full: bool,
}

impl FailedHead {
    fn push(&mut self, id: &ObjectId, detail: &str) {
        // {"object_id":"…","detail":"…"} and a comma, or the closing bracket; the opening one is the 1 below. Only quotes and backslashes are escaped, to two bytes each.
        let escaped = |text: &str| text.len() + text.matches(['"', '\\']).count();
        let bytes =
            escaped(id.as_str()) + escaped(detail) + r#"{"object_id":"","detail":""},"#.len();
        self.full |= self.items.len() == MAX_HEAD_ITEMS || self.bytes + bytes + 1 > MAX_HEAD_BYTES;
        if !self.full {
            self.bytes += bytes;
            self.items.push(FailedItem {
                object_id: id.clone(),
                detail: detail.to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(count: usize) -> Chunk {
        Chunk::new(
            (0..count)
                .map(|i| ObjectId::new(format!("obj-{i}")).unwrap())
                .collect(),
        )
    }

    fn gave_up() -> Outcome {
        Outcome::Failed(Reason::GaveUp("The store kept failing".into()))
    }

    const NOT_FOUND: Outcome = Outcome::Failed(Reason::NotFound);

    #[test]
    fn a_claim_adds_what_it_saw_to_what_was_seen_and_raises_the_fence() {
        let mut chunk = chunk(4);
        chunk.seen.insert(1);
        chunk.fence = 7;
        let claim = chunk.claim("token".into(), [2], DateTime::UNIX_EPOCH);
        assert_eq!(claim.fence, 8);
        assert_eq!(claim.seen, [1, 2].into_iter().collect());
    }

    #[test]
    fn all_definite_is_done_and_anything_given_up_is_failed() {
        let chunk = chunk(3);
        let settle = |results: &[_]| chunk.settle(results, TaskStatus::Processing, 1, 1, 1);
        let done = settle(&[(0, Outcome::Deleted), (1, NOT_FOUND), (2, Outcome::Deleted)]);
        assert_eq!(
            (done.status, done.deleted, done.failed),
            (TaskStatus::Done, 2, 1)
        );
        assert_eq!(done.detail, None);
        let failed = settle(&[(0, Outcome::Deleted), (1, NOT_FOUND), (2, gave_up())]);
        assert_eq!(
            (failed.status, failed.deleted, failed.failed),
            (TaskStatus::Failed, 1, 2)
        );
        assert_eq!(failed.detail.as_deref(), Some("The store kept failing"));
        let open = settle(&[(0, Outcome::Deleted)]);
        assert_eq!(open.status, TaskStatus::Processing);
    }

    #[test]
    fn what_was_given_up_stays_seen_so_that_a_later_attempt_knows_who_deleted_it() {
        let mut chunk = chunk(2);
        chunk.seen = [0, 1].into_iter().collect();
        let end = chunk.settle(
            &[(0, Outcome::Deleted), (1, gave_up())],
            TaskStatus::Processing,
            1,
            1,
            1,
        );
        assert_eq!(end.seen, [1].into_iter().collect());
    }

    #[test]
    fn after_a_cancel_definite_results_count_and_the_rest_remains() {
        let end = chunk(3).settle(
            &[(0, Outcome::Deleted), (1, NOT_FOUND), (2, gave_up())],
            TaskStatus::Canceled,
            1,
            1,
            1,
        );
        assert_eq!((end.deleted, end.failed), (1, 1));
    }

    #[test]
    fn after_a_restart_only_deletions_count_and_after_one_of_everything_nothing_does() {
        let mut chunk = chunk(3);
        chunk.outcomes.set(2, &Outcome::Deleted);
        let results = [(0, Outcome::Deleted), (1, NOT_FOUND)];
        let end = chunk.settle(&results, TaskStatus::Pending, 1, 2, 1);
        assert_eq!((end.deleted, end.failed), (2, 0));
        chunk.seen.insert(0);
        let end = chunk.settle(&results, TaskStatus::Pending, 1, 2, 2);
        assert_eq!((end.deleted, end.failed), (0, 0));
        assert!(
            end.seen.contains(0),
            "what is gone at the next look was deleted"
        );
    }

    #[test]
    fn a_list_row_shows_at_most_ten_failures_and_one_kilobyte() {
        let none_found = |chunk: &Chunk| {
            let results: Vec<_> = (0..chunk.ids.len()).map(|i| (i, NOT_FOUND)).collect();
            chunk
                .settle(&results, TaskStatus::Processing, 1, 1, 1)
                .failed_head
        };
        assert_eq!(none_found(&chunk(500)).len(), 10);
        let long = Chunk::new(
            (0..9)
                .map(|i| ObjectId::new(format!("{i}{}", "x".repeat(400))).unwrap())
                .collect(),
        );
        assert_eq!(none_found(&long).len(), 2);
        let too_long = Chunk::new(vec![ObjectId::new("x".repeat(1024)).unwrap()]);
        assert_eq!(none_found(&too_long).len(), 0);
    }
}
