//! Creating the task: first the ids under a unique name, then one put on the condition that there
//! is no such task, then the message.

use crate::invariants::Invariant;
use crate::process::Creator;
use crate::state::{Side, State};
use crate::step::{About, Model, Steps, Who};
use crate::variant::Variant;

/// Adds the steps of the creators.
pub fn steps(model: &Model, state: &State, steps: &mut Steps) {
    for side in model.sides(model.scenario.creates) {
        let who = Who::Creator(side);
        let next = |creator: Creator| {
            let mut next = *state;
            *next.creators.at_mut(side) = creator;
            next
        };
        match state.creators.at(side) {
            Creator::Idle => {
                let next = next(Creator::IdsWritten);
                steps.add(who, "writes its ids", About::Task, next);
            }
            Creator::IdsWritten if model.variant == Variant::CheckThenPut => {
                let (creator, what) = match state.task {
                    None => (Creator::SawNone, "sees no such task"),
                    Some(_) => (Creator::Existing, "sees the task and returns it"),
                };
                steps.add(who, what, About::Task, next(creator));
            }
            Creator::IdsWritten if state.task.is_some() => {
                let what = "puts the task, is refused, and returns the existing task";
                steps.add(who, what, About::Task, next(Creator::Existing));
            }
            Creator::IdsWritten | Creator::SawNone => put(model, &next, side, steps),
            Creator::PutAgain => put_again(model, state, &next, side, steps),
            Creator::New | Creator::Existing => {}
        }
    }
}

fn put(model: &Model, next: &impl Fn(Creator) -> State, side: Side, steps: &mut Steps) {
    let who = Who::Creator(side);
    let mut new = next(Creator::New);
    new.create(side, model.scenario.chunks);
    new.messages.send((1, None));
    steps.add(who, "puts the task and sends its message", About::Task, new);
    // A creator that dies between the put and the message is modelled as one that never sends the
    // put again.
    if model.scenario.lost_responses || model.scenario.kills {
        let mut lost = next(Creator::PutAgain);
        lost.create(side, model.scenario.chunks);
        let what = "puts the task, and the response is lost";
        steps.fault(who, what, About::Task, lost);
    }
}

fn put_again(
    model: &Model,
    state: &State,
    next: &impl Fn(Creator) -> State,
    side: Side,
    steps: &mut Steps,
) {
    let who = Who::Creator(side);
    let is_ours = state.task.is_some_and(|task| task.request == side);
    if is_ours && model.variant != Variant::RetryTakenForRival {
        let mut new = next(Creator::New);
        new.messages.send((1, None));
        let what = "puts the task again, finds it its own, and sends its message";
        steps.add(who, what, About::Task, new);
    } else {
        let what = "puts the task again, is refused, and returns the existing task";
        steps.add(who, what, About::Task, next(Creator::Existing));
        steps.breaks(Invariant::Retries, is_ours);
    }
}
