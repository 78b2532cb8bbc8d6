//! Events of the environment: time passes, requests arrive, messages get lost, processes die, the
//! sweeper runs.

use crate::invariants::Invariant;
use crate::process::{Stage, Worker};
use crate::settle;
use crate::state::{Lease, Side, State, Status, Store};
use crate::step::{About, Model, Steps, Who};
use crate::variant::Variant;

/// Adds the steps of the environment.
pub fn steps(model: &Model, state: &State, steps: &mut Steps) {
    sweep(model, state, steps);
    for side in State::sides(model.scenario.chunks) {
        lease(model, state, side, steps);
        object(model, state, side, steps);
        store(model, state, side, steps);
    }
    if model.scenario.kills {
        for side in model.sides(model.scenario.workers) {
            kill(state, side, steps);
        }
    }
    if model.scenario.losses {
        for message in state.messages.all() {
            let mut next = *state;
            next.messages.remove(message);
            let what = "a message is lost";
            steps.fault(Who::World, what, About::Message(message), next);
        }
    }
}

/// The sweeper sends the whole-task message of a task that is due. An open task is always due at
/// some time. If that message is already on the queue, the new one is a duplicate.
fn sweep(model: &Model, state: &State, steps: &mut Steps) {
    let Some(task) = state.task.filter(|_| model.variant != Variant::NoSweeper) else {
        return;
    };
    match task.status {
        Status::Pending | Status::Processing => {}
        Status::Done | Status::Failed | Status::Canceled => return,
    }
    let message = (task.attempt, None);
    if !state.messages.has(message) {
        let mut next = *state;
        next.messages.send(message);
        let what = "sends the task again";
        steps.add(Who::Sweeper, what, About::Message(message), next);
    }
}

/// A lease ends some time after its holder's invocation. Until then the holder's requests may
/// arrive, and after that they cannot.
fn lease(model: &Model, state: &State, side: Side, steps: &mut Steps) {
    let chunk = state.chunks.at(side);
    let held = Side::BOTH
        .into_iter()
        .any(|worker| state.workers.at(worker).claim() == Some((side, chunk.claim)));
    if chunk.lease != Lease::InForce || (held && model.variant != Variant::LeaseRunsOut) {
        return;
    }
    let mut next = *state;
    next.chunks.at_mut(side).lease = Lease::Over;
    if model.variant != Variant::LeaseWithoutMargin {
        next.objects.at_mut(side).late = None;
    }
    let what = if held {
        "the lease runs out under its holder"
    } else {
        "the lease of a dead worker is over"
    };
    steps.add(Who::World, what, About::Chunk(side), next);
}

fn object(model: &Model, state: &State, side: Side, steps: &mut Steps) {
    let object = state.objects.at(side);
    if let Some(token) = object.late {
        let mut next = *state;
        next.objects.at_mut(side).late = None;
        let too_late = settle::delete(&mut next, side, token);
        let what = "a delete call that nobody waits for is carried out";
        steps.add(Who::World, what, About::Chunk(side), next);
        steps.breaks(Invariant::LateDelete, too_late);
    }
    if model.scenario.inserts && object.parts < model.scenario.parts {
        let mut next = *state;
        let object = next.objects.at_mut(side);
        object.parts = model.scenario.parts;
        object.deleted_by_us = false;
        let what = "somebody inserts the object again";
        steps.fault(Who::World, what, About::Chunk(side), next);
    }
}

/// The store changes how it treats an object. If the change comes between a delete and its
/// confirming read, the store deletes the object and then cannot confirm it.
fn store(model: &Model, state: &State, side: Side, steps: &mut Steps) {
    let changes = [
        (true, Store::Deletes, "the store deletes again"),
        (
            model.scenario.keeps,
            Store::Keeps,
            "the store begins to keep the object",
        ),
        (
            model.scenario.unconfirmed,
            Store::CannotConfirm,
            "the store begins to keep the object and cannot confirm",
        ),
    ];
    for (allowed, store, what) in changes {
        let mut next = *state;
        next.objects.at_mut(side).store = store;
        if allowed && next != *state {
            steps.fault(Who::World, what, About::Chunk(side), next);
        }
    }
}

fn kill(state: &State, side: Side, steps: &mut Steps) {
    let mut next = *state;
    let what = match state.workers.at(side) {
        Worker::Idle => return,
        Worker::Holds(claim, Stage::OnWire) => {
            next.objects.at_mut(claim.chunk).late = Some(claim.token);
            "is killed during its delete call"
        }
        Worker::Holds(_, Stage::Confirming) => "is killed before its confirming read",
        Worker::Holds(_, Stage::Settling(_)) => "is killed before it settles",
        Worker::Holds(..) | Worker::ClaimAgain(..) => "is killed with its claim",
        Worker::FanOut(_)
        | Worker::FanOutWrite(..)
        | Worker::FanOutAgain(..)
        | Worker::TaskRead(..)
        | Worker::ChunkRead(_)
        | Worker::Checked(..) => "is killed",
    };
    *next.workers.at_mut(side) = Worker::Idle;
    steps.fault(Who::Worker(side), what, About::Task, next);
}
