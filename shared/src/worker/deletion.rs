//! The deletes of one claim, batch after batch.
//!
//! A batch that fails is repeated or cut up. A task that is no longer ours gets no further call.

use super::batches::{Batch, Batches};
use super::budget::{Budget, Slot};
use super::calls::{
    MAX_EXTRA_CALLS, concerns_single_objects, cut_up, ids_at, in_short, is_repeated, is_transient,
};
use super::give_up;
use super::turn::turn as next_turn;
use crate::aws::VECTOR_CALL_TIMEOUT;
use crate::store::{Deferral, TaskChunk, TaskStore};
use crate::task::{Outcome, Reason};
use crate::vector::{
    AfterDelete, Presence, Turn, Turns, VectorError, VectorErrorKind, VectorStore,
};
use chrono::TimeDelta;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat;
use std::sync::Arc;

/// If the first delete waits longer than this, the task is read again before it: it may have been
/// canceled.
const LONG_WAIT: TimeDelta = TimeDelta::seconds(1);

/// The result of the deletes of a claim.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    /// Objects with an outcome: deleted, refused, or given up for a reason of their own.
    pub(super) results: Vec<(usize, Outcome)>,
    /// Objects that are still there, or not known to be gone.
    left: Vec<Left>,
    /// The log's text for the last call that failed.
    pub(super) failure: Option<String>,
    /// A part of an object was deleted. This is progress, though no object counts yet.
    went_in_part: bool,
    /// The claim has made as many extra calls as it may.
    ///
    /// There is more to do at once, under another claim.
    pub(super) used_up_its_calls: bool,
    /// An unacknowledged delete may still take effect.
    ///
    /// The claim must not be settled: that delete could remove an object that somebody has inserted
    /// again since.
    pub(super) may_still_delete: bool,
}

/// Objects that are left for the same reason.
#[derive(Debug)]
struct Left {
    positions: Vec<usize>,
    why: Why,
}

/// Why objects are left.
#[derive(Debug)]
enum Why {
    /// The store is not the cause: there was no time, the task has moved, or the claim has made
    /// enough calls.
    NotTried,
    /// The store asks to go slower.
    Throttled,
    /// The store failed with this detail. Another try may help.
    Failed(String),
    /// The store failed with this detail. Another try would not help.
    Final(String),
}

impl Why {
    /// Returns why objects are left after an error that does not concern single objects.
    fn of(error: VectorError) -> Self {
        match error.kind {
            VectorErrorKind::Throttled => Self::Throttled,
            VectorErrorKind::OutOfTime => Self::NotTried,
            kind if is_transient(kind) => Self::Failed(error.detail),
            _ => Self::Final(error.detail),
        }
    }
}

impl Deleted {
    /// Creates the result without any delete, if earlier claims have used up the tries.
    pub(super) fn nothing(positions: &[usize]) -> Self {
        let mut deleted = Self::default();
        let why = Why::Failed("no try made any progress".to_owned());
        deleted.leave(positions.to_vec(), why);
        deleted
    }

    fn leave(&mut self, positions: Vec<usize>, why: Why) {
        if !positions.is_empty() {
            self.left.push(Left { positions, why });
        }
    }

    /// Adds objects whose existence was not checked.
    ///
    /// They are left for the same reason as the others.
    pub(super) fn leave_too(&mut self, unknown: BTreeSet<usize>) {
        match self.left.last_mut() {
            Some(left) => left.positions.extend(unknown),
            None => self.leave(unknown.into_iter().collect(), Why::NotTried),
        }
    }

    /// Returns whether the deletes made any progress.
    pub(super) fn made_progress(&self) -> bool {
        self.went_in_part || !self.results.is_empty()
    }

    /// Returns how the rest is deferred.
    pub(super) fn deferral(&self) -> Deferral {
        let any = |is: fn(&Why) -> bool| self.left.iter().any(|left| is(&left.why));
        if self.went_in_part {
            Deferral::Progress
        } else if any(|why| matches!(why, Why::Failed(_) | Why::Final(_))) {
            Deferral::Failed
        } else if any(|why| matches!(why, Why::Throttled)) {
            Deferral::Throttled
        } else {
            Deferral::NoTime
        }
    }

    /// Returns the objects to give up, because another try would not help or this was the last one.
    pub(super) fn given_up(&self, is_last_try: bool) -> Vec<(usize, Outcome)> {
        let mut given_up = Vec::new();
        for Left { positions, why } in &self.left {
            let detail = match why {
                Why::Final(detail) => detail.clone(),
                Why::Failed(detail) if is_last_try => give_up(detail),
                Why::Failed(_) | Why::Throttled | Why::NotTried => continue,
            };
            let failed = Outcome::Failed(Reason::GaveUp(detail));
            given_up.extend(positions.iter().map(|at| (*at, failed.clone())));
        }
        given_up
    }
}

/// The deletes of one claim.
pub(super) struct Deletion<'a> {
    pub(super) store: &'a dyn VectorStore,
    /// The turns of the index, if it has a limit.
    pub(super) turns: Option<&'a Arc<Turns>>,
    pub(super) tasks: &'a TaskStore,
    pub(super) claimed: &'a TaskChunk,
    pub(super) budget: &'a Budget,
}

impl Deletion<'_> {
    /// Deletes the objects at `positions`. `turn` is the reserved turn of the first call.
    ///
    /// Before each call but the first, and before the first after a long wait, the task is read. If
    /// it was canceled, restarted or taken over, no further call is made.
    pub(super) async fn run(&self, positions: &[usize], mut turn: Option<Turn>) -> Deleted {
        let mut deleted = Deleted::default();
        let mut batches = Batches::of(positions);
        let mut kept_once = BTreeMap::new();
        let mut is_first = true;
        let (mut extra_calls, mut failures) = (0, 0);
        let mut unacknowledged = Vec::new();
        // The time after which no unacknowledged delete can still take effect.
        let mut quiet_at = None;
        let mut why_left = Why::NotTried;
        let most = self.turns.map_or(usize::MAX, |turns| turns.most());
        while let Some(batch) = batches.next(self.store.max_delete().min(most)) {
            if batch.is_extra && extra_calls == MAX_EXTRA_CALLS {
                deleted.used_up_its_calls = true;
                batches.put_back(batch);
                break;
            }
            let may_call = self.may_call(batch.positions.len(), is_first, turn.take());
            let slot = match may_call.await {
                MayCall::In(slot) => slot,
                MayCall::No => {
                    batches.put_back(batch);
                    break;
                }
                MayCall::NotInTime => {
                    // What failed before might have passed. The missing turn is why the call was
                    // not repeated.
                    let error = VectorError::rate_limited();
                    deleted.failure = Some(in_short(&error));
                    why_left = Why::Throttled;
                    batches.put_back(batch);
                    break;
                }
            };
            is_first = false;
            extra_calls += usize::from(batch.is_extra);
            let ids = ids_at(&self.claimed.chunk.ids, &batch.positions);
            let began = self.budget.clock().now();
            let over_at = began + VECTOR_CALL_TIMEOUT;
            let error = match self.budget.call_in(slot, self.store.delete(&ids)).await {
                Ok(after) => {
                    (failures, why_left) = (0, Why::NotTried);
                    batches.came_out(None);
                    sort_out(batch, after, &mut kept_once, &mut batches, &mut deleted);
                    continue;
                }
                Err(error) => error,
            };
            deleted.failure = Some(in_short(&error));
            if let Some(turns) = self.turns
                && error.kind == VectorErrorKind::Throttled
            {
                turns.throttled(began, self.budget.clock().now());
            }
            if concerns_single_objects(error.kind) {
                (failures, why_left) = (0, Why::NotTried);
                for (at, reason) in cut_up(batch, &error, &mut batches) {
                    match reason {
                        // It may go once the object that keeps it is deleted.
                        Reason::GaveUp(_) if error.kind == VectorErrorKind::KeptObject => {
                            batches.refuse(at, &error.detail);
                        }
                        Reason::GaveUp(why) => deleted.leave(vec![at], Why::Failed(why)),
                        reason => deleted.results.push((at, Outcome::Failed(reason))),
                    }
                }
                continue;
            }
            failures += 1;
            unacknowledged.clone_from(&batch.positions);
            batches.put_back(batch);
            if matches!(
                error.kind,
                VectorErrorKind::Unanswered | VectorErrorKind::OutOfTime
            ) {
                quiet_at = Some(over_at);
            }
            let is_repeated = is_repeated(error.kind, failures);
            why_left = Why::of(error);
            if !is_repeated || !self.budget.back_off(failures, self.store.pause()).await {
                break;
            }
        }
        for (at, detail) in batches.take_refused() {
            let kept = Outcome::Failed(Reason::GaveUp(detail));
            deleted.results.push((at, kept));
        }
        let mut left = batches.into_left();
        if let Why::NotTried = why_left {
            // An object that was kept once has been tried. So that is its reason, not the lack of
            // time.
            for (at, why) in kept_once {
                if let Some(place) = left.iter().position(|left| *left == at) {
                    left.swap_remove(place);
                    deleted.leave(vec![at], Why::Failed(why));
                }
            }
        }
        deleted.leave(left, why_left);
        if let Some(quiet_at) = quiet_at
            && !self.budget.wait_until(quiet_at).await
        {
            deleted.may_still_delete = true;
            return deleted;
        }
        self.check_unacknowledged(&unacknowledged, &mut deleted)
            .await;
        deleted
    }

    /// Waits until the index takes one more delete of `ids` objects and there is a place for the
    /// call, and returns whether the call may be made.
    ///
    /// There must be time for it, and the task must still be ours. The task is not read for a
    /// claim's first call if that comes soon. `turn` is a turn that was reserved before.
    async fn may_call(&self, ids: usize, is_first: bool, turn: Option<Turn>) -> MayCall {
        if !self.budget.allows_a_call() {
            return MayCall::No;
        }
        let clock = self.budget.clock();
        let began = clock.now();
        if let Some(turns) = self.turns {
            // A turn that passed long ago would come on top of what others use now. So would
            // objects that the turn does not pay for.
            let is_good = |turn: &Turn| turn.is_enough_for(ids) && !turn.has_passed(clock.now());
            let turn = match turn.filter(is_good) {
                Some(turn) => Some(turn),
                None => next_turn(self.tasks, clock, turns, ids, self.budget.longest_wait()).await,
            };
            let Some(turn) = turn else {
                return MayCall::NotInTime;
            };
            let wait = turn.wait(clock.now());
            if !wait.is_zero() {
                clock.sleep(wait).await;
            }
            turn.use_for(ids);
        }
        // The time when the task was last known to be ours.
        let mut ours_at = is_first.then_some(began);
        let is_recent = |at| clock.now() - at <= LONG_WAIT;
        loop {
            if !ours_at.is_some_and(is_recent) {
                if !self.is_still_ours().await {
                    return MayCall::No;
                }
                ours_at = Some(clock.now());
            }
            let Some(slot) = self.budget.slot().await else {
                return MayCall::NotInTime;
            };
            // The waits may have taken long.
            if !self.budget.allows_a_call() {
                return MayCall::No;
            }
            if ours_at.is_some_and(is_recent) {
                return MayCall::In(slot);
            }
        }
    }

    async fn is_still_ours(&self) -> bool {
        let task = self.tasks.task_at_work(self.claimed).await;
        task.is_ok_and(|task| task.is_some())
    }

    /// Checks the objects of a delete that failed.
    ///
    /// It may have been carried out: what is gone was deleted.
    async fn check_unacknowledged(&self, positions: &[usize], deleted: &mut Deleted) {
        let is_left = |at: &usize| deleted.left.iter().any(|left| left.positions.contains(at));
        let positions: Vec<usize> = positions.iter().copied().filter(is_left).collect();
        if positions.is_empty() || !self.budget.allows_a_call() {
            return;
        }
        let ids = ids_at(&self.claimed.chunk.ids, &positions);
        let Ok(present) = self.budget.call(self.store.present(&ids)).await else {
            return;
        };
        for (at, presence) in positions.into_iter().zip(present) {
            if presence == Presence::Absent {
                for left in &mut deleted.left {
                    left.positions.retain(|left| *left != at);
                }
                deleted.results.push((at, Outcome::Deleted));
            }
        }
        deleted.left.retain(|left| !left.positions.is_empty());
    }
}

/// Whether a delete may be made.
enum MayCall {
    /// Yes, in this place.
    In(Slot),
    /// No: there is no time left for one, or the task is no longer ours.
    No,
    /// Not in time: its turn at the index, or a place for the call, comes too late.
    NotInTime,
}

/// Sorts the objects of a batch by what the store says of each after the delete.
///
/// An object that is kept is tried once more and then given up.
fn sort_out(
    batch: Batch,
    after: Vec<AfterDelete>,
    kept_once: &mut BTreeMap<usize, String>,
    batches: &mut Batches,
    deleted: &mut Deleted,
) {
    let mut unconfirmed = Vec::new();
    // If the response is too short, nothing is known about the rest.
    let after = after.into_iter().chain(repeat(AfterDelete::Unconfirmed));
    for (at, after) in batch.positions.into_iter().zip(after) {
        match after {
            AfterDelete::Gone => {
                batches.have_gone();
                deleted.results.push((at, Outcome::Deleted));
            }
            AfterDelete::Kept(why) => {
                if kept_once.insert(at, why.clone()).is_none() {
                    batches.later(at);
                } else {
                    deleted.failure = Some("Kept: still there after a delete".to_owned());
                    let given_up = Outcome::Failed(Reason::GaveUp(why));
                    deleted.results.push((at, given_up));
                }
            }
            AfterDelete::More => {
                deleted.went_in_part = true;
                batches.later(at);
            }
            AfterDelete::Unconfirmed => unconfirmed.push(at),
        }
    }
    let why = "The vector store cannot confirm yet that the object is gone";
    deleted.leave(unconfirmed, Why::Failed(why.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(at: usize, detail: &str) -> (usize, Outcome) {
        (at, Outcome::Failed(Reason::GaveUp(detail.to_owned())))
    }

    #[test]
    fn only_a_failure_counts_as_a_try_and_only_a_final_one_gives_objects_up_before_the_last_try() {
        let (none, now) = (vec![], vec![failed(0, "why")]);
        let last = vec![failed(0, &give_up("why"))];
        for (kind, deferral, before, at_last) in [
            (
                VectorErrorKind::Throttled,
                Deferral::Throttled,
                &none,
                &none,
            ),
            (VectorErrorKind::OutOfTime, Deferral::NoTime, &none, &none),
            (VectorErrorKind::Temporary, Deferral::Failed, &none, &last),
            (VectorErrorKind::Unanswered, Deferral::Failed, &none, &last),
            (VectorErrorKind::TooSlow, Deferral::Failed, &none, &last),
            (VectorErrorKind::Denied, Deferral::Failed, &now, &now),
            (VectorErrorKind::IndexMissing, Deferral::Failed, &now, &now),
        ] {
            let mut deleted = Deleted::default();
            let error = VectorError {
                kind,
                detail: "why".to_owned(),
                code: "code".to_owned(),
                source: None,
            };
            deleted.leave(vec![0], Why::of(error));
            assert_eq!(deleted.deferral(), deferral, "{kind:?}");
            assert_eq!(deleted.given_up(false), *before, "{kind:?}");
            assert_eq!(deleted.given_up(true), *at_last, "{kind:?}");
        }
    }

    #[test]
    fn objects_that_were_not_checked_are_given_up_with_those_that_failed_and_not_alone() {
        let mut deleted = Deleted::nothing(&[0]);
        deleted.leave_too(BTreeSet::from([1]));
        let why = give_up("no try made any progress");
        assert_eq!(deleted.given_up(true), [failed(0, &why), failed(1, &why)]);

        let mut deleted = Deleted::default();
        deleted.leave_too(BTreeSet::from([1]));
        assert_eq!(deleted.given_up(true), []);
        assert_eq!(deleted.deferral(), Deferral::NoTime);
    }

    #[test]
    fn an_outcome_is_progress_and_so_is_a_part_of_an_object() {
        let mut deleted = Deleted::nothing(&[0]);
        assert!(!deleted.made_progress());
        deleted.went_in_part = true;
        assert!(deleted.made_progress());
        assert_eq!(deleted.deferral(), Deferral::Progress);

        let mut deleted = Deleted::nothing(&[0]);
        deleted.results.push((1, Outcome::Deleted));
        assert!(deleted.made_progress());
        assert_eq!(deleted.deferral(), Deferral::Failed);
    }
}
