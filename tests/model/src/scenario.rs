//! What may happen in a search: who is there, and which faults.
//!
//! Within a scenario a fault that is allowed may happen any number of times, at any moment and to
//! anybody; only restarts are counted. That the searches end all the same is due to the protocol:
//! tries end, and attempts only come with restarts.
//!
//! Everything at once is searched for a task of one chunk. With two chunks there are too many
//! states for that, so there each pair of faults that has to do with the other chunk, or with the
//! fan-out, comes together in one scenario at least.
//!
//! A store that keeps objects, cannot confirm or deletes in part is not in "everything" but has
//! scenarios of its own: one has all but lost answers, one all but a second worker.

/// The setting of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its name in the table.
    pub name: &'static str,
    /// Whether each object is in the index at first.
    pub present: [bool; 2],
    /// How many creates there are, each with a request of its own; with none the task is there at
    /// first.
    pub creates: u8,
    /// How many chunks.
    pub chunks: u8,
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
    /// The vector store may acknowledge deletes and keep the object, for a while or for ever.
    pub keeps: bool,
    /// The same, and there may be no confirming read either.
    pub unconfirmed: bool,
    /// How many deletes it takes until an object is gone.
    pub parts: u8,
}

impl Scenario {
    /// Whether a task may fail. Neither lost messages nor a store that throttles or deletes in part
    /// are a reason.
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
        lost_answers: false,
        losses: false,
        duplicates: false,
        failures: false,
        throttling: false,
        inserts: false,
        keeps: false,
        unconfirmed: false,
        parts: 1,
    };
    /// Two creates and everything that may happen to their first attempt's messages and answers.
    pub const CREATES: Self = Self {
        name: "two creates",
        creates: 2,
        workers: 1,
        ..Self::CRASHES
    };
    /// Two workers that die and whose messages and answers are lost.
    pub const CRASHES: Self = Self {
        name: "crashes",
        kills: true,
        lost_answers: true,
        losses: true,
        duplicates: true,
        ..Self::NOTHING
    };
    /// One chunk, and everything but lost answers.
    pub const ONE_CHUNK: Self = Self {
        name: "one chunk, no answer lost",
        lost_answers: false,
        ..Self::EVERYTHING
    };
    /// One chunk, and everything but a store that fails.
    pub const LOST_ANSWERS: Self = Self {
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
    /// Throttling alone, which must not fail anything.
    pub const THROTTLING: Self = Self {
        name: "throttling alone",
        throttling: true,
        duplicates: true,
        ..Self::NOTHING
    };
    /// Messages that are lost.
    pub const LOSSES: Self = Self {
        name: "lost messages",
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
        restarts: 2,
        named: false,
        ..Self::CALLS
    };
    /// One chunk, one worker and everything, with a vector store that keeps objects, cannot confirm
    /// or deletes in part.
    pub const UNSOUND: Self = Self {
        name: "one worker, unsound store",
        workers: 1,
        lost_answers: true,
        ..Self::UNSOUND_AND_EVERYTHING
    };
    /// Deletes in part, one more than there are tries, which must not fail anything.
    pub const PARTS: Self = Self {
        name: "deletes in part",
        chunks: 1,
        cancels: true,
        restarts: 1,
        all: true,
        lost_answers: true,
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
        lost_answers: true,
        losses: true,
        duplicates: true,
        failures: true,
        throttling: true,
        inserts: true,
        ..Self::NOTHING
    };
    const EVERYTHING_TWICE: Self = Self {
        name: "one chunk, no answer lost, twice",
        restarts: 2,
        lost_answers: false,
        ..Self::EVERYTHING
    };
    const CRASHES_AND_INSERTS: Self = Self {
        name: "crashes and inserts",
        inserts: true,
        ..Self::CRASHES
    };
    const CRASHES_AND_STORE_FAILURES: Self = Self {
        name: "crashes and store failures",
        lost_answers: false,
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
        lost_answers: false,
        keeps: true,
        unconfirmed: true,
        parts: 2,
        ..Self::EVERYTHING
    };
    const UNSOUND_AND_CRASHES: Self = Self {
        name: "crashes and unsound store",
        lost_answers: false,
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

    /// What the tests search.
    pub const SMALL: [Self; 12] = [
        Self::CREATES,
        Self::CRASHES,
        Self::ONE_CHUNK,
        Self::LOST_ANSWERS,
        Self::TWICE,
        Self::STORE_FAILURES,
        Self::THROTTLING,
        Self::LOSSES,
        Self::CALLS,
        Self::UNNAMED_CALLS,
        Self::UNSOUND,
        Self::PARTS,
    ];
    /// What only the command searches.
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
