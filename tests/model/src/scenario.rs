//! What may happen in a search: the actors and the faults.
//!
//! Within a scenario an allowed fault may happen any number of times, at any moment and to any
//! actor. Only restarts are limited. The searches still end because of the protocol: tries are
//! limited, and a new attempt needs a restart.
//!
//! For a task of one chunk all faults are searched together. With two chunks this would be too many
//! states. So there each pair of faults that concerns the other chunk or the fan-out comes together
//! in at least one scenario.
//!
//! A store that keeps objects, cannot confirm, or deletes in part is not included in "everything".
//! It has its own scenarios: one has everything except lost responses, and one has everything
//! except a second worker.

/// The setting of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its name in the table.
    pub name: &'static str,
    /// Whether each object is in the index at the start.
    pub present: [bool; 2],
    /// How many creates there are, each with its own request. With none, the task exists at the
    /// start.
    pub creates: u8,
    /// How many chunks.
    pub chunks: u8,
    /// How many workers.
    pub workers: u8,
    /// Whether the task may be canceled.
    pub cancels: bool,
    /// How many times it may be restarted.
    pub restarts: u8,
    /// Whether a restart may also have `scope=all`.
    pub all: bool,
    /// Whether calls name the attempt that they are about.
    pub named: bool,
    /// Whether processes may be killed.
    pub kills: bool,
    /// Whether the response to a successful write may be lost, so that the write is sent again.
    pub lost_responses: bool,
    /// Whether messages may be lost.
    pub losses: bool,
    /// Whether messages may be delivered again.
    pub duplicates: bool,
    /// Whether the vector store may fail. A failed delete may still have been carried out.
    pub failures: bool,
    /// Whether the vector store may throttle.
    pub throttling: bool,
    /// Whether somebody else may insert an object again.
    pub inserts: bool,
    /// Whether the vector store may acknowledge deletes and keep the object, for a while or
    /// forever.
    pub keeps: bool,
    /// Whether, in addition, there may be no confirming read.
    pub unconfirmed: bool,
    /// How many deletes it takes until an object is gone.
    pub parts: u8,
}

impl Scenario {
    /// Whether a task may fail. Lost messages, throttling and deletes in part are no reason.
    pub fn may_fail(&self) -> bool {
        self.kills || self.failures || self.keeps || self.unconfirmed || self.inserts
    }

    const NOTHING: Self = Self {
        name: "",
        present: [true, false],
        creates: 0,
        chunks: 2,
        workers: 2,
        cancels: false,
        restarts: 0,
        all: false,
        named: false,
        kills: false,
        lost_responses: false,
        losses: false,
        duplicates: false,
        failures: false,
        throttling: false,
        inserts: false,
        keeps: false,
        unconfirmed: false,
        parts: 1,
    };
    /// Two creates, and everything that may happen to the messages and responses of the first
    /// attempt.
    pub const CREATES: Self = Self {
        name: "two creates",
        creates: 2,
        workers: 1,
        ..Self::CRASHES
    };
    /// Two workers that die and whose messages and responses are lost.
    pub const CRASHES: Self = Self {
        name: "crashes",
        kills: true,
        lost_responses: true,
        losses: true,
        duplicates: true,
        ..Self::NOTHING
    };
    /// One chunk, and everything except lost responses.
    pub const ONE_CHUNK: Self = Self {
        name: "one chunk, no response lost",
        lost_responses: false,
        ..Self::EVERYTHING
    };
    /// One chunk, and everything except a store that fails.
    pub const LOST_RESPONSES: Self = Self {
        name: "one chunk, sound store",
        failures: false,
        throttling: false,
        ..Self::EVERYTHING
    };
    /// One chunk, one worker and everything, with two restarts.
    pub const TWICE: Self = Self {
        name: "one chunk, restarted twice",
        workers: 1,
        restarts: 2,
        ..Self::EVERYTHING
    };
    /// A vector store that fails and throttles, under a task that is canceled and restarted.
    pub const STORE_FAILURES: Self = Self {
        name: "store failures",
        workers: 1,
        ..Self::TWO_AND_STORE_FAILURES
    };
    /// Only throttling, which must not make anything fail.
    pub const THROTTLING: Self = Self {
        name: "throttling alone",
        throttling: true,
        duplicates: true,
        ..Self::NOTHING
    };
    /// Lost messages.
    pub const LOSSES: Self = Self {
        name: "lost messages",
        losses: true,
        cancels: true,
        restarts: 1,
        ..Self::NOTHING
    };
    /// Cancels and restarts whose responses are lost. Each names its attempt.
    pub const CALLS: Self = Self {
        name: "calls sent again",
        present: [false, false],
        workers: 1,
        cancels: true,
        restarts: 3,
        all: true,
        named: true,
        lost_responses: true,
        ..Self::NOTHING
    };
    /// The same, without the attempt.
    pub const UNNAMED_CALLS: Self = Self {
        name: "calls sent again, unnamed",
        restarts: 2,
        named: false,
        ..Self::CALLS
    };
    /// One chunk, one worker and everything, with a vector store that keeps objects, cannot confirm
    /// or deletes in part.
    pub const UNSOUND: Self = Self {
        name: "one worker, unsound store",
        workers: 1,
        lost_responses: true,
        ..Self::UNSOUND_AND_EVERYTHING
    };
    /// Deletes in part, one more than there are tries. They must not make anything fail.
    pub const PARTS: Self = Self {
        name: "deletes in part",
        chunks: 1,
        cancels: true,
        restarts: 1,
        all: true,
        lost_responses: true,
        losses: true,
        parts: 3,
        ..Self::THROTTLING
    };

    const EVERYTHING: Self = Self {
        name: "one chunk, everything",
        chunks: 1,
        cancels: true,
        restarts: 1,
        all: true,
        kills: true,
        lost_responses: true,
        losses: true,
        duplicates: true,
        failures: true,
        throttling: true,
        inserts: true,
        ..Self::NOTHING
    };
    const EVERYTHING_TWICE: Self = Self {
        name: "one chunk, no response lost, twice",
        restarts: 2,
        lost_responses: false,
        ..Self::EVERYTHING
    };
    const CRASHES_AND_INSERTS: Self = Self {
        name: "crashes and inserts",
        inserts: true,
        ..Self::CRASHES
    };
    const CRASHES_AND_STORE_FAILURES: Self = Self {
        name: "crashes and store failures",
        lost_responses: false,
        failures: true,
        throttling: true,
        ..Self::CRASHES
    };
    const RESTART: Self = Self {
        name: "cancel and restart",
        cancels: true,
        restarts: 1,
        kills: true,
        duplicates: true,
        ..Self::NOTHING
    };
    const RESTART_ALL: Self = Self {
        name: "restart of everything",
        workers: 1,
        all: true,
        inserts: true,
        ..Self::RESTART
    };
    const TWO_AND_STORE_FAILURES: Self = Self {
        name: "two workers and store failures",
        cancels: true,
        restarts: 1,
        failures: true,
        throttling: true,
        ..Self::NOTHING
    };
    const TWO_AND_RESTART_ALL: Self = Self {
        name: "two workers and restart of all",
        workers: 2,
        inserts: false,
        ..Self::RESTART_ALL
    };
    const ONE_WORKER: Self = Self {
        name: "one worker, no inserts",
        chunks: 2,
        workers: 1,
        inserts: false,
        ..Self::EVERYTHING
    };
    const UNSOUND_AND_EVERYTHING: Self = Self {
        name: "one chunk, unsound store",
        lost_responses: false,
        keeps: true,
        unconfirmed: true,
        parts: 2,
        ..Self::EVERYTHING
    };
    const UNSOUND_AND_CRASHES: Self = Self {
        name: "crashes and unsound store",
        lost_responses: false,
        keeps: true,
        unconfirmed: true,
        ..Self::CRASHES
    };
    const UNSOUND_AND_RESTART: Self = Self {
        name: "two chunks, unsound store",
        workers: 1,
        cancels: true,
        restarts: 1,
        all: true,
        ..Self::UNSOUND_AND_CRASHES
    };

    /// The scenarios that the tests search.
    pub const SMALL: [Self; 12] = [
        Self::CREATES,
        Self::CRASHES,
        Self::ONE_CHUNK,
        Self::LOST_RESPONSES,
        Self::TWICE,
        Self::STORE_FAILURES,
        Self::THROTTLING,
        Self::LOSSES,
        Self::CALLS,
        Self::UNNAMED_CALLS,
        Self::UNSOUND,
        Self::PARTS,
    ];
    /// The scenarios that only the command searches.
    pub const LARGE: [Self; 12] = [
        Self::EVERYTHING,
        Self::EVERYTHING_TWICE,
        Self::CRASHES_AND_INSERTS,
        Self::CRASHES_AND_STORE_FAILURES,
        Self::RESTART,
        Self::RESTART_ALL,
        Self::TWO_AND_STORE_FAILURES,
        Self::TWO_AND_RESTART_ALL,
        Self::ONE_WORKER,
        Self::UNSOUND_AND_EVERYTHING,
        Self::UNSOUND_AND_CRASHES,
        Self::UNSOUND_AND_RESTART,
    ];
}
