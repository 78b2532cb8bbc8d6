//! What can happen next.

use crate::invariants::Invariant;
use crate::process::{Call, Worker};
use crate::queue::{Message, Messages};
use crate::scenario::Scenario;
use crate::state::{Pair, Side, State, Status};
use crate::variant::Variant;
use crate::{chunk_work, control, create, environment, fan_out, settle};
use std::fmt;

/// A protocol in a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// The setting.
    pub scenario: Scenario,
    /// The protocol.
    pub variant: Variant,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is, in words.
    pub label: Label,
    /// Whether it is a fault or somebody's decision, which need not happen.
    pub fault: bool,
    /// The state that it leads to.
    pub next: State,
    /// The invariant that the step itself breaks, if it breaks one.
    pub broken: Option<Invariant>,
}

/// An actor and its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The actor.
    pub who: Who,
    /// The action.
    pub what: &'static str,
    /// The message or chunk it is about.
    pub about: About,
}

/// The actor of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A creator.
    Creator(Side),
    /// A worker.
    Worker(Side),
    /// A caller that cancels or restarts.
    Caller(Call),
    /// The sweeper.
    Sweeper,
    /// Time, the network, or somebody else.
    World,
}

/// The subject of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The task.
    Task,
    /// A message.
    Message(Message),
    /// A chunk, or its object.
    Chunk(Side),
}

/// The steps from one state.
#[derive(Debug)]
pub struct Steps {
    /// The steps found so far.
    pub found: Vec<Step>,
}

impl Steps {
    /// Adds a step that happens if nothing prevents it.
    pub fn add(&mut self, who: Who, what: &'static str, about: About, next: State) {
        self.push(who, what, about, next, false);
    }

    /// Adds a step that need not happen.
    pub fn fault(&mut self, who: Who, what: &'static str, about: About, next: State) {
        self.push(who, what, about, next, true);
    }

    fn push(&mut self, who: Who, what: &'static str, about: About, next: State, fault: bool) {
        self.found.push(Step {
            label: Label { who, what, about },
            fault,
            next,
            broken: None,
        });
    }

    /// Marks the last step as breaking an invariant, if `broken`.
    pub fn breaks(&mut self, invariant: Invariant, broken: bool) {
        if let Some(step) = self.found.last_mut().filter(|_| broken) {
            step.broken.get_or_insert(invariant);
        }
    }
}

impl Model {
    /// The first state.
    pub fn first(&self) -> State {
        let parts = |present| u8::from(present) * self.scenario.parts;
        let mut state = State::new(self.scenario.present.map(parts));
        if self.scenario.creates == 0 {
            state.create(Side::A, self.scenario.chunks);
            state.messages.send((1, None));
        }
        state
    }

    /// Adds everything that can happen in `state`. The next states are not yet in their simplest
    /// form.
    pub fn steps(&self, state: &State, steps: &mut Steps) {
        steps.found.clear();
        create::steps(self, state, steps);
        control::steps(self, state, steps);
        for side in self.sides(self.scenario.workers) {
            match *state.workers.at(side) {
                Worker::Idle => fan_out::deliveries(self, state, side, steps),
                Worker::FanOut(read) => fan_out::read_chunks(self, state, side, read, steps),
                Worker::FanOutWrite(read, send) => {
                    fan_out::write(self, state, side, read, send, steps);
                }
                Worker::FanOutAgain(read, send) => {
                    fan_out::write_again(state, side, read, send, steps);
                }
                Worker::TaskRead(chunk, attempt, baseline) => {
                    chunk_work::read(self, state, side, (chunk, attempt, baseline), steps);
                }
                Worker::ChunkRead(job) => chunk_work::check(self, state, side, job, steps),
                Worker::Checked(job, sight) => {
                    chunk_work::write(self, state, side, job, sight, steps);
                }
                Worker::ClaimAgain(job, sight, token, late) => {
                    let claim = (job, sight, token, late);
                    chunk_work::claim_again(self, state, side, claim, steps);
                }
                Worker::Holds(claim, stage) => {
                    settle::steps(self, state, side, claim, stage, steps);
                }
            }
        }
        environment::steps(self, state, steps);
    }

    /// The first `count` sides.
    pub fn sides(&self, count: u8) -> impl Iterator<Item = Side> + use<> {
        Side::BOTH.into_iter().take(usize::from(count))
    }

    /// The representative of all states that differ from `state` only in ways that do not matter.
    /// Names of claims that are not the newest are equal, messages that no worker would act on are
    /// removed, and the workers, which are interchangeable, are in order.
    pub fn simplest(&self, state: &State, workers_in_order: bool) -> State {
        let mut simple = *state;
        for side in Side::BOTH {
            let chunk = *state.chunks.at(side);
            let newest = |name: u8, of: u8| u8::from(name == of);
            for worker in Side::BOTH {
                match simple.workers.at_mut(worker) {
                    Worker::ChunkRead(job) | Worker::Checked(job, _) if job.chunk == side => {
                        job.fence = newest(job.fence, chunk.fence);
                    }
                    Worker::ClaimAgain(job, _, token, _) if job.chunk == side => {
                        job.fence = newest(job.fence, chunk.fence);
                        *token = newest(*token, chunk.claim);
                    }
                    Worker::Holds(claim, _) if claim.chunk == side => {
                        claim.token = newest(claim.token, chunk.claim);
                    }
                    Worker::Idle
                    | Worker::FanOut(_)
                    | Worker::FanOutWrite(..)
                    | Worker::FanOutAgain(..)
                    | Worker::TaskRead(..)
                    | Worker::ChunkRead(_)
                    | Worker::Checked(..)
                    | Worker::ClaimAgain(..)
                    | Worker::Holds(..) => {}
                }
            }
            let object = simple.objects.at_mut(side);
            object.late = object.late.map(|token| newest(token, chunk.claim));
            let simple = simple.chunks.at_mut(side);
            (simple.fence, simple.claim) = (1, 1);
        }
        if let Some(task) = state
            .task
            .filter(|_| self.variant != Variant::NoAttemptCheck)
        {
            simple.messages = match task.status {
                Status::Pending | Status::Processing => state.messages.of(task.attempt),
                Status::Done | Status::Failed | Status::Canceled => Messages::default(),
            };
        }
        let [a, b] = simple.workers.both();
        if workers_in_order && self.scenario.workers > 1 && a > b {
            simple.workers = Pair::new(b, a);
        }
        simple
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who {
            Who::Creator(Side::A) => write!(f, "creator 1 ")?,
            Who::Creator(Side::B) => write!(f, "creator 2 ")?,
            Who::Worker(Side::A) => write!(f, "worker 1 ")?,
            Who::Worker(Side::B) => write!(f, "worker 2 ")?,
            Who::Caller(Call::Cancel) => write!(f, "cancel: ")?,
            Who::Caller(Call::Restart) => write!(f, "restart: ")?,
            Who::Caller(Call::RestartAll) => write!(f, "restart scope=all: ")?,
            Who::Sweeper => write!(f, "the sweeper ")?,
            Who::World => {}
        }
        write!(f, "{}", self.what)?;
        match self.about {
            About::Task => Ok(()),
            About::Message((attempt, None)) => write!(f, " (attempt {attempt}, whole task)"),
            About::Message((attempt, Some(Side::A))) => write!(f, " (attempt {attempt}, chunk 1)"),
            About::Message((attempt, Some(Side::B))) => write!(f, " (attempt {attempt}, chunk 2)"),
            About::Chunk(Side::A) => write!(f, " (chunk 1)"),
            About::Chunk(Side::B) => write!(f, " (chunk 2)"),
        }
    }
}
