//! The calls to a vector store within one claim: look, delete, split what is refused, slow down, stop in time.

use super::batches::{Batch, Batches};
use super::budget::Budget;
use super::carry_out::MAX_TRIES;
use crate::aws::VECTOR_CALL_TIMEOUT;
use crate::store::{Deferral, TaskStore, Work};
use crate::task::{ObjectIds, Outcome, Reason};
use crate::vector::{AfterDelete, Presence, VectorError, VectorErrorKind, VectorStore};
use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat;
use std::time::Duration;

/// Times a call is made that keeps failing, before its work is handed back. One that is throttled is made as long as there
/// is time.
const MAX_CALLS: u32 = 4;
/// Calls that a claim makes more because batches had to be cut up. Then it is settled, and the rest is claimed anew.
const MAX_EXTRA_CALLS: usize = 64;
/// After a longer wait than this the task is looked at again: it may have been canceled.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// What a look found among the objects asked for.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the index, in order.
    pub(super) present: Vec<usize>,
    /// Of these the store would not say: ids that it will never take, and objects that it cannot read.
    pub(super) failed: BTreeMap<usize, Reason>,
    /// Not looked for: the time was up, or it took too many calls.
    pub(super) unknown: BTreeSet<usize>,
}

impl Found {
    /// What the look alone says of the objects at `open`; `absent` says what one that is not there counts as.
    pub(super) fn results(
        &self,
        open: &[usize],
        absent: impl Fn(usize) -> Outcome,
    ) -> Vec<(usize, Outcome)> {
        let known = open
            .iter()
            .copied()
            .filter(|at| !self.unknown.contains(at) && self.present.binary_search(at).is_err());
        let outcome = |at| match self.failed.get(&at) {
            Some(reason) => Outcome::Failed(reason.clone()),
            None => absent(at),
        };
        known.map(|at| (at, outcome(at))).collect()
    }
}

/// Looks which of the objects at `positions` exist.
///
/// # Errors
/// When the store would not say in the time there is.
pub(super) async fn look(
    store: &dyn VectorStore,
    ids: &ObjectIds,
    positions: &[usize],
    budget: &Budget,
) -> Result<Found, VectorError> {
    let mut found = Found::default();
    let mut batches = Batches::of(positions);
    let (mut extra_calls, mut failures) = (0, 0);
    while let Some(batch) = batches.next(usize::MAX) {
        if !budget.allows_a_call() || (batch.is_extra && extra_calls == MAX_EXTRA_CALLS) {
            batches.put_back(batch);
            break;
        }
        extra_calls += usize::from(batch.is_extra);
        let names = names(ids, &batch.positions);
        let error = match budget.call(store.present(&names)).await {
            Ok(presence) => {
                failures = 0;
                batches.came_out(None);
                let mut presence = presence.into_iter();
                for at in batch.positions {
                    match presence.next() {
                        Some(Presence::Present) => found.present.push(at),
                        Some(Presence::Absent) => {}
                        Some(Presence::Refused(why)) => {
                            found.failed.insert(at, Reason::Refused(why));
                        }
                        // Of what a store leaves out nothing is known.
                        None => {
                            found.unknown.insert(at);
                        }
                    }
                }
                continue;
            }
            Err(error) => error,
        };
        if may_go_in_parts(error.kind) {
            let failed = cut_up(batch, &error, &mut batches);
            found.failed.extend(failed);
            continue;
        }
        failures += 1;
        batches.put_back(batch);
        if may_call_again(error.kind, failures) && budget.back_off(failures).await {
            continue;
        }
        if !may_pass(error.kind) || found.failed.is_empty() {
            return Err(error);
        }
        // What was split off and failed is progress, and goes on record.
        break;
    }
    found.unknown.extend(batches.into_left());
    found.present.sort_unstable();
    Ok(found)
}

/// How the deletes of a claim ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// What became of objects: deleted, refused, or given up for a reason of their own.
    pub(super) results: Vec<(usize, Outcome)>,
    /// Objects that are still there, or not known to be gone.
    pub(super) left: Vec<Left>,
    /// What the log says of the last call that failed.
    pub(super) failure: Option<String>,
    /// A part of an object went, which is progress though nothing is counted.
    went_in_part: bool,
    /// The claim ends because it has made as many extra calls as it may: there is more to do at once.
    pub(super) goes_on: bool,
    /// A delete call that nobody answered may still be carried out. The claim must not be settled: what it may yet delete
    /// could have been inserted again by then.
    pub(super) may_still_delete: bool,
}

/// Objects that are left for the same reason.
#[derive(Debug)]
pub(super) struct Left {
    positions: Vec<usize>,
    why: Why,
}

/// Why objects are left.
#[derive(Debug)]
enum Why {
    /// Nothing is to blame: there was no time, the task has moved, or the claim has made enough calls.
    NotTried,
    /// The store asks to go slower.
    Throttled,
    /// The store failed, and says how. Trying again may help.
    Failed(String),
    /// Trying again would not help.
    Final(String),
}

impl Why {
    /// Why objects are left after an error that is not one of them.
    fn of(error: VectorError) -> Self {
        match error.kind {
            VectorErrorKind::Throttled => Self::Throttled,
            VectorErrorKind::OutOfTime => Self::NotTried,
            kind if may_pass(kind) => Self::Failed(error.detail),
            _ => Self::Final(error.detail),
        }
    }
}

impl Ended {
    /// No call is made any more.
    pub(super) fn gave_up(positions: &[usize]) -> Self {
        let mut ended = Self::default();
        ended.leave(
            positions.to_vec(),
            Why::Failed("no try made any progress".to_owned()),
        );
        ended
    }

    fn leave(&mut self, positions: Vec<usize>, why: Why) {
        if !positions.is_empty() {
            self.left.push(Left { positions, why });
        }
    }

    /// How what is left is put off.
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

    /// Objects that were not even looked for are left as the others are.
    pub(super) fn leave_too(&mut self, unknown: BTreeSet<usize>) {
        match self.left.last_mut() {
            Some(left) => left.positions.extend(unknown),
            None => self.leave(unknown.into_iter().collect(), Why::NotTried),
        }
    }

    /// Whether the deletes have come any further.
    pub(super) fn made_progress(&self) -> bool {
        self.went_in_part || !self.results.is_empty()
    }

    /// What is left as failed, where trying again would not help or this was the last try.
    pub(super) fn given_up(&self, last_try: bool) -> Vec<(usize, Outcome)> {
        let mut given_up = Vec::new();
        for Left { positions, why } in &self.left {
            let detail = match why {
                Why::Final(detail) => detail.clone(),
                Why::Failed(detail) if last_try => after_all_tries(detail),
                Why::Failed(_) | Why::Throttled | Why::NotTried => continue,
            };
            let failed = Outcome::Failed(Reason::GaveUp(detail));
            given_up.extend(positions.iter().map(|at| (*at, failed.clone())));
        }
        given_up
    }
}

/// What the log says of a store's error: no part of a request or an answer.
pub(super) fn in_short(error: &VectorError) -> String {
    format!("{:?}: {}", error.kind, error.code)
}

/// Why what is open fails after the last try.
pub(super) fn after_all_tries(detail: &str) -> String {
    format!("Gave up after {MAX_TRIES} tries: {detail}")
}

/// The deletes of one claim.
pub(super) struct Deletion<'a> {
    pub(super) store: &'a dyn VectorStore,
    pub(super) tasks: &'a TaskStore,
    pub(super) claimed: &'a Work,
    pub(super) budget: &'a Budget,
}

impl Deletion<'_> {
    /// Deletes the objects at `positions`. Before any call but the first, and after a long wait, it reads the task: one that
    /// was canceled, restarted or taken over gets no further call.
    pub(super) async fn run(&self, positions: &[usize]) -> Ended {
        let mut ended = Ended::default();
        let mut batches = Batches::of(positions);
        let mut kept_once = BTreeMap::new();
        let (mut calls, mut extra_calls, mut failures) = (0, 0, 0);
        let mut unsure = Vec::new();
        // By when every call that nobody answered has been carried out or never will be.
        let mut quiet_at = None;
        let mut why_left = Why::NotTried;
        while let Some(batch) = batches.next(self.store.max_delete()) {
            if batch.is_extra && extra_calls == MAX_EXTRA_CALLS {
                ended.goes_on = true;
                batches.put_back(batch);
                break;
            }
            if let Err(no_call) = self.may_call(batch.positions.len(), calls == 0).await {
                // Whatever failed before might have passed: this is why it was not tried again.
                if let NoCall::TooFar = no_call {
                    let error = VectorError::rate_limited();
                    ended.failure = Some(in_short(&error));
                    why_left = Why::Throttled;
                }
                batches.put_back(batch);
                break;
            }
            calls += 1;
            extra_calls += usize::from(batch.is_extra);
            let names = names(&self.claimed.chunk.ids, &batch.positions);
            let over_at = self.budget.clock().now() + VECTOR_CALL_TIMEOUT;
            let error = match self.budget.call(self.store.delete(&names)).await {
                Ok(after) => {
                    (failures, why_left) = (0, Why::NotTried);
                    batches.came_out(None);
                    sort_out(batch, after, &mut kept_once, &mut batches, &mut ended);
                    continue;
                }
                Err(error) => error,
            };
            ended.failure = Some(in_short(&error));
            if may_go_in_parts(error.kind) {
                (failures, why_left) = (0, Why::NotTried);
                for (at, reason) in cut_up(batch, &error, &mut batches) {
                    match reason {
                        // What keeps it may go yet.
                        Reason::GaveUp(_) if error.kind == VectorErrorKind::KeptObject => {
                            batches.refuse(at, &error.detail);
                        }
                        Reason::GaveUp(why) => ended.leave(vec![at], Why::Failed(why)),
                        reason => ended.results.push((at, Outcome::Failed(reason))),
                    }
                }
                continue;
            }
            failures += 1;
            unsure.clone_from(&batch.positions);
            batches.put_back(batch);
            if matches!(
                error.kind,
                VectorErrorKind::Unanswered | VectorErrorKind::OutOfTime
            ) {
                quiet_at = Some(over_at);
            }
            let again = may_call_again(error.kind, failures);
            why_left = Why::of(error);
            if !again || !self.budget.back_off(failures).await {
                break;
            }
        }
        for (at, detail) in batches.take_refused() {
            let kept = Outcome::Failed(Reason::GaveUp(detail));
            ended.results.push((at, kept));
        }
        let mut left = batches.into_left();
        if let Why::NotTried = why_left {
            // These were tried.
            for (at, why) in kept_once {
                if let Some(place) = left.iter().position(|left| *left == at) {
                    left.swap_remove(place);
                    ended.leave(vec![at], Why::Failed(why));
                }
            }
        }
        ended.leave(left, why_left);
        if let Some(quiet_at) = quiet_at
            && !self.budget.wait_until(quiet_at).await
        {
            ended.may_still_delete = true;
            return ended;
        }
        self.learn_what_became_of(&unsure, &mut ended).await;
        ended
    }

    /// Waits until the store takes one more delete of so many ids. Says whether there may be one: there is time for it,
    /// and, unless it is a claim's first call and came soon, the task is still ours.
    async fn may_call(&self, ids: usize, is_first: bool) -> Result<(), NoCall> {
        if !self.budget.allows_a_call() {
            return Err(NoCall::NotNow);
        }
        let wait = self.store.turn(ids, self.budget.longest_wait());
        let wait = wait.ok_or(NoCall::TooFar)?;
        if !wait.is_zero() {
            self.budget.clock().sleep(wait).await;
        }
        let claimed_just_now = is_first && wait <= LONG_WAIT;
        let is_ours = claimed_just_now || self.is_still_ours().await;
        // That may have taken long.
        if is_ours && self.budget.allows_a_call() {
            Ok(())
        } else {
            Err(NoCall::NotNow)
        }
    }

    async fn is_still_ours(&self) -> bool {
        let still = self.tasks.is_still_claimed(self.claimed).await;
        still.unwrap_or(false)
    }

    /// A delete whose answer failed may have been carried out: what is gone now was deleted.
    async fn learn_what_became_of(&self, unsure: &[usize], ended: &mut Ended) {
        let is_left = |at: &usize| ended.left.iter().any(|left| left.positions.contains(at));
        let unsure: Vec<usize> = unsure.iter().copied().filter(is_left).collect();
        if unsure.is_empty() || !self.budget.allows_a_call() {
            return;
        }
        let names = names(&self.claimed.chunk.ids, &unsure);
        let Ok(present) = self.budget.call(self.store.present(&names)).await else {
            return;
        };
        for (at, presence) in unsure.into_iter().zip(present) {
            if presence == Presence::Absent {
                for left in &mut ended.left {
                    left.positions.retain(|left| *left != at);
                }
                ended.results.push((at, Outcome::Deleted));
            }
        }
        ended.left.retain(|left| !left.positions.is_empty());
    }
}

/// Why no further delete is made.
enum NoCall {
    /// There is no time left for one, or the task is not ours any more.
    NotNow,
    /// The store is asked for so much that the time would be up first.
    TooFar,
}

/// Whether a call that failed so may go in parts.
fn may_go_in_parts(kind: VectorErrorKind) -> bool {
    [
        VectorErrorKind::InvalidId,
        VectorErrorKind::KeptObject,
        VectorErrorKind::TooSlow,
    ]
    .contains(&kind)
}

/// Cuts a batch up that may go in parts. A single object stands for itself: it fails, and with it those of which it is known by now that
/// they would fail alike.
fn cut_up(batch: Batch, error: &VectorError, batches: &mut Batches) -> Vec<(usize, Reason)> {
    let is_kept = error.kind == VectorErrorKind::KeptObject;
    let [single] = batch.positions.as_slice() else {
        if is_kept {
            batches.cut_up(batch, &error.detail);
        } else {
            batches.halve(batch);
        }
        return Vec::new();
    };
    let alike = batches.came_out(is_kept.then_some(error.detail.as_str()));
    let reason = if error.kind == VectorErrorKind::InvalidId {
        Reason::Refused(error.detail.clone())
    } else {
        Reason::GaveUp(error.detail.clone())
    };
    let all = alike.into_iter().chain([*single]);
    all.map(|at| (at, reason.clone())).collect()
}

/// What each object of a batch comes to by what the store says of it. One that is kept is tried once more and then given up.
fn sort_out(
    batch: Batch,
    after: Vec<AfterDelete>,
    kept_once: &mut BTreeMap<usize, String>,
    batches: &mut Batches,
    ended: &mut Ended,
) {
    let mut unconfirmed = Vec::new();
    // Of what a store leaves out nothing is known.
    let after = after.into_iter().chain(repeat(AfterDelete::Unconfirmed));
    for (at, after) in batch.positions.into_iter().zip(after) {
        match after {
            AfterDelete::Gone => {
                batches.have_gone();
                ended.results.push((at, Outcome::Deleted));
            }
            AfterDelete::Kept(why) => {
                if kept_once.insert(at, why.clone()).is_none() {
                    batches.later(at);
                } else {
                    ended.failure = Some("Kept: still there after a delete".to_owned());
                    let given_up = Outcome::Failed(Reason::GaveUp(why));
                    ended.results.push((at, given_up));
                }
            }
            AfterDelete::More => {
                ended.went_in_part = true;
                batches.later(at);
            }
            AfterDelete::Unconfirmed => unconfirmed.push(at),
        }
    }
    let why = "The vector store cannot confirm yet that the object is gone";
    ended.leave(unconfirmed, Why::Failed(why.to_owned()));
}

/// Whether the same call may succeed later.
fn may_pass(kind: VectorErrorKind) -> bool {
    match kind {
        VectorErrorKind::Throttled
        | VectorErrorKind::Temporary
        | VectorErrorKind::Unanswered
        | VectorErrorKind::OutOfTime
        | VectorErrorKind::TooSlow => true,
        VectorErrorKind::IndexMissing
        | VectorErrorKind::Denied
        | VectorErrorKind::InvalidId
        | VectorErrorKind::KeptObject => false,
    }
}

/// Whether to make a call once more that has failed so many times.
fn may_call_again(kind: VectorErrorKind, calls: u32) -> bool {
    kind == VectorErrorKind::Throttled || (may_pass(kind) && calls < MAX_CALLS)
}

fn names<'a>(ids: &'a ObjectIds, positions: &[usize]) -> Vec<&'a str> {
    positions.iter().filter_map(|at| ids.get(*at)).collect()
}
