//! A worker takes a message. For a whole-task message it sends a message for each chunk with open
//! work.

use crate::process::{FanOut, Worker};
use crate::queue::Message;
use crate::state::{Lease, Side, State, Status};
use crate::step::{About, Model, Steps, Who};
use crate::variant::Variant;

/// An idle worker takes any message and reads the task. The message is then gone, or is delivered
/// again.
pub fn deliveries(model: &Model, state: &State, side: Side, steps: &mut Steps) {
    for message in state.messages.all() {
        let worker = on_message(model, state, message);
        let (who, about) = (Who::Worker(side), About::Message(message));
        let mut again = *state;
        *again.workers.at_mut(side) = worker;
        let mut next = again;
        next.messages.remove(message);
        if worker == Worker::Idle {
            steps.add(who, "gets a message and drops it", about, next);
            continue;
        }
        steps.add(who, "gets a message and reads the task", about, next);
        if model.scenario.duplicates {
            let what = "gets a message that will be delivered again, and reads the task";
            steps.fault(who, what, about, again);
        }
    }
}

fn on_message(model: &Model, state: &State, (attempt, chunk): Message) -> Worker {
    let Some(task) = state.task else {
        return Worker::Idle;
    };
    if attempt != task.attempt && model.variant != Variant::NoAttemptCheck {
        return Worker::Idle;
    }
    let pending = match task.status {
        Status::Pending => true,
        Status::Processing => false,
        Status::Done | Status::Failed | Status::Canceled => return Worker::Idle,
    };
    match chunk {
        None => Worker::FanOut(FanOut {
            attempt: task.attempt,
            pending,
            empty: task.remaining == 0,
            newest: true,
        }),
        Some(_) if pending => Worker::Idle,
        Some(chunk) => Worker::TaskRead(chunk, task.attempt, task.baseline),
    }
}

/// The worker reads which chunks are open and not leased. Each of them may be due. A chunk that is
/// not due is modelled as one whose message is lost.
pub fn read_chunks(model: &Model, state: &State, side: Side, read: FanOut, steps: &mut Steps) {
    let Some(task) = state.task else { return };
    let mut next = *state;
    let send = Side::BOTH.map(|side| {
        if !State::sides(task.total).any(|one| one == side) {
            return false;
        }
        let chunk = state.chunks.at(side);
        let leased = chunk.lease == Lease::InForce
            && !(model.variant == Variant::LeaseIgnoredByRestart
                && chunk.claim_attempt < read.attempt);
        chunk.is_open(task.attempt, task.baseline) && !leased
    });
    let nothing = send == [false, false] && !read.pending && !read.empty;
    *next.workers.at_mut(side) = if nothing {
        Worker::Idle
    } else {
        Worker::FanOutWrite(read, send)
    };
    let what = if nothing {
        "reads the chunks and finds nothing to send"
    } else {
        "reads the chunks"
    };
    steps.add(Who::Worker(side), what, About::Task, next);
}

/// The single guarded write of a fan-out, and its messages.
pub fn write(
    model: &Model,
    state: &State,
    side: Side,
    read: FanOut,
    send: [bool; 2],
    steps: &mut Steps,
) {
    let who = Who::Worker(side);
    let as_read = if read.pending {
        Status::Pending
    } else {
        Status::Processing
    };
    let mut next = *state;
    let unmoved = next
        .task
        .as_mut()
        .filter(|task| task.attempt == read.attempt && task.status == as_read && read.newest);
    let Some(task) = unmoved else {
        *next.workers.at_mut(side) = Worker::Idle;
        steps.add(who, "cannot fan out: the task has moved", About::Task, next);
        return;
    };
    let straight = !read.pending || model.variant == Variant::PendingToDone;
    task.status = match (read.empty && straight, task.detail) {
        (true, false) => Status::Done,
        (true, true) => Status::Failed,
        (false, _) => Status::Processing,
    };
    let what = match task.status {
        Status::Pending | Status::Processing => "fans out",
        Status::Done | Status::Failed | Status::Canceled => {
            "ends the task, of which nothing remained"
        }
    };
    if let Worker::FanOut(rival) | Worker::FanOutWrite(rival, _) | Worker::FanOutAgain(rival, _) =
        next.workers.at_mut(side.other())
    {
        rival.newest = false;
    }
    let unsent = next;
    sent(&mut next, side, read, send);
    steps.add(who, what, About::Task, next);
    if model.scenario.lost_responses {
        let mut lost = unsent;
        *lost.workers.at_mut(side) = Worker::FanOutAgain(read, send);
        let what = "fans out, and the response is lost";
        steps.fault(who, what, About::Task, lost);
    }
    if model.scenario.kills {
        let mut dead = unsent;
        *dead.workers.at_mut(side) = Worker::Idle;
        let what = "fans out and is killed before it sends";
        steps.fault(who, what, About::Task, dead);
    }
}

/// The write is sent again. If the task has the fan-out's own token, the first write had succeeded.
pub fn write_again(state: &State, side: Side, read: FanOut, send: [bool; 2], steps: &mut Steps) {
    let mut next = *state;
    let what = if read.newest {
        sent(&mut next, side, read, send);
        "fans out again, and finds its own token"
    } else {
        *next.workers.at_mut(side) = Worker::Idle;
        "fans out again, and is refused"
    };
    steps.add(Who::Worker(side), what, About::Task, next);
}

fn sent(next: &mut State, side: Side, read: FanOut, send: [bool; 2]) {
    let at_work = next.is_processing(read.attempt);
    // If nothing remains, the task first becomes `processing` and then ends, each with a separate
    // write.
    let ends = read.empty && read.pending && at_work;
    *next.workers.at_mut(side) = if ends {
        Worker::FanOutWrite(
            FanOut {
                pending: false,
                ..read
            },
            send,
        )
    } else {
        Worker::Idle
    };
    for (chunk, _) in Side::BOTH.into_iter().zip(send).filter(|(_, send)| *send) {
        next.messages.send((read.attempt, Some(chunk)));
    }
}
