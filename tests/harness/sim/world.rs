//! The state of everything in one simulation.

use super::checks::Checks;
use super::dynamodb::Table;
use super::faults::Planner;
use super::index::Index;
use super::queue::Queue;
use super::stream::Stream;
use chrono::{DateTime, Utc};
use shared::clock::{Clock, TokioClock};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

/// A process's number. 0 is the simulation itself.
pub(crate) type ProcessId = u32;

/// What happened in one or many simulations, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that left an SDK client.
    pub calls: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Tasks that were created.
    pub tasks: u64,
    /// The part of these that have several chunks.
    pub large_tasks: u64,
    /// Objects that were given up because the store kept them.
    pub given_up_as_kept: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// Adds the numbers of another simulation.
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.kills += other.kills;
        self.tasks += other.tasks;
        self.large_tasks += other.large_tasks;
        self.given_up_as_kept += other.given_up_as_kept;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}

/// The world. Clones share it.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) rng: fastrand::Rng,
    pub(crate) clock: Clock,
    pub(crate) planner: Planner,
    pub(crate) table: Table,
    pub(crate) queue: Queue,
    pub(crate) index: Index,
    pub(crate) stream: Stream,
    pub(crate) checks: Checks,
    pub(crate) stats: Stats,
    /// The chance that others insert again an object that the service has just deleted.
    pub(crate) inserted_again: f64,
    /// The chance that they do so at once, perhaps before the delete is confirmed.
    pub(crate) inserted_at_once: f64,
    /// Receives the tasks with a recent delete, to cancel or restart them.
    pub(crate) meddler: Option<UnboundedSender<String>>,
    /// How often that happens at most.
    pub(crate) meddlings: u32,
    processes: BTreeMap<ProcessId, Process>,
    trace: Vec<String>,
    hash: DefaultHasher,
    violation: Option<String>,
}

struct Process {
    kind: &'static str,
    life: Life,
    abort: Option<AbortHandle>,
    calls: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    Killed,
    Returned,
}

/// The time at which every simulation begins.
pub(crate) fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_716_292_800, 0).expect("a valid time")
}

impl World {
    /// Creates a world that follows the clock of the current runtime.
    pub(crate) fn new(seed: u64, planner: Planner) -> Self {
        let clock = Clock::Tokio(TokioClock::starting_at(noon()));
        Self(Arc::new(Mutex::new(State {
            rng: fastrand::Rng::with_seed(seed),
            table: Table::new(clock.clone()),
            clock,
            planner,
            queue: Queue::default(),
            index: Index::default(),
            stream: Stream::default(),
            checks: Checks::default(),
            stats: Stats::default(),
            inserted_again: 0.0,
            inserted_at_once: 0.0,
            meddler: None,
            meddlings: 0,
            processes: BTreeMap::new(),
            trace: Vec::new(),
            hash: DefaultHasher::new(),
            violation: None,
        })))
    }

    /// Reads or changes the state. The lock is never held across an await, because everything is on
    /// one thread.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().expect("not poisoned"))
    }

    /// Kills a process, so that it makes no further step.
    pub(crate) fn kill(&self, process: ProcessId) {
        self.with(|state| state.kill(process));
    }
}

impl State {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A number for a new process.
    pub(crate) fn begin_process(&mut self, kind: &'static str) -> ProcessId {
        let id = ProcessId::try_from(self.processes.len() + 1).expect("few processes");
        let process = Process {
            kind,
            life: Life::Running,
            abort: None,
            calls: 0,
        };
        self.processes.insert(id, process);
        id
    }

    pub(crate) fn set_abort(&mut self, process: ProcessId, abort: AbortHandle) {
        if let Some(process) = self.processes.get_mut(&process) {
            process.abort = Some(abort);
        }
    }

    pub(crate) fn end_process(&mut self, process: ProcessId) {
        if let Some(process) = self.processes.get_mut(&process)
            && process.life == Life::Running
        {
            process.life = Life::Returned;
        }
    }

    pub(crate) fn life(&self, process: ProcessId) -> Life {
        self.processes
            .get(&process)
            .map_or(Life::Running, |process| process.life)
    }

    pub(crate) fn kill(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        if process.life != Life::Running {
            return;
        }
        process.life = Life::Killed;
        if let Some(abort) = &process.abort {
            abort.abort();
        }
        self.stats.kills += 1;
        self.note(id, "killed");
    }

    /// Counts a call of a process, and returns how many it has made.
    pub(crate) fn one_more_call(&mut self, process: ProcessId) -> u32 {
        self.processes.get_mut(&process).map_or(0, |process| {
            process.calls += 1;
            process.calls
        })
    }

    /// Returns what others have to insert again, each with its delay.
    pub(crate) fn take_insertions(&mut self) -> Vec<(String, Duration)> {
        let mut insertions = Vec::new();
        for key in std::mem::take(&mut self.index.taken_away) {
            if self.chance(self.inserted_at_once) {
                insertions.push((key, Duration::from_millis(self.rng.u64(0..50))));
            }
        }
        for key in self.checks.take_gone() {
            if self.chance(self.inserted_again) {
                insertions.push((key, Duration::from_millis(self.rng.u64(0..10_000))));
            }
        }
        insertions
    }

    /// May report a delete of these objects to the meddler, which cancels or restarts their task.
    pub(super) fn meddle(&mut self, keys: &[String]) {
        let task = keys.first().and_then(|key| self.checks.task_of(key));
        if let (Some(meddler), Some(task)) = (self.meddler.clone(), task)
            && self.meddlings > 0
            && self.chance(0.3)
        {
            self.meddlings -= 1;
            let _ = meddler.send(task); // the faults may just have stopped
        }
    }

    /// Counts a fault.
    pub(crate) fn fault(&mut self, kind: &'static str) {
        *self.stats.faults.entry(kind).or_default() += 1;
    }

    /// Writes an event into the trace. It must not contain anything random that does not come from
    /// the seed, such as a UUID.
    pub(crate) fn note(&mut self, process: ProcessId, what: &str) {
        let ms = (self.now() - noon()).num_milliseconds();
        let kind = self.processes.get(&process).map_or("world", |p| p.kind);
        let line = format!("{:>9}.{:03} {kind} {process}: {what}", ms / 1000, ms % 1000);
        line.hash(&mut self.hash);
        self.trace.push(line);
    }

    /// Records a violation. Only the first one counts.
    pub(crate) fn violated(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.note(0, &format!("VIOLATION: {what}"));
        self.violation.get_or_insert(what);
    }

    /// Records what a check found, if it found something.
    pub(crate) fn expect(&mut self, checked: Result<(), String>) {
        if let Err(what) = checked {
            self.violated(what);
        }
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// A hash of the events. Two runs have the same hash only if the same things happened in them.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    /// Returns true with this chance.
    pub(crate) fn chance(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.rng.f64() < chance
    }
}
