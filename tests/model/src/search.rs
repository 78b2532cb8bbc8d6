//! The search: every reachable state, the nearest first.
//!
//! Whole states are stored and compared, so no state is mistaken for another because of an equal
//! hash.

use crate::invariants::{self, Invariant};
use crate::seen::{Seen, index};
use crate::state::{State, Status};
use crate::step::{Label, Model, Steps};

/// The result of a search.
#[derive(Debug)]
pub struct Report {
    /// How many states there are.
    pub states: usize,
    /// How many steps lead from one to another.
    pub steps: usize,
    /// The number of steps to the farthest state.
    pub depth: usize,
    /// How many states are the end of a task, by status.
    pub ends: Ends,
    /// Whether a call took effect a second time. Its caller named no attempt.
    pub acted_again: bool,
    /// The violation, if there is one.
    pub violation: Option<Violation>,
}

/// How many states there are in which the task has ended in a status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// `done`.
    pub done: usize,
    /// `failed`.
    pub failed: usize,
    /// `canceled`.
    pub canceled: usize,
}

/// A broken invariant, and a shortest way to its violation.
#[derive(Debug)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// The steps.
    pub trace: Vec<Label>,
}

/// Goes through all states of `model`. With `workers_in_order`, states that differ only in which
/// worker is which count as one. Traces are then hard to follow.
///
/// # Panics
/// When there are more than four billion states.
pub fn search(model: &Model, workers_in_order: bool) -> Report {
    let mut search = Search {
        model: *model,
        workers_in_order,
        seen: Seen::default(),
        parents: vec![0],
        report: Report {
            states: 0,
            steps: 0,
            depth: 0,
            ends: Ends::default(),
            acted_again: false,
            violation: None,
        },
    };
    search.run();
    search.report.states = search.seen.states.len();
    search.report
}

struct Search {
    model: Model,
    workers_in_order: bool,
    seen: Seen,
    /// The state from which each state was first reached.
    parents: Vec<u32>,
    report: Report,
}

impl Search {
    fn run(&mut self) {
        let first = self.simplest(&self.model.first());
        self.seen.number(first);
        // The steps that are not faults, as pairs of states.
        let mut free: Vec<(u32, u32)> = Vec::new();
        let mut steps = Steps { found: Vec::new() };
        let (mut level_end, mut at) = (1, 0);
        while let Some(state) = self.seen.states.get(at).copied() {
            if at == level_end {
                self.report.depth += 1;
                level_end = self.seen.states.len();
            }
            self.tally(&state);
            self.model.steps(&state, &mut steps);
            for step in &steps.found {
                self.report.steps += 1;
                self.report.acted_again |= step.label.what == "sent again, takes effect again";
                if let Some(invariant) = invariants::broken(&self.model, &state, step) {
                    let mut trace = self.trace(at);
                    trace.push(step.label);
                    self.report.violation = Some(Violation { invariant, trace });
                    return;
                }
                let next = self.simplest(&step.next);
                if next == state {
                    continue;
                }
                let (number, new) = self.seen.number(next);
                if new {
                    self.parents.push(index(at));
                }
                if !step.fault {
                    free.push((index(at), number));
                }
            }
            at += 1;
        }
        if let Some(stuck) = self.first_stuck(&free) {
            self.report.violation = Some(Violation {
                invariant: Invariant::Ends,
                trace: self.trace(stuck),
            });
        }
    }

    fn simplest(&self, state: &State) -> State {
        self.model.simplest(state, self.workers_in_order)
    }

    fn tally(&mut self, state: &State) {
        let ends = &mut self.report.ends;
        match state.task.map(|task| task.status) {
            Some(Status::Done) => ends.done += 1,
            Some(Status::Failed) => ends.failed += 1,
            Some(Status::Canceled) => ends.canceled += 1,
            Some(Status::Pending | Status::Processing) | None => {}
        }
    }

    /// The nearest state from which the task cannot end without a fault.
    fn first_stuck(&self, free: &[(u32, u32)]) -> Option<usize> {
        let states = &self.seen.states;
        let mut before = Lists::new(states.len(), free);
        let mut can_end: Vec<bool> = states
            .iter()
            .map(|state| state.task.is_none_or(|task| task.status.is_terminal()))
            .collect();
        let mut reached: Vec<u32> = (0..)
            .zip(&can_end)
            .filter_map(|(at, ends)| ends.then_some(at))
            .collect();
        while let Some(at) = reached.pop() {
            for from in before.take(at) {
                if let Some(can_end) = can_end.get_mut(*from as usize).filter(|can| !**can) {
                    *can_end = true;
                    reached.push(*from);
                }
            }
        }
        can_end.iter().position(|ends| !ends)
    }

    /// The steps from the first state to number `at`.
    fn trace(&self, at: usize) -> Vec<Label> {
        let mut way = vec![at];
        let mut here = at;
        while here != 0 {
            here = self.parents.get(here).map_or(0, |from| *from as usize);
            way.push(here);
        }
        way.reverse();
        let mut steps = Steps { found: Vec::new() };
        let states = way.iter().filter_map(|at| self.seen.states.get(*at));
        let label = |(from, to): (&State, &State)| {
            self.model.steps(from, &mut steps);
            let step = steps
                .found
                .iter()
                .find(|step| self.simplest(&step.next) == *to);
            step.map(|step| step.label)
        };
        states
            .clone()
            .zip(states.skip(1))
            .filter_map(label)
            .collect()
    }
}

/// For each state, the states that lead to it.
struct Lists {
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    fn new(states: usize, pairs: &[(u32, u32)]) -> Self {
        let mut starts = vec![0u32; states + 2];
        for (_, to) in pairs {
            if let Some(count) = starts.get_mut(*to as usize + 2) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        // As a list is filled, its start moves to its end, which is the start of the next list.
        let mut items = vec![0; pairs.len()];
        for (from, to) in pairs {
            if let Some(end) = starts.get_mut(*to as usize + 1) {
                if let Some(item) = items.get_mut(*end as usize) {
                    *item = *from;
                }
                *end += 1;
            }
        }
        Self { starts, items }
    }

    fn take(&mut self, at: u32) -> &[u32] {
        let at = at as usize;
        let bounds = self.starts.get(at).zip(self.starts.get(at + 1));
        bounds
            .and_then(|(from, to)| self.items.get(*from as usize..*to as usize))
            .unwrap_or_default()
    }
}
