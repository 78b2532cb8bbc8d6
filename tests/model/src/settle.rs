//! A worker that holds a claim: its delete calls, each with a confirming read, and its settlement.

use crate::chunk_work;
use crate::invariants::Invariant;
use crate::process::{Claim, Finding, Stage, Worker};
use crate::state::{Chunk, Lease, MAX_CALLS, Outcome, Side, State, Status, Store, Task};
use crate::step::{About, Model, Steps, Who};
use crate::variant::Variant;

/// Adds the steps of a claim's holder.
pub fn steps(
    model: &Model,
    state: &State,
    side: Side,
    claim: Claim,
    stage: Stage,
    steps: &mut Steps,
) {
    let (who, about) = (Who::Worker(side), About::Chunk(claim.chunk));
    match stage {
        Stage::Claimed(known) => {
            chunk_work::read_task(model, state, side, claim, known, steps);
        }
        Stage::AtWork => call(state, side, claim, "begins its delete call", steps),
        Stage::OnWire => responds(model, state, side, claim, steps),
        Stage::Confirming => confirm(model, state, side, claim, steps),
        Stage::Throttled | Stage::Unsure => {
            if claim.calls < MAX_CALLS {
                call_again(model, state, side, claim, steps);
            }
            check_what_became(model, state, side, claim, stage, steps);
        }
        Stage::Left => {
            call_again(model, state, side, claim, steps);
            let finding = no_outcome(model, claim);
            let next = holding(state, side, claim, Stage::Settling(finding));
            let what = "has no time for another delete call, or no right to it";
            steps.add(who, what, about, next);
        }
        Stage::Settling(finding) => settle(model, state, side, claim, finding, steps),
        Stage::SettlingAgain(finding) => settle(model, state, side, claim, finding, steps),
        Stage::Counting(outcome) => {
            let mut next = *state;
            *next.workers.at_mut(side) = Worker::Idle;
            if let Some(task) = &mut next.task {
                task.count(outcome);
            }
            steps.add(who, "writes the counters", about, next);
        }
    }
}

/// The state in which the worker has reached `stage`.
fn holding(state: &State, side: Side, claim: Claim, stage: Stage) -> State {
    let mut next = *state;
    *next.workers.at_mut(side) = Worker::Holds(claim, stage);
    next
}

/// Whether the task is still processing and the claim is unsettled and the newest.
fn is_still_ours(state: &State, claim: Claim) -> bool {
    state.is_processing(claim.attempt) && is_unsettled(state, claim.chunk, claim.token)
}

/// The worker makes one more delete call, if the claim still allows it. The read of the task and
/// the call are one step.
fn call_again(model: &Model, state: &State, side: Side, claim: Claim, steps: &mut Steps) {
    if is_still_ours(state, claim) || model.variant == Variant::NoReadBetweenCalls {
        let what = "reads the task and begins another delete call";
        call(state, side, claim, what, steps);
    }
}

/// A delete call starts.
fn call(state: &State, side: Side, claim: Claim, what: &'static str, steps: &mut Steps) {
    let calls = (claim.calls + 1).min(MAX_CALLS);
    let next = holding(state, side, Claim { calls, ..claim }, Stage::OnWire);
    steps.add(Who::Worker(side), what, About::Chunk(claim.chunk), next);
    let further = claim.calls > 0 && !state.is_processing(claim.attempt);
    steps.breaks(Invariant::Cancel, claim.late || further);
    steps.breaks(
        Invariant::LateDelete,
        !is_unsettled(state, claim.chunk, claim.token),
    );
}

/// Whether the claim is neither settled nor superseded.
fn is_unsettled(state: &State, chunk: Side, token: u8) -> bool {
    let chunk = state.chunks.at(chunk);
    chunk.claim == token && chunk.lease != Lease::None
}

/// The store carries out a delete call of the claim `token`. Returns whether it deleted something
/// and the call was too late.
pub fn delete(state: &mut State, chunk: Side, token: u8) -> bool {
    let unsettled = is_unsettled(state, chunk, token);
    let object = state.objects.at_mut(chunk);
    let takes = object.is_present() && object.store == Store::Deletes;
    object.parts -= u8::from(takes);
    object.deleted_by_us |= takes && !object.is_present();
    object.gone |= !object.is_present();
    takes && !unsettled
}

/// How a delete call can end.
fn responds(model: &Model, state: &State, side: Side, claim: Claim, steps: &mut Steps) {
    let (who, about) = (Who::Worker(side), About::Chunk(claim.chunk));
    let mut deleted = *state;
    let late = delete(&mut deleted, claim.chunk, claim.token);
    let parts_of = |state: &State| state.objects.at(claim.chunk).parts;
    let (before, after) = (parts_of(state), parts_of(&deleted));
    let in_part = 0 < after && after < before;
    let (what, stage) = if in_part {
        let what = "deletes a part of the object, and there is more";
        (what, Stage::Left)
    } else if model.variant == Variant::StoreBelieved {
        let stage = Stage::Settling(Finding::Is(Outcome::Deleted));
        ("has its delete acknowledged and believes it", stage)
    } else {
        ("has its delete acknowledged", Stage::Confirming)
    };
    let in_part = claim.in_part || in_part;
    let next = holding(&deleted, side, Claim { in_part, ..claim }, stage);
    steps.add(who, what, about, next);
    steps.breaks(Invariant::LateDelete, late);
    if model.scenario.throttling {
        let next = holding(state, side, claim, Stage::Throttled);
        steps.fault(who, "is throttled at its delete call", about, next);
    }
    if model.scenario.failures {
        let next = holding(state, side, claim, Stage::Unsure);
        steps.fault(who, "gets an error to its delete call", about, next);
        let next = holding(&deleted, side, claim, Stage::Unsure);
        let what = "gets an error to its delete call, which was carried out";
        steps.fault(who, what, about, next);
        steps.breaks(Invariant::LateDelete, late);
        if model.variant == Variant::AbandonedCall {
            let mut next = holding(state, side, claim, Stage::Unsure);
            next.objects.at_mut(claim.chunk).late = Some(claim.token);
            let what = "stops waiting for its delete call, which is still under way";
            steps.fault(who, what, about, next);
        }
    }
}

/// The confirming read, which is the second half of a delete call. It may fail too.
fn confirm(model: &Model, state: &State, side: Side, claim: Claim, steps: &mut Steps) {
    let (who, about) = (Who::Worker(side), About::Chunk(claim.chunk));
    let object = state.objects.at(claim.chunk);
    let mut after = claim;
    let (what, stage) = if object.store == Store::CannotConfirm {
        let finding = if model.variant == Variant::UnconfirmedIsNoTry {
            Finding::NoTry
        } else {
            no_outcome(model, claim)
        };
        ("cannot confirm its delete", Stage::Settling(finding))
    } else if !object.is_present() {
        let deleted = Finding::Is(Outcome::Deleted);
        ("confirms that the object is gone", Stage::Settling(deleted))
    } else if model.variant == Variant::KeptTakenForProgress {
        after.in_part = true;
        ("finds the object kept and calls it progress", Stage::Left)
    } else if claim.kept {
        let gave_up = Finding::Is(Outcome::GaveUp);
        ("finds the object kept again", Stage::Settling(gave_up))
    } else {
        after.kept = true;
        ("finds the object kept", Stage::Left)
    };
    steps.add(who, what, about, holding(state, side, after, stage));
    if model.scenario.throttling {
        let next = holding(state, side, claim, Stage::Throttled);
        steps.fault(who, "is throttled at its confirming read", about, next);
    }
    if model.scenario.failures {
        let next = holding(state, side, claim, Stage::Unsure);
        steps.fault(who, "gets an error to its confirming read", about, next);
    }
}

/// The end of a claim without an outcome. If nothing was deleted, it counts as a try, and after the
/// last try the object is given up.
fn no_outcome(model: &Model, claim: Claim) -> Finding {
    if claim.in_part && model.variant != Variant::PartCountsAsTry {
        Finding::Progress
    } else if claim.last_try {
        Finding::Is(Outcome::GaveUp)
    } else {
        Finding::Is(Outcome::Remaining)
    }
}

/// The existence check after the last delete call failed. An object that is gone now was deleted.
/// The check may fail too.
fn check_what_became(
    model: &Model,
    state: &State,
    side: Side,
    claim: Claim,
    stage: Stage,
    steps: &mut Steps,
) {
    let (who, about) = (Who::Worker(side), About::Chunk(claim.chunk));
    let throttled = stage == Stage::Throttled && model.variant != Variant::ThrottlingCounts;
    let finding = if throttled && !claim.in_part {
        Finding::NoTry
    } else {
        no_outcome(model, claim)
    };
    let with = |finding| holding(state, side, claim, Stage::Settling(finding));
    if state.objects.at(claim.chunk).is_present() {
        let what = "checks again and still sees the object";
        steps.add(who, what, about, with(finding));
    } else {
        let deleted = Finding::Is(Outcome::Deleted);
        steps.add(who, "checks again and sees it gone", about, with(deleted));
        let what = "checks again, and the store fails";
        steps.fault(who, what, about, with(finding));
    }
}

/// The outcome that counts for a finding, given the task at the time of recording.
fn what_counts(model: &Model, task: Task, claim: Claim, finding: Finding) -> Option<Outcome> {
    let Finding::Is(outcome) = finding else {
        return None;
    };
    let unaware = model.variant == Variant::NoAttemptCheck;
    let restarted = task.attempt != claim.attempt && !unaware;
    let all_restarted = task.baseline > claim.attempt && !unaware;
    let canceled = task.status == Status::Canceled;
    let counts = match outcome {
        Outcome::Remaining => false,
        Outcome::Deleted => !all_restarted,
        Outcome::NotFound => !restarted,
        Outcome::GaveUp => !restarted && !canceled,
    };
    counts.then_some(outcome)
}

/// The settlement: chunk and counters in one transaction, or the chunk alone if nothing counts.
fn settle(
    model: &Model,
    state: &State,
    side: Side,
    claim: Claim,
    finding: Finding,
    steps: &mut Steps,
) {
    let (who, about) = (Who::Worker(side), About::Chunk(claim.chunk));
    let stored = *state.chunks.at(claim.chunk);
    let mut next = *state;
    *next.workers.at_mut(side) = Worker::Idle;
    let Some(task) = state.task else { return };
    let newest = stored.claim == claim.token;
    let unsettled = stored.lease != Lease::None;
    let guarded = match model.variant {
        Variant::NoFence => unsettled,
        Variant::CounterWithoutGuard => true,
        _ => newest && unsettled,
    };
    if !guarded {
        let what = if newest {
            "settles, and finds that it had"
        } else {
            "settles, and finds a newer claim"
        };
        steps.add(who, what, about, next);
        return;
    }
    let counted = what_counts(model, task, claim, finding);
    let recorded = record(model, &stored, task, claim, finding, counted);
    *next.chunks.at_mut(claim.chunk) = recorded;
    if let Some(outcome) = counted {
        match (&mut next.task, model.variant) {
            (_, Variant::TwoWrites) => {
                *next.workers.at_mut(side) = Worker::Holds(claim, Stage::Counting(outcome));
            }
            (Some(task), _) => task.count(outcome),
            (None, _) => {}
        }
    }
    let object = next.objects.at_mut(claim.chunk);
    let untrue = match counted {
        Some(Outcome::Deleted) => !object.gone,
        Some(Outcome::NotFound) => object.deleted_by_us,
        Some(Outcome::Remaining | Outcome::GaveUp) | None => false,
    };
    if counted == Some(Outcome::Deleted) {
        object.deleted_by_us = false;
    }
    let what = match (counted, finding) {
        (Some(Outcome::Deleted), _) => "settles: deleted",
        (Some(Outcome::NotFound), _) => "settles: not found",
        (Some(Outcome::GaveUp), _) => "settles: given up",
        (_, Finding::Is(Outcome::Deleted)) => "settles, and its deletion no longer counts",
        _ => "settles: nothing to count",
    };
    if task.attempt > claim.attempt
        && task.status == Status::Processing
        && recorded.is_open(task.attempt, task.baseline)
    {
        next.messages.send((task.attempt, Some(claim.chunk)));
    }
    let check = |steps: &mut Steps| {
        steps.breaks(Invariant::ExactOutcomes, untrue);
        steps.breaks(Invariant::Fence, !newest);
    };
    steps.add(who, what, about, next);
    check(steps);
    if model.scenario.lost_responses {
        let mut lost = next;
        *lost.workers.at_mut(side) = Worker::Holds(claim, Stage::SettlingAgain(finding));
        lost.messages = state.messages;
        steps.fault(who, "settles, and the response is lost", about, lost);
        check(steps);
    }
}

/// The chunk's part of a settlement.
fn record(
    model: &Model,
    stored: &Chunk,
    task: Task,
    claim: Claim,
    finding: Finding,
    counted: Option<Outcome>,
) -> Chunk {
    let mut chunk = *stored;
    chunk.lease = Lease::None;
    let all_restarted = task.baseline > claim.attempt;
    match finding {
        Finding::Is(Outcome::Deleted | Outcome::NotFound) if !all_restarted => chunk.seen = false,
        Finding::Is(_) => {}
        Finding::NoTry => chunk.tries = chunk.tries.saturating_sub(1),
        Finding::Progress => chunk.tries = 0,
    }
    if let Some(outcome) = counted {
        chunk.outcome = outcome;
        chunk.outcome_attempt = match model.variant {
            Variant::NoAttemptCheck => claim.attempt,
            _ => task.attempt,
        };
        if outcome != Outcome::GaveUp {
            chunk.tries = 0;
        }
    }
    chunk
}

impl Task {
    /// Moves one object from the remaining ones to the counter for `outcome`. The last object ends
    /// a processing task.
    pub fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Remaining => return,
            Outcome::Deleted => self.deleted += 1,
            Outcome::NotFound | Outcome::GaveUp => self.failed += 1,
        }
        self.detail |= outcome == Outcome::GaveUp;
        self.remaining = self.remaining.saturating_sub(1);
        if self.remaining == 0 && self.status == Status::Processing {
            self.status = if self.detail {
                Status::Failed
            } else {
                Status::Done
            };
        }
    }
}
