//! What may happen in a search: who is there, and which faults.
//!
//! Within a scenario a fault that is allowed may happen any number of times, at any moment and to anybody; only restarts are
//! counted. That the searches end all the same is due to the protocol: tries end, and attempts only come with restarts.

/// The setting of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its name in the table.
    pub name: &'static str,
    /// Whether each object is in the index at first.
    pub present: [bool; 2],
    /// How many creates there are, each with a request of its own; with none the task is there at first.
    pub creates: u8,
    /// How many workers.
    pub workers: u8,
    /// The task may be canceled.
    pub cancels: bool,
    /// How many times it may be restarted.
    pub restarts: u8,
    /// With `scope=all` too.
    pub all: bool,
    /// Calls name the attempt that they mean.
    pub named: bool,
    /// Processes may be killed.
    pub kills: bool,
    /// A write may succeed and its answer be lost, so that it is sent again.
    pub lost_answers: bool,
    /// Messages may be lost.
    pub losses: bool,
    /// Messages may be delivered again.
    pub duplicates: bool,
    /// The vector store may fail; its delete may have been carried out all the same.
    pub failures: bool,
    /// The vector store may throttle.
    pub throttling: bool,
    /// Somebody else may insert an object again.
    pub inserts: bool,
}

impl Scenario {
    const NOTHING: Self = Self {
        name: "",
        present: [true, false],
        creates: 0,
        workers: 1,
        cancels: false,
        restarts: 0,
        all: false,
        named: false,
        kills: false,
        lost_answers: false,
        losses: false,
        duplicates: false,
        failures: false,
        throttling: false,
        inserts: false,
    };
    /// Two creates and everything that may happen to their first attempt's messages and answers.
    pub const CREATES: Self = Self {
        name: "two creates",
        creates: 2,
        workers: 1,
        kills: true,
        lost_answers: true,
        losses: true,
        duplicates: true,
        ..Self::NOTHING
    };
    /// Two workers that die and whose answers are lost, while somebody inserts the objects again.
    pub const CRASHES: Self = Self {
        name: "crashes",
        workers: 2,
        kills: true,
        lost_answers: true,
        losses: true,
        duplicates: true,
        inserts: true,
        ..Self::NOTHING
    };
    /// A task that is canceled and restarted under its workers, which die.
    pub const RESTART: Self = Self {
        name: "cancel and restart",
        workers: 2,
        cancels: true,
        restarts: 1,
        kills: true,
        duplicates: true,
        ..Self::NOTHING
    };
    /// The same with restarts of everything, and objects that are inserted again.
    pub const RESTART_ALL: Self = Self {
        name: "restart of everything",
        all: true,
        inserts: true,
        ..Self::RESTART
    };
    /// A vector store that fails and throttles, under a task that is canceled and restarted.
    pub const STORE_FAILURES: Self = Self {
        name: "store failures",
        workers: 2,
        cancels: true,
        restarts: 1,
        failures: true,
        throttling: true,
        inserts: true,
        ..Self::NOTHING
    };
    /// Throttling alone, which must not fail anything.
    pub const THROTTLING: Self = Self {
        name: "throttling alone",
        workers: 2,
        throttling: true,
        duplicates: true,
        ..Self::NOTHING
    };
    /// Messages that are lost.
    pub const LOSSES: Self = Self {
        name: "lost messages",
        workers: 2,
        losses: true,
        cancels: true,
        restarts: 1,
        ..Self::NOTHING
    };
    /// Cancels and restarts whose answers are lost, each with the attempt it means.
    pub const CALLS: Self = Self {
        name: "calls sent again",
        present: [false, false],
        workers: 1,
        cancels: true,
        restarts: 3,
        all: true,
        named: true,
        lost_answers: true,
        ..Self::NOTHING
    };
    /// The same, without naming it.
    pub const UNNAMED_CALLS: Self = Self {
        name: "calls sent again, unnamed",
        named: false,
        ..Self::CALLS
    };

    /// What the tests search.
    pub const ALL: [Self; 9] = [
        Self::CREATES,
        Self::CRASHES,
        Self::RESTART,
        Self::RESTART_ALL,
        Self::STORE_FAILURES,
        Self::THROTTLING,
        Self::LOSSES,
        Self::CALLS,
        Self::UNNAMED_CALLS,
    ];
}
