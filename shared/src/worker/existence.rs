//! The existence check: which objects of a chunk are in the vector store before any delete.

use super::batches::Batches;
use super::budget::Budget;
use super::calls::{
    MAX_EXTRA_CALLS, concerns_single_objects, cut_up, ids_at, is_repeated, is_transient,
};
use crate::task::{ObjectIds, Outcome, Reason};
use crate::vector::{Presence, VectorError, VectorStore};
use std::collections::{BTreeMap, BTreeSet};

/// The result of an existence check. An object that is in none of the sets is absent.
#[derive(Debug, Default)]
pub(super) struct Existence {
    /// The objects in the store, in order.
    pub(super) present: Vec<usize>,
    /// The objects whose existence the store cannot tell: it can never hold their ids, or cannot
    /// read them.
    pub(super) failed: BTreeMap<usize, Reason>,
    /// The objects that were not checked: the time was up, it took too many calls, or a response
    /// was too short.
    pub(super) unknown: BTreeSet<usize>,
}

impl Existence {
    /// Returns the outcomes that follow from the check alone, among the objects at `open`.
    ///
    /// `absent` returns what an absent object counts as.
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

/// Checks which of the objects at `positions` exist.
///
/// # Errors
/// If the check failed and there is nothing to record.
pub(super) async fn check(
    store: &dyn VectorStore,
    ids: &ObjectIds,
    positions: &[usize],
    budget: &Budget,
) -> Result<Existence, VectorError> {
    let mut found = Existence::default();
    let mut batches = Batches::of(positions);
    let (mut extra_calls, mut failures) = (0, 0);
    while let Some(batch) = batches.next(store.max_present()) {
        if !budget.allows_a_call() || (batch.is_extra && extra_calls == MAX_EXTRA_CALLS) {
            batches.put_back(batch);
            break;
        }
        extra_calls += usize::from(batch.is_extra);
        let asked = ids_at(ids, &batch.positions);
        let error = match budget.call(store.present(&asked)).await {
            Ok(presence) => {
                failures = 0;
                batches.came_out(None);
                let mut presence = presence.into_iter();
                for at in batch.positions {
                    match presence.next() {
                        Some(Presence::Present) => found.present.push(at),
                        Some(Presence::Absent) => {}
                        Some(Presence::InvalidId(why)) => {
                            found.failed.insert(at, Reason::InvalidId(why));
                        }
                        // The response is too short: nothing is known about this object.
                        None => {
                            found.unknown.insert(at);
                        }
                    }
                }
                continue;
            }
            Err(error) => error,
        };
        if concerns_single_objects(error.kind) {
            found.failed.extend(cut_up(batch, &error, &mut batches));
            continue;
        }
        failures += 1;
        batches.put_back(batch);
        if is_repeated(error.kind, failures) && budget.back_off(failures, store.pause()).await {
            continue;
        }
        if !is_transient(error.kind) || found.failed.is_empty() {
            return Err(error);
        }
        // Objects that failed by themselves are progress, and are recorded.
        break;
    }
    found.unknown.extend(batches.into_left());
    found.present.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::vector::{AfterDelete, VectorErrorKind};
    use chrono::{DateTime, TimeDelta};
    use futures_util::future::{BoxFuture, ready};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    /// A store that refuses every id, and counts its calls.
    #[derive(Default)]
    struct Refusing(AtomicUsize);

    impl VectorStore for Refusing {
        fn present<'a>(
            &'a self,
            _ids: &'a [&'a str],
        ) -> BoxFuture<'a, Result<Vec<Presence>, VectorError>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(ready(Err(VectorError {
                kind: VectorErrorKind::InvalidId,
                detail: "no id".to_owned(),
                code: "400".to_owned(),
                source: None,
            })))
        }

        fn delete<'a>(
            &'a self,
            _ids: &'a [&'a str],
        ) -> BoxFuture<'a, Result<Vec<AfterDelete>, VectorError>> {
            unreachable!("an existence check deletes nothing")
        }

        fn max_delete(&self) -> usize {
            usize::MAX
        }
    }

    /// Checks 500 ids with this many seconds left. Returns the result and the number of calls.
    async fn check_500(seconds_left: i64) -> (Existence, usize) {
        let mut ids = ObjectIds::default();
        (0..500).for_each(|number| ids.push(&format!("o-{number}")).unwrap());
        let positions: Vec<_> = (0..500).collect();
        let clock = Clock::Manual(ManualClock::at(DateTime::UNIX_EPOCH));
        let deadline = clock.now() + TimeDelta::seconds(seconds_left);
        let budget = Budget::new(deadline, clock, &Arc::new(Semaphore::new(1)));
        let store = Refusing::default();
        let found = check(&store, &ids, &positions, &budget).await;
        (found.unwrap(), store.0.into_inner())
    }

    #[tokio::test]
    async fn a_check_makes_one_call_and_64_more_for_ids_that_are_refused_and_leaves_the_rest() {
        let (found, calls) = check_500(60).await;
        assert_eq!(calls, 1 + MAX_EXTRA_CALLS);
        assert!(!found.failed.is_empty());
        assert_eq!(found.failed.len() + found.unknown.len(), 500);
    }

    #[tokio::test]
    async fn a_check_without_time_makes_no_call_and_knows_nothing() {
        let (found, calls) = check_500(1).await;
        assert_eq!((calls, found.unknown.len()), (0, 500));
        assert!(found.present.is_empty() && found.failed.is_empty());
    }
}
