//! The calls to a vector store within one claim: look, delete, split what is refused, slow down, stop in time.

use super::budget::Budget;
use super::carry_out::MAX_TRIES;
use crate::aws::VECTOR_CALL_TIMEOUT;
use crate::store::{Deferral, TaskStore, Work};
use crate::task::{ObjectIds, Outcome, Reason};
use crate::vector::{VectorError, VectorErrorKind, VectorStore};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Times a call is made that keeps failing, before its work is handed back. One that is throttled is made as long as there
/// is time.
const MAX_CALLS: u32 = 4;
/// After a longer wait than this the task is looked at again: it may have been canceled.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// What a look found among the objects asked for.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the index, in order.
    pub(super) present: Vec<usize>,
    /// Ids the store will never take, and why.
    pub(super) refused: BTreeMap<usize, String>,
    /// Not looked for: the time was up.
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
        let outcome = |at| match self.refused.get(&at) {
            Some(why) => Outcome::Failed(Reason::Refused(why.clone())),
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
    let mut batches = vec![positions.to_vec()];
    let mut calls = 0;
    while let Some(batch) = batches.pop().filter(|batch| !batch.is_empty()) {
        if !budget.allows_a_call() {
            found.unknown.extend(batch);
            continue;
        }
        let names = names(ids, &batch);
        match budget.call(store.present(&names)).await {
            Ok(present) => {
                calls = 0;
                let both = batch.into_iter().zip(present);
                found
                    .present
                    .extend(both.filter_map(|(at, here)| here.then_some(at)));
            }
            Err(error) if error.kind == VectorErrorKind::InvalidId => {
                split(batch, &mut batches, |at| {
                    found.refused.insert(at, error.detail.clone());
                });
            }
            Err(error) => {
                calls += 1;
                batches.push(batch);
                if may_call_again(error.kind, calls) && budget.back_off(calls).await {
                    continue;
                }
                if !may_pass(error.kind) || found.refused.is_empty() {
                    return Err(error);
                }
                // Ids that were split off and refused are progress, and go on record.
                found.unknown.extend(batches.drain(..).flatten());
            }
        }
    }
    found.present.sort_unstable();
    Ok(found)
}

/// How the deletes of a claim ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// What is certain.
    pub(super) results: Vec<(usize, Outcome)>,
    /// Objects that are still there, or not known to be gone.
    pub(super) open: Vec<usize>,
    /// Why there are open ones, as far as a store is to blame.
    pub(super) why_open: Option<(Deferral, String)>,
    /// What the log says of the last call that failed.
    pub(super) failure: Option<String>,
    /// Trying again would not help.
    pub(super) is_final: bool,
    /// A delete call that nobody answered may still be carried out. The claim must not be settled: what it may yet delete
    /// could have been inserted again by then.
    pub(super) may_still_delete: bool,
}

impl Ended {
    /// No call is made any more.
    pub(super) fn gave_up(positions: &[usize]) -> Self {
        Self {
            open: positions.to_vec(),
            why_open: Some((Deferral::Failed, "no try made any progress".to_owned())),
            ..Self::default()
        }
    }

    /// How what is open is put off.
    pub(super) fn deferral(&self) -> Deferral {
        let why = self.why_open.as_ref();
        why.map_or(Deferral::NoTime, |(deferral, _)| *deferral)
    }

    /// The open objects as failed, where trying again would not help or this was the last try.
    pub(super) fn given_up(&self, last_try: bool) -> Vec<(usize, Outcome)> {
        let detail = match &self.why_open {
            Some((_, detail)) if self.is_final => detail.clone(),
            Some((Deferral::Failed, detail)) if last_try => after_all_tries(detail),
            Some(_) | None => return Vec::new(),
        };
        let failed = Outcome::Failed(Reason::GaveUp(detail));
        self.open.iter().map(|at| (*at, failed.clone())).collect()
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

/// Why no further delete is made.
enum NoTurn {
    /// There is no time left for one.
    TimeIsUp,
    /// The store is asked for so much that the time would be up first.
    TooFar,
}

impl NoTurn {
    fn end(self, ended: &mut Ended) {
        match self {
            Self::TimeIsUp => {
                let why = "there was no time for the rest".to_owned();
                ended.why_open.get_or_insert((Deferral::NoTime, why));
            }
            // Whatever failed before might have passed: this is why it was not tried again.
            Self::TooFar => {
                let error = VectorError::asked_enough();
                ended.failure = Some(in_short(&error));
                ended.why_open = Some((Deferral::Throttled, error.detail));
            }
        }
    }
}

/// The deletes of one claim.
pub(super) struct Deletion<'a> {
    pub(super) store: &'a dyn VectorStore,
    pub(super) tasks: &'a TaskStore,
    pub(super) claimed: &'a Work,
    pub(super) budget: &'a Budget,
}

impl Deletion<'_> {
    /// Deletes the objects at `positions`. Before any call but the first, and after a long wait, it reads the task: one that was canceled,
    /// restarted or taken over gets no further call.
    pub(super) async fn run(&self, positions: &[usize]) -> Ended {
        let mut ended = Ended::default();
        let mut batches: Vec<Vec<usize>> = positions
            .chunks(self.store.max_delete())
            .rev()
            .map(<[_]>::to_vec)
            .collect();
        let mut first = true;
        let mut calls = 0;
        let mut unsure = Vec::new();
        // By when every call that nobody answered has been carried out or never will be.
        let mut quiet_at = None;
        while let Some(batch) = batches.pop() {
            let waited = match self.wait_for_a_turn(batch.len()).await {
                Ok(waited) => waited,
                Err(no_turn) => {
                    no_turn.end(&mut ended);
                    batches.push(batch);
                    break;
                }
            };
            let claimed_just_now = first && waited <= LONG_WAIT;
            if !(claimed_just_now || self.is_still_ours().await) {
                batches.push(batch);
                break;
            }
            // That may have taken long.
            if !self.budget.allows_a_call() {
                NoTurn::TimeIsUp.end(&mut ended);
                batches.push(batch);
                break;
            }
            first = false;
            let names = names(&self.claimed.chunk.ids, &batch);
            let over_at = self.budget.clock().now() + VECTOR_CALL_TIMEOUT;
            let error = match self.budget.call(self.store.delete(&names)).await {
                Ok(()) => {
                    calls = 0;
                    let deleted = batch.into_iter().map(|at| (at, Outcome::Deleted));
                    ended.results.extend(deleted);
                    continue;
                }
                Err(error) => error,
            };
            if error.kind == VectorErrorKind::InvalidId {
                split(batch, &mut batches, |at| {
                    let refused = Outcome::Failed(Reason::Refused(error.detail.clone()));
                    ended.results.push((at, refused));
                });
                continue;
            }
            calls += 1;
            unsure.clone_from(&batch);
            batches.push(batch);
            if matches!(
                error.kind,
                VectorErrorKind::Unanswered | VectorErrorKind::OutOfTime
            ) {
                quiet_at = Some(over_at);
            }
            let why = match error.kind {
                VectorErrorKind::Throttled => Deferral::Throttled,
                VectorErrorKind::OutOfTime => Deferral::NoTime,
                VectorErrorKind::IndexMissing
                | VectorErrorKind::Denied
                | VectorErrorKind::Temporary
                | VectorErrorKind::Unanswered
                | VectorErrorKind::InvalidId => Deferral::Failed,
            };
            ended.failure = Some(in_short(&error));
            ended.is_final = !may_pass(error.kind);
            ended.why_open = Some((why, error.detail));
            if !may_call_again(error.kind, calls) || !self.budget.back_off(calls).await {
                break;
            }
        }
        ended.open = batches.into_iter().flatten().collect();
        if let Some(quiet_at) = quiet_at
            && !self.budget.wait_until(quiet_at).await
        {
            ended.may_still_delete = true;
            return ended;
        }
        self.learn_what_became_of(&unsure, &mut ended).await;
        ended
    }

    /// Waits until the store takes one more delete of so many ids, and says how long that was.
    ///
    /// # Errors
    /// Why there is none.
    async fn wait_for_a_turn(&self, ids: usize) -> Result<Duration, NoTurn> {
        if !self.budget.allows_a_call() {
            return Err(NoTurn::TimeIsUp);
        }
        let wait = self.store.turn(ids, self.budget.longest_wait());
        let wait = wait.ok_or(NoTurn::TooFar)?;
        if !wait.is_zero() {
            self.budget.clock().sleep(wait).await;
        }
        Ok(wait)
    }

    async fn is_still_ours(&self) -> bool {
        let still = self.tasks.is_still_claimed(self.claimed).await;
        still.unwrap_or(false)
    }

    /// A delete whose answer failed may have been carried out: what is gone now was deleted.
    async fn learn_what_became_of(&self, unsure: &[usize], ended: &mut Ended) {
        let unsure: Vec<usize> = unsure
            .iter()
            .copied()
            .filter(|at| ended.open.contains(at))
            .collect();
        if unsure.is_empty() || !self.budget.allows_a_call() {
            return;
        }
        let names = names(&self.claimed.chunk.ids, &unsure);
        let Ok(present) = self.budget.call(self.store.present(&names)).await else {
            return;
        };
        for (at, here) in unsure.into_iter().zip(present) {
            if !here {
                ended.open.retain(|open| *open != at);
                ended.results.push((at, Outcome::Deleted));
            }
        }
    }
}

/// Whether the same call may succeed later.
fn may_pass(kind: VectorErrorKind) -> bool {
    match kind {
        VectorErrorKind::Throttled
        | VectorErrorKind::Temporary
        | VectorErrorKind::Unanswered
        | VectorErrorKind::OutOfTime => true,
        VectorErrorKind::IndexMissing | VectorErrorKind::Denied | VectorErrorKind::InvalidId => {
            false
        }
    }
}

/// Whether to make a call once more that has failed so many times.
fn may_call_again(kind: VectorErrorKind, calls: u32) -> bool {
    kind == VectorErrorKind::Throttled || (may_pass(kind) && calls < MAX_CALLS)
}

fn names<'a>(ids: &'a ObjectIds, positions: &[usize]) -> Vec<&'a str> {
    positions.iter().filter_map(|at| ids.get(*at)).collect()
}

/// Halves a batch that holds an invalid id, until the invalid ones stand alone.
fn split(mut batch: Vec<usize>, batches: &mut Vec<Vec<usize>>, mut alone: impl FnMut(usize)) {
    match batch.as_slice() {
        [at] => alone(*at),
        _ => {
            let tail = batch.split_off(batch.len() / 2);
            batches.push(tail);
            batches.push(batch);
        }
    }
}
