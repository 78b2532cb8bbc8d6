//! The objects that go together in the next call of a claim.
//!
//! If the store refuses a batch because of one of its objects, the batch is cut up until the
//! refused objects are alone and the others can be deleted. If single objects spread over the batch
//! are all refused alike, the rest of the batch is not tried.

use std::collections::BTreeMap;

/// The objects of a refused batch that are tried alone, to find out if all of it would be refused.
const PROBES: usize = 16;

/// The objects of one call, by position.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) positions: Vec<usize>,
    /// It is a part of a batch that was refused or too slow, so that its call is an additional one.
    pub(super) is_extra: bool,
}

/// The calls that are still to be made.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// A stack: the next batch is the last.
    stack: Vec<Batch>,
    /// The objects to try after all others: a part of them was deleted, or they were kept once.
    later: Vec<usize>,
    /// The objects that the store refused, and why. What kept them may have been deleted since.
    refused: BTreeMap<usize, String>,
    /// Whether an object was deleted since the refused ones were last tried.
    has_gone: bool,
    suspect: Option<Suspect>,
}

/// The rest of a refused batch, while single objects of it are tried.
#[derive(Debug)]
struct Suspect {
    rest: Vec<usize>,
    /// The number of single objects that have no result yet.
    left: usize,
    /// Why the batch and each single object so far was refused. `None` if one had another result.
    detail: Option<String>,
}

impl Batches {
    pub(super) fn of(positions: &[usize]) -> Self {
        let mut batches = Self::default();
        batches.push(positions.to_vec(), false);
        batches
    }

    fn push(&mut self, positions: Vec<usize>, is_extra: bool) {
        if !positions.is_empty() {
            self.stack.push(Batch {
                positions,
                is_extra,
            });
        }
    }

    /// Takes the next batch, of at most `most` objects.
    pub(super) fn next(&mut self, most: usize) -> Option<Batch> {
        if self.stack.is_empty() {
            let later = std::mem::take(&mut self.later);
            self.push(later, false);
        }
        if self.stack.is_empty() && std::mem::take(&mut self.has_gone) {
            let refused = std::mem::take(&mut self.refused);
            self.push(refused.into_keys().collect(), true);
        }
        let mut batch = self.stack.pop()?;
        if batch.positions.len() > most {
            let rest = batch.positions.split_off(most.max(1));
            self.push(rest, batch.is_extra);
        }
        Some(batch)
    }

    /// Puts a batch back, so that it is the next one again.
    pub(super) fn put_back(&mut self, batch: Batch) {
        self.stack.push(batch);
    }

    /// Tries an object once more, after all others.
    pub(super) fn later(&mut self, position: usize) {
        self.later.push(position);
    }

    /// Notes that objects were deleted.
    pub(super) fn have_gone(&mut self) {
        self.has_gone = true;
    }

    /// Notes an object that the store refuses, and why.
    ///
    /// The object is given up, unless another object is deleted afterwards. That one may have kept
    /// it, so it is tried again.
    pub(super) fn refuse(&mut self, position: usize, detail: &str) {
        self.refused.insert(position, detail.to_owned());
    }

    /// Cuts a batch into halves.
    pub(super) fn halve(&mut self, batch: Batch) {
        let mut positions = batch.positions;
        let tail = positions.split_off(positions.len() / 2);
        self.push(tail, true);
        self.push(positions, true);
    }

    /// Cuts up a batch that was refused because of one of its objects.
    ///
    /// At first it is cut into single objects and the rest, which waits for the results of the
    /// single ones. A batch that is already a part of another is cut into halves.
    pub(super) fn cut_up(&mut self, batch: Batch, detail: &str) {
        if batch.is_extra {
            return self.halve(batch);
        }
        let count = batch.positions.len();
        // If no more objects would be left than are tried alone, all are tried alone.
        let singles = if count <= 2 * PROBES { count } else { PROBES };
        let probes: Vec<usize> = (0..singles).map(|probe| probe * count / singles).collect();
        let mut rest = Vec::new();
        let mut singles = Vec::new();
        for (at, position) in batch.positions.into_iter().enumerate() {
            let is_probe = probes.binary_search(&at).is_ok();
            if is_probe {
                singles.push(position);
            } else {
                rest.push(position);
            }
        }
        if !rest.is_empty() {
            self.suspect = Some(Suspect {
                rest,
                left: singles.len(),
                detail: Some(detail.to_owned()),
            });
        }
        for single in singles.into_iter().rev() {
            self.push(vec![single], true);
        }
    }

    /// Notes a batch's result: refused for this reason, or not refused.
    ///
    /// If it was the last single object of a refused batch, and all of them were refused for the
    /// same reason, returns the rest of that batch, which is given up.
    pub(super) fn came_out(&mut self, refused: Option<&str>) -> Vec<usize> {
        let Some(suspect) = &mut self.suspect else {
            return Vec::new();
        };
        suspect.left = suspect.left.saturating_sub(1);
        if suspect.detail.as_deref() != refused {
            suspect.detail = None;
        }
        if suspect.left > 0 {
            return Vec::new();
        }
        let (rest, alike) = match self.suspect.take() {
            Some(suspect) => (suspect.rest, suspect.detail.is_some()),
            None => return Vec::new(),
        };
        if alike {
            return rest;
        }
        self.halve(Batch {
            positions: rest,
            is_extra: true,
        });
        Vec::new()
    }

    /// Returns the objects that are given up, and why.
    pub(super) fn take_refused(&mut self) -> BTreeMap<usize, String> {
        std::mem::take(&mut self.refused)
    }

    /// Returns the objects that have not been tried.
    pub(super) fn into_left(self) -> Vec<usize> {
        let stack = self.stack.into_iter().rev();
        let mut left: Vec<usize> = stack.flat_map(|batch| batch.positions).collect();
        left.extend(self.suspect.into_iter().flat_map(|suspect| suspect.rest));
        left.extend(self.later);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Deletes 500 objects of which the store refuses some.
    ///
    /// Returns the number of calls, the objects that were deleted, and those that were given up
    /// without a call of their own.
    fn play(is_refused: impl Fn(usize) -> bool) -> (usize, BTreeSet<usize>, Vec<usize>) {
        let all: Vec<usize> = (0..500).collect();
        let mut batches = Batches::of(&all);
        let (mut calls, mut gone, mut given_up) = (0, BTreeSet::new(), Vec::new());
        while let Some(batch) = batches.next(500) {
            calls += 1;
            if !batch.positions.iter().any(|at| is_refused(*at)) {
                gone.extend(batch.positions);
                given_up.extend(batches.came_out(None));
            } else if batch.positions.len() == 1 {
                given_up.extend(batches.came_out(Some("kept")));
            } else {
                batches.cut_up(batch, "kept");
            }
        }
        (calls, gone, given_up)
    }

    #[test]
    fn one_refused_object_costs_few_calls_and_all_others_go() {
        for refused in [0, 1, 31, 250, 499] {
            let (calls, gone, given_up) = play(|at| at == refused);
            assert!(calls <= 36, "{refused}: {calls}");
            assert_eq!((gone.len(), given_up), (499, vec![]), "{refused}");
        }
    }

    #[test]
    fn where_all_are_refused_alike_sixteen_stand_for_the_rest() {
        let (calls, gone, given_up) = play(|_| true);
        assert_eq!((calls, gone.len(), given_up.len()), (17, 0, 484));
    }

    #[test]
    fn a_claim_is_cut_into_calls_of_as_many_objects_as_one_takes() {
        let all: Vec<usize> = (0..250).collect();
        let mut batches = Batches::of(&all);
        let calls: Vec<_> = std::iter::from_fn(|| batches.next(100)).collect();
        let positions: Vec<_> = calls.into_iter().map(|batch| batch.positions).collect();
        assert_eq!(positions, [&all[..100], &all[100..200], &all[200..]]);
    }

    #[test]
    fn a_good_object_among_the_single_ones_has_all_of_them_tried() {
        let (_, gone, given_up) = play(|at| at != 250);
        assert_eq!((gone, given_up), (BTreeSet::from([250]), vec![]));
    }

    #[test]
    fn different_reasons_are_not_alike() {
        let all: Vec<usize> = (0..40).collect();
        let mut batches = Batches::of(&all);
        let batch = batches.next(40).unwrap();
        batches.cut_up(batch, "one");
        for _ in 0..15 {
            batches.next(40).unwrap();
            assert_eq!(batches.came_out(Some("one")), [0; 0]);
        }
        batches.next(40).unwrap();
        assert_eq!(batches.came_out(Some("another")), [0; 0]);
        assert_eq!(batches.next(40).unwrap().positions.len(), 12);
        // In a smaller batch no object is given up because of the others.
        let mut batches = Batches::of(&all[..32]);
        let batch = batches.next(40).unwrap();
        batches.cut_up(batch, "one");
        for _ in 0..32 {
            assert_eq!(batches.next(40).unwrap().positions.len(), 1);
            assert_eq!(batches.came_out(Some("one")), [0; 0]);
        }
    }

    #[test]
    fn what_was_refused_is_tried_again_once_others_have_gone() {
        let mut batches = Batches::of(&[1, 2]);
        let batch = batches.next(9).unwrap();
        batches.cut_up(batch, "kept by another");
        let first = batches.next(9).unwrap();
        assert_eq!(first.positions, [1]);
        batches.refuse(1, "kept by another");
        batches.next(9).unwrap();
        batches.have_gone();
        assert_eq!(batches.next(9).unwrap().positions, [1]);
        batches.refuse(1, "kept by another");
        assert!(batches.next(9).is_none(), "nothing has gone since");
        assert_eq!(batches.take_refused().len(), 1);
    }

    #[test]
    fn nothing_is_lost_wherever_it_ends() {
        for stop in 0..60 {
            let all: Vec<usize> = (0..500).collect();
            let mut batches = Batches::of(&all);
            let mut out = Vec::new();
            for _ in 0..stop {
                let Some(batch) = batches.next(100) else {
                    break;
                };
                if batch.positions.len() == 1 {
                    out.extend(&batch.positions);
                    out.extend(batches.came_out(Some("kept")));
                } else if batch.positions.contains(&7) {
                    batches.cut_up(batch, "kept");
                } else {
                    out.extend(batch.positions);
                    out.extend(batches.came_out(None));
                }
            }
            out.extend(batches.into_left());
            out.sort_unstable();
            assert_eq!(out, all, "after {stop}");
        }
    }
}
