//! The invariants, with the numbers of the design.
//!
//! This file checks what can be seen from the states before and after a step. Checks that depend on
//! the actor are made where the step is made: a claim or a call after a cancel, a late delete, a
//! wrong *deleted* or *not found*, and a retried write. Whether a task can end is checked once all
//! states are known.

use crate::process::{Call, Creator};
use crate::state::{Outcome, Side, State, Status, Task};
use crate::step::{Model, Step, Who};
use std::fmt;

/// An invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// 1: one create wins, and what it stored never changes.
    OneCreate,
    /// 2: only a restart raises the attempt, by one.
    Attempt,
    /// 3: the status moves only as allowed.
    Status,
    /// 4: the counters match the chunks.
    Counters,
    /// 5: `done` means that each object was deleted or seen absent.
    Done,
    /// 6: only the newest claim writes; the fence never decreases; a stale worker changes nothing.
    Fence,
    /// 7: a claim made after a cancel makes no delete call; a claim made before it makes at most
    /// its first.
    Cancel,
    /// 8: no delete call for a claim that is settled or superseded, and no two claims in force.
    LateDelete,
    /// 9: from every state the task can end, and no healthy task fails.
    Ends,
    /// 11: an object that counts as deleted was gone, and an object that the service deleted is
    /// never reported as not found.
    ExactOutcomes,
    /// 12: a write that is sent again takes effect once and counts as success.
    Retries,
}

impl Invariant {
    /// All invariants that the model checks. The tenth is about reads, which the model does not
    /// have.
    pub const ALL: [Self; 11] = [
        Self::OneCreate,
        Self::Attempt,
        Self::Status,
        Self::Counters,
        Self::Done,
        Self::Fence,
        Self::Cancel,
        Self::LateDelete,
        Self::Ends,
        Self::ExactOutcomes,
        Self::Retries,
    ];

    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Self::OneCreate => 1,
            Self::Attempt => 2,
            Self::Status => 3,
            Self::Counters => 4,
            Self::Done => 5,
            Self::Fence => 6,
            Self::Cancel => 7,
            Self::LateDelete => 8,
            Self::Ends => 9,
            Self::ExactOutcomes => 11,
            Self::Retries => 12,
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}", self.number(), self)
    }
}

/// The invariant that `step` breaks, if it breaks one.
pub fn broken(model: &Model, before: &State, step: &Step) -> Option<Invariant> {
    let after = &step.next;
    if step.broken.is_some() {
        return step.broken;
    }
    let checks = [
        (Invariant::OneCreate, one_create(before, after)),
        (Invariant::Attempt, attempt(before, step)),
        (Invariant::Status, status(before, step)),
        (Invariant::Counters, counters(after)),
        (Invariant::Done, done(after)),
        (Invariant::Fence, fence(before, after)),
        (Invariant::Ends, healthy(model, after)),
    ];
    checks
        .into_iter()
        .find_map(|(invariant, holds)| (!holds).then_some(invariant))
}

fn one_create(before: &State, after: &State) -> bool {
    let stored = after.task.map(|task| task.request);
    let unchanged = before.task.is_none() || before.task.map(|task| task.request) == stored;
    let responses = Side::BOTH
        .into_iter()
        .filter(|side| *after.creators.at(*side) == Creator::New);
    unchanged && stored == after.winner && responses.into_iter().all(|side| Some(side) == stored)
}

fn attempt(before: &State, step: &Step) -> bool {
    let (Some(before), Some(after)) = (before.task, step.next.task) else {
        return true;
    };
    before.attempt + u8::from(restarts(before, after)) == after.attempt && {
        let by_restart = matches!(
            step.label.who,
            Who::Caller(Call::Restart | Call::RestartAll)
        );
        before.attempt == after.attempt || by_restart
    }
}

fn restarts(before: Task, after: Task) -> bool {
    before.status.is_terminal() && after.status == Status::Pending
}

fn status(before: &State, step: &Step) -> bool {
    let Some(after) = step.next.task else {
        return before.task.is_none();
    };
    let Some(before) = before.task else {
        return after.status == Status::Pending;
    };
    if before.status == after.status || restarts(before, after) {
        return true;
    }
    match before.status {
        Status::Pending => match after.status {
            Status::Processing | Status::Failed | Status::Canceled => true,
            Status::Pending | Status::Done => false,
        },
        Status::Processing => match after.status {
            Status::Done | Status::Failed | Status::Canceled => true,
            Status::Pending | Status::Processing => false,
        },
        Status::Done | Status::Failed | Status::Canceled => false,
    }
}

fn counters(after: &State) -> bool {
    let Some(task) = after.task else { return true };
    let (mut deleted, mut failed, mut remaining) = (0, 0, 0);
    for side in State::sides(task.total) {
        match after
            .chunks
            .at(side)
            .outcome_at(task.attempt, task.baseline)
        {
            Outcome::Remaining => remaining += 1,
            Outcome::Deleted => deleted += 1,
            Outcome::NotFound | Outcome::GaveUp => failed += 1,
        }
    }
    let complete = match task.status {
        Status::Done | Status::Failed => task.remaining == 0,
        Status::Pending | Status::Processing | Status::Canceled => true,
    };
    complete && (deleted, failed, remaining) == (task.deleted, task.failed, task.remaining)
}

/// `done` also means that nothing was given up in this attempt, and `failed` that something was.
fn done(after: &State) -> bool {
    let Some(task) = after.task else { return true };
    let outcome_of = |side| {
        after
            .chunks
            .at(side)
            .outcome_at(task.attempt, task.baseline)
    };
    let gave_up = State::sides(task.total).any(|side| outcome_of(side) == Outcome::GaveUp);
    match task.status {
        Status::Done => {
            !gave_up && State::sides(task.total).all(|side| after.objects.at(side).gone)
        }
        Status::Failed => gave_up,
        Status::Pending | Status::Processing | Status::Canceled => true,
    }
}

fn fence(before: &State, after: &State) -> bool {
    Side::BOTH.into_iter().all(|side| {
        let (before, after) = (before.chunks.at(side), after.chunks.at(side));
        before.fence <= after.fence && before.claim_attempt <= after.claim_attempt
    })
}

/// A task fails only because of an object that is kept, or because of tries that ended without
/// progress and not because of throttling.
fn healthy(model: &Model, after: &State) -> bool {
    model.scenario.may_fail() || after.task.is_none_or(|task| task.status != Status::Failed)
}
