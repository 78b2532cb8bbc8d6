//! A worker on a chunk, up to its claim and the read of the task after it.
//!
//! The steps are: read, existence check, one guarded write, read.

use crate::invariants::Invariant;
use crate::process::{Claim, Finding, Job, Sight, Stage, Worker};
use crate::state::{Chunk, Lease, MAX_TRIES, Outcome, Side, State, Status};
use crate::step::{About, Model, Steps, Who};
use crate::variant::Variant;

/// The worker reads the chunk: its fence, its lease, and what was seen.
pub fn read(
    model: &Model,
    state: &State,
    side: Side,
    (chunk, attempt, baseline): (Side, u8, u8),
    steps: &mut Steps,
) {
    let stored = state.chunks.at(chunk);
    let mut next = *state;
    let leased = stored.lease == Lease::InForce
        && !(model.variant == Variant::LeaseIgnoredByRestart && stored.claim_attempt < attempt);
    let drop = leased || !stored.is_open(attempt, baseline);
    let tries = if stored.claim_attempt == attempt {
        stored.tries
    } else {
        0
    };
    let job = Job {
        chunk,
        attempt,
        fence: stored.fence,
        lease: stored.lease,
        tries,
        seen: stored.seen,
    };
    *next.workers.at_mut(side) = if drop {
        Worker::Idle
    } else {
        Worker::ChunkRead(job)
    };
    let what = if drop {
        "reads the chunk and finds nothing to do"
    } else {
        "reads the chunk"
    };
    steps.add(Who::Worker(side), what, About::Chunk(chunk), next);
}

/// The worker makes the existence check.
pub fn check(model: &Model, state: &State, side: Side, job: Job, steps: &mut Steps) {
    let (who, about) = (Who::Worker(side), About::Chunk(job.chunk));
    let saw = |sight| {
        let mut next = *state;
        *next.workers.at_mut(side) = Worker::Checked(job, sight);
        next
    };
    if state.objects.at(job.chunk).is_present() {
        steps.add(who, "sees the object", about, saw(Sight::Present));
    } else {
        let mut next = saw(Sight::Absent);
        next.objects.at_mut(job.chunk).gone = true;
        steps.add(who, "sees no object", about, next);
    }
    if model.scenario.throttling {
        let next = saw(Sight::Throttled);
        steps.fault(who, "checks and is throttled", about, next);
    }
    if model.scenario.failures {
        let next = saw(Sight::Unavailable);
        steps.fault(who, "checks, and the store fails", about, next);
    }
}

/// What the worker writes after its existence check: a claim or, if the check failed, a deferral or
/// failure of the chunk.
pub fn write(model: &Model, state: &State, side: Side, job: Job, sight: Sight, steps: &mut Steps) {
    let last_try = job.tries + 1 >= MAX_TRIES;
    match sight {
        Sight::Present | Sight::Absent => claim(model, state, side, job, sight, steps),
        Sight::Unavailable if model.variant == Variant::ErrorTakenForAbsence => {
            claim(model, state, side, job, sight, steps);
        }
        Sight::Unavailable if last_try => give_up(state, side, job, steps),
        Sight::Throttled if model.variant == Variant::ThrottlingCounts && last_try => {
            give_up(state, side, job, steps);
        }
        Sight::Throttled | Sight::Unavailable => {
            put_off(model, state, side, job, sight, steps);
        }
    }
}

/// Whether the chunk is unchanged since the worker read it. All three writes have this guard.
fn is_as_read(chunk: &Chunk, job: Job) -> bool {
    chunk.fence == job.fence && chunk.lease == job.lease && job.lease != Lease::InForce
}

fn claim(model: &Model, state: &State, side: Side, job: Job, sight: Sight, steps: &mut Steps) {
    let (who, about) = (Who::Worker(side), About::Chunk(job.chunk));
    let stored = *state.chunks.at(job.chunk);
    let newer = stored.claim_attempt > job.attempt && model.variant != Variant::EarlierAttempt;
    let chunk_is_as_read = match model.variant {
        Variant::NoFence => stored.lease == job.lease,
        Variant::LeaseIgnoredByRestart => stored.fence == job.fence && stored.lease == job.lease,
        _ => is_as_read(&stored, job),
    };
    let mut next = *state;
    if newer || !chunk_is_as_read {
        *next.workers.at_mut(side) = Worker::Idle;
        steps.add(who, "cannot claim: it has moved", about, next);
        return;
    }
    let token = stored.claim + 1;
    *next.chunks.at_mut(job.chunk) = Chunk {
        fence: job.fence + 1,
        claim: token,
        lease: Lease::InForce,
        claim_attempt: job.attempt,
        // A higher number of tries than the maximum counts as the maximum.
        tries: (job.tries + 1).min(MAX_TRIES),
        seen: job.seen || sight == Sight::Present,
        ..stored
    };
    next.objects.at_mut(job.chunk).gone &= sight != Sight::Present;
    let what = match sight {
        Sight::Present => "claims the chunk and records that it saw the object",
        _ => "claims the chunk",
    };
    let late = !state.is_processing(job.attempt);
    let rival = state.workers.at(side.other());
    let held = match rival {
        Worker::Holds(claim, stage) => claim.chunk == job.chunk && is_unsettled(*stage),
        Worker::ClaimAgain(rival, ..) => rival.chunk == job.chunk,
        _ => false,
    };
    let mut outcomes = vec![held_after(model, job, sight, token, late)];
    if model.scenario.lost_responses {
        outcomes.push(Worker::ClaimAgain(job, sight, token, late));
    }
    for worker in outcomes {
        *next.workers.at_mut(side) = worker;
        match worker {
            Worker::ClaimAgain(..) => {
                let what = "claims the chunk, and the response is lost";
                steps.fault(who, what, about, next);
            }
            _ => steps.add(who, what, about, next),
        }
        steps.breaks(Invariant::LateDelete, held);
    }
}

fn is_unsettled(stage: Stage) -> bool {
    match stage {
        Stage::Claimed(_)
        | Stage::AtWork
        | Stage::OnWire
        | Stage::Confirming
        | Stage::Throttled
        | Stage::Unsure
        | Stage::Left
        | Stage::Settling(_) => true,
        Stage::SettlingAgain(_) | Stage::Counting(_) => false,
    }
}

/// The claim is sent again. If the chunk has the claim's own name, the first one had succeeded.
pub fn claim_again(
    model: &Model,
    state: &State,
    side: Side,
    (job, sight, token, late): (Job, Sight, u8, bool),
    steps: &mut Steps,
) {
    let (who, about) = (Who::Worker(side), About::Chunk(job.chunk));
    let is_ours = state.chunks.at(job.chunk).claim == token;
    let mut next = *state;
    if is_ours && model.variant != Variant::RetryTakenForRival {
        *next.workers.at_mut(side) = held_after(model, job, sight, token, late);
        steps.add(who, "claims again, and finds its own name", about, next);
    } else {
        *next.workers.at_mut(side) = Worker::Idle;
        steps.add(who, "claims again, and is refused", about, next);
        steps.breaks(Invariant::Retries, is_ours);
    }
}

fn held_after(model: &Model, job: Job, sight: Sight, token: u8, late: bool) -> Worker {
    let known = match sight {
        Sight::Present if job.tries >= MAX_TRIES => Some(Outcome::GaveUp),
        Sight::Present => None,
        _ if job.seen && model.variant != Variant::ChecksAgain => Some(Outcome::Deleted),
        _ => Some(Outcome::NotFound),
    };
    let claim = Claim {
        chunk: job.chunk,
        attempt: job.attempt,
        token,
        late,
        last_try: job.tries + 1 >= MAX_TRIES,
        calls: 0,
        kept: false,
        in_part: false,
    };
    Worker::Holds(claim, Stage::Claimed(known.map(Finding::Is)))
}

/// The worker reads the task after its claim. If the task is still processing, the claim leads to a
/// delete call, or to the outcome that is already known. Otherwise the claim is released.
pub fn read_task(
    model: &Model,
    state: &State,
    side: Side,
    claim: Claim,
    known: Option<Finding>,
    steps: &mut Steps,
) {
    let is_at_work = match model.variant {
        Variant::NoReadAfterClaim => true,
        Variant::NoAttemptCheck => state
            .task
            .is_some_and(|task| task.status == Status::Processing),
        _ => state.is_processing(claim.attempt),
    };
    let (what, stage) = if is_at_work {
        let stage = known.map_or(Stage::AtWork, Stage::Settling);
        ("reads the task, which is at work", stage)
    } else {
        let stage = Stage::Settling(Finding::NoTry);
        ("reads the task, which has moved", stage)
    };
    let mut next = *state;
    *next.workers.at_mut(side) = Worker::Holds(claim, stage);
    steps.add(Who::Worker(side), what, About::Chunk(claim.chunk), next);
}

/// The existence check failed, so the chunk is deferred. A lost response here changes nothing,
/// because no further step follows.
fn put_off(model: &Model, state: &State, side: Side, job: Job, sight: Sight, steps: &mut Steps) {
    let (who, about) = (Who::Worker(side), About::Chunk(job.chunk));
    let stored = *state.chunks.at(job.chunk);
    let mut next = *state;
    *next.workers.at_mut(side) = Worker::Idle;
    let newer = stored.claim_attempt > job.attempt && model.variant != Variant::EarlierAttempt;
    if newer || !is_as_read(&stored, job) {
        steps.add(who, "cannot put it off: it has moved", about, next);
        return;
    }
    let counts = sight == Sight::Unavailable || model.variant == Variant::ThrottlingCounts;
    *next.chunks.at_mut(job.chunk) = Chunk {
        fence: job.fence + 1,
        claim: stored.claim + 1,
        lease: Lease::None,
        claim_attempt: job.attempt,
        tries: job.tries + u8::from(counts),
        ..stored
    };
    steps.add(who, "puts the chunk off", about, next);
}

/// The existence check failed at the last try, so the object fails without a claim.
fn give_up(state: &State, side: Side, job: Job, steps: &mut Steps) {
    let (who, about) = (Who::Worker(side), About::Chunk(job.chunk));
    let stored = *state.chunks.at(job.chunk);
    let mut next = *state;
    *next.workers.at_mut(side) = Worker::Idle;
    let at_work = next.is_processing(job.attempt) && is_as_read(&stored, job);
    let Some(task) = next.task.as_mut().filter(|_| at_work) else {
        steps.add(who, "cannot give it up: it has moved", about, next);
        return;
    };
    task.count(Outcome::GaveUp);
    *next.chunks.at_mut(job.chunk) = Chunk {
        fence: job.fence + 1,
        claim: stored.claim + 1,
        lease: Lease::None,
        claim_attempt: job.attempt,
        tries: job.tries + 1,
        outcome: Outcome::GaveUp,
        outcome_attempt: job.attempt,
        ..stored
    };
    steps.add(who, "gives the object up", about, next);
}
