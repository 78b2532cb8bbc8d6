//! A state of the whole system: what is stored, what is on the queue, what is in the index, and the
//! progress of every actor.
//!
//! It also has a few *ghosts*: facts that no process can read, but that the invariants need.

use crate::process::{Creator, LostCall, Worker};
use crate::queue::Messages;

/// The number of claims without progress in one attempt after which a chunk's objects are given up.
/// The service allows five.
pub const MAX_TRIES: u8 = 2;
/// The number of delete calls after which a claim does not repeat a failed one. The service allows
/// four, one after another.
pub const MAX_CALLS: u8 = 2;

/// One of two chunks, workers or creators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A value for each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pair<T> {
    a: T,
    b: T,
}

impl<T: Copy> Pair<T> {
    /// Creates a pair.
    pub fn new(a: T, b: T) -> Self {
        Self { a, b }
    }

    /// The value for `side`.
    pub fn at(&self, side: Side) -> &T {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// The value for `side`, mutable.
    pub fn at_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// The pair with its sides exchanged.
    pub fn swapped(self) -> Self {
        Self::new(self.b, self.a)
    }

    /// Both values in order.
    pub fn both(&self) -> [T; 2] {
        [self.a, self.b]
    }
}

/// The status of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Stored, and no worker has begun.
    Pending,
    /// A worker has begun.
    Processing,
    /// Every outcome is definite.
    Done,
    /// Something was given up.
    Failed,
    /// Stopped.
    Canceled,
}

impl Status {
    /// Whether only a restart leaves this status.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Processing => false,
            Self::Done | Self::Failed | Self::Canceled => true,
        }
    }
}

/// The task's item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// The creator whose request is stored. It also represents the nonce, which is different for
    /// each create.
    pub request: Side,
    /// The status.
    pub status: Status,
    /// Counts from 1.
    pub attempt: u8,
    /// Outcomes recorded in earlier attempts than this one are void.
    pub baseline: u8,
    /// How many objects it has, which is also the number of chunks.
    pub total: u8,
    /// How many objects count as deleted.
    pub deleted: u8,
    /// How many were tried and not deleted.
    pub failed: u8,
    /// How many are open.
    pub remaining: u8,
    /// Whether something was given up in this attempt.
    pub detail: bool,
}

/// The recorded outcome of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Nothing yet.
    Remaining,
    /// Deleted by this service.
    Deleted,
    /// Not in the index.
    NotFound,
    /// Tried for too long.
    GaveUp,
}

/// The lease of the newest claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lease {
    /// There is no unsettled claim.
    None,
    /// The claim is not settled, and nobody else may make one.
    InForce,
    /// The claim is not settled, and its time is over.
    Over,
}

/// A chunk's state item. A chunk holds one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Chunk {
    /// Grows with each claim.
    pub fence: u8,
    /// The name of the newest claim.
    pub claim: u8,
    /// The lease of the newest claim.
    pub lease: Lease,
    /// The attempt of the newest claim; 0 before the first.
    pub claim_attempt: u8,
    /// Claims of that attempt without progress, including one in progress.
    pub tries: u8,
    /// Whether an unsettled claim saw the object in the index.
    pub seen: bool,
    /// What happened to the object.
    pub outcome: Outcome,
    /// The attempt that `outcome` was recorded in.
    pub outcome_attempt: u8,
}

impl Chunk {
    const NEW: Self = Self {
        fence: 1,
        claim: 1,
        lease: Lease::None,
        claim_attempt: 0,
        tries: 0,
        seen: false,
        outcome: Outcome::Remaining,
        outcome_attempt: 0,
    };

    /// The outcome for a reader in `attempt` with `baseline`.
    pub fn outcome_at(&self, attempt: u8, baseline: u8) -> Outcome {
        if self.outcome_attempt < baseline {
            return Outcome::Remaining;
        }
        match self.outcome {
            Outcome::Deleted => Outcome::Deleted,
            _ if self.outcome_attempt < attempt => Outcome::Remaining,
            Outcome::Remaining => Outcome::Remaining,
            Outcome::NotFound => Outcome::NotFound,
            Outcome::GaveUp => Outcome::GaveUp,
        }
    }

    /// Whether the object still has to be processed.
    pub fn is_open(&self, attempt: u8, baseline: u8) -> bool {
        match self.outcome_at(attempt, baseline) {
            Outcome::Remaining => true,
            Outcome::Deleted | Outcome::NotFound | Outcome::GaveUp => false,
        }
    }
}

/// What the store does with deletes of an object. It acknowledges all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Store {
    /// It deletes the object, and a confirming read is possible.
    Deletes,
    /// It keeps the object, and a confirming read finds it.
    Keeps,
    /// It keeps the object, and no confirming read is possible.
    CannotConfirm,
}

/// An object in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// How many of its parts exist. A delete removes one.
    pub parts: u8,
    /// What the store does with its deletes.
    pub store: Store,
    /// The claim of a delete call that is still in flight although nobody waits for it.
    pub late: Option<u8>,
    /// Ghost: this service deleted the object, and no outcome says so yet.
    pub deleted_by_us: bool,
    /// Ghost: the object was gone at some time since the newest claim that saw it and since the
    /// last restart of every object.
    pub gone: bool,
}

impl Object {
    /// Whether a current read finds the object.
    pub fn is_present(&self) -> bool {
        self.parts > 0
    }
}

/// Everything at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The task's item.
    pub task: Option<Task>,
    /// The chunks' items.
    pub chunks: Pair<Chunk>,
    /// The index.
    pub objects: Pair<Object>,
    /// The queue.
    pub messages: Messages,
    /// The workers.
    pub workers: Pair<Worker>,
    /// The creators.
    pub creators: Pair<Creator>,
    /// A call that is about to be sent again.
    pub lost_call: Option<LostCall>,
    /// Ghost: the creator whose create was the first to succeed.
    pub winner: Option<Side>,
}

impl State {
    /// The state before anything has happened. The objects have these numbers of parts in the
    /// index.
    pub fn new([a, b]: [u8; 2]) -> Self {
        let object = |parts| Object {
            parts,
            store: Store::Deletes,
            late: None,
            deleted_by_us: false,
            gone: false,
        };
        Self {
            task: None,
            chunks: Pair::new(Chunk::NEW, Chunk::NEW),
            objects: Pair::new(object(a), object(b)),
            messages: Messages::default(),
            workers: Pair::default(),
            creators: Pair::default(),
            lost_call: None,
            winner: None,
        }
    }

    /// Puts the task of `creator`'s request.
    pub fn create(&mut self, creator: Side, total: u8) {
        self.task = Some(Task {
            request: creator,
            status: Status::Pending,
            attempt: 1,
            baseline: 1,
            total,
            deleted: 0,
            failed: 0,
            remaining: total,
            detail: false,
        });
        self.winner.get_or_insert(creator);
    }

    /// The chunks of a task of `total` objects.
    pub fn sides(total: u8) -> impl Iterator<Item = Side> {
        Side::BOTH.into_iter().take(usize::from(total))
    }

    /// Whether the task exists and is processing in `attempt`.
    pub fn is_processing(&self, attempt: u8) -> bool {
        self.task
            .is_some_and(|task| task.status == Status::Processing && task.attempt == attempt)
    }
}
