//! Cancel and restart, each one guarded update.

use crate::invariants::Invariant;
use crate::process::{Call, LostCall, Worker};
use crate::state::{Side, State, Status, Task};
use crate::step::{About, Model, Steps, Who};
use crate::variant::Variant;

/// Adds the steps of callers.
pub fn steps(model: &Model, state: &State, steps: &mut Steps) {
    for call in [Call::Cancel, Call::Restart, Call::RestartAll] {
        let allowed = match call {
            Call::Cancel => model.scenario.cancels,
            Call::Restart => model.scenario.restarts > 0,
            Call::RestartAll => model.scenario.restarts > 0 && model.scenario.all,
        };
        let Some(mut next) = state
            .task
            .and_then(|task| take_effect(model, state, task, call))
        else {
            continue;
        };
        if !allowed {
            continue;
        }
        let who = Who::Caller(call);
        let unsent = next;
        send_message(&mut next, call);
        steps.fault(who, "takes effect", About::Task, next);
        if model.scenario.lost_responses && state.lost_call.is_none() {
            let mut lost = unsent;
            let named = state.task.filter(|_| model.scenario.named);
            lost.lost_call = Some(LostCall {
                call,
                attempt: named.map(|task| task.attempt),
                on_record: true,
            });
            let what = "takes effect, and the response is lost";
            steps.fault(who, what, About::Task, lost);
        }
        if model.scenario.kills && call != Call::Cancel {
            let what = "takes effect, and the caller dies before it sends the message";
            steps.fault(who, what, About::Task, unsent);
        }
    }
    if let Some(lost) = state.lost_call {
        call_again(model, state, lost, steps);
    }
}

/// The same request is sent again, with the same token.
fn call_again(model: &Model, state: &State, lost: LostCall, steps: &mut Steps) {
    let who = Who::Caller(lost.call);
    let mut next = *state;
    next.lost_call = None;
    if lost.on_record && model.variant != Variant::RetryTakenForRival {
        send_message(&mut next, lost.call);
        steps.add(who, "sent again, finds its own token", About::Task, next);
        return;
    }
    let names_another = lost.attempt.is_some_and(|named| {
        model.variant != Variant::AttemptNotNamed
            && state.task.is_some_and(|task| task.attempt != named)
    });
    let again = state
        .task
        .filter(|_| !names_another && !lost.on_record)
        .and_then(|task| take_effect(model, &next, task, lost.call));
    match again {
        None => {
            steps.add(who, "sent again, is refused", About::Task, next);
            steps.breaks(Invariant::Retries, lost.on_record);
        }
        // Another call of the same kind came in between. A caller that must avoid this names the
        // attempt.
        Some(mut again) => {
            send_message(&mut again, lost.call);
            steps.add(who, "sent again, takes effect again", About::Task, again);
            steps.breaks(Invariant::Retries, model.scenario.named);
        }
    }
}

fn send_message(state: &mut State, call: Call) {
    if let Some(task) = state.task.filter(|_| call != Call::Cancel) {
        state.messages.send((task.attempt, None));
    }
}

/// The state after the call's write, if its condition holds.
fn take_effect(model: &Model, state: &State, task: Task, call: Call) -> Option<State> {
    let open = match task.status {
        Status::Pending | Status::Processing => true,
        Status::Done | Status::Failed | Status::Canceled => false,
    };
    let mut next = *state;
    match call {
        Call::Cancel => {
            let unconditional =
                model.variant == Variant::UnconditionalCancel && task.status != Status::Canceled;
            if !(open || unconditional) {
                return None;
            }
            next.task = Some(Task {
                status: Status::Canceled,
                ..task
            });
        }
        Call::Restart | Call::RestartAll => {
            if open || task.attempt > model.scenario.restarts {
                return None;
            }
            restart(model, &mut next, task, call == Call::RestartAll);
        }
    }
    if let Some(lost) = &mut next.lost_call {
        let same_kind = (lost.call == Call::Cancel) == (call == Call::Cancel);
        lost.on_record &= !same_kind;
    }
    Some(next)
}

fn restart(model: &Model, next: &mut State, task: Task, all: bool) {
    let attempt = if model.variant == Variant::RestartKeepsAttempt {
        task.attempt
    } else {
        task.attempt + 1
    };
    let mut restarted = Task {
        status: Status::Pending,
        attempt,
        failed: 0,
        remaining: task.remaining + task.failed,
        detail: false,
        ..task
    };
    if all {
        restarted.baseline = attempt;
        restarted.deleted = 0;
        restarted.remaining = task.total;
    }
    next.task = Some(restarted);
    for side in Side::BOTH {
        if all {
            next.objects.at_mut(side).gone = false;
        }
        if model.variant == Variant::FenceResetByRestart {
            next.chunks.at_mut(side).fence = 0;
        }
        if all && model.variant == Variant::RestartForgetsSeen {
            next.chunks.at_mut(side).seen = false;
        }
        // The token of a fan-out is void in a new attempt.
        match next.workers.at_mut(side) {
            Worker::FanOut(read) | Worker::FanOutWrite(read, _) | Worker::FanOutAgain(read, _) => {
                read.newest = false;
            }
            Worker::Idle
            | Worker::TaskRead(..)
            | Worker::ChunkRead(_)
            | Worker::Checked(..)
            | Worker::ClaimAgain(..)
            | Worker::Holds(..) => {}
        }
    }
}
