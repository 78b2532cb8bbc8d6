//! The progress of each process: what it has in memory between two of its calls.

use crate::state::{Lease, Outcome, Side};

/// What a worker knows of a chunk that it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Job {
    /// Which chunk.
    pub chunk: Side,
    /// The task's attempt.
    pub attempt: u8,
    /// The chunk's fence.
    pub fence: u8,
    /// The chunk's lease.
    pub lease: Lease,
    /// The tries of this attempt.
    pub tries: u8,
    /// What earlier claims saw.
    pub seen: bool,
}

/// The result of an existence check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sight {
    /// The object exists.
    Present,
    /// The object does not exist.
    Absent,
    /// The vector store throttled.
    Throttled,
    /// The vector store failed.
    Unavailable,
}

/// A claim, as its holder knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// The chunk.
    pub chunk: Side,
    /// The attempt in which it was made.
    pub attempt: u8,
    /// Its name.
    pub token: u8,
    /// Whether the task was no longer processing when the claim was made. No process knows that.
    pub late: bool,
    /// Whether it is the last try.
    pub last_try: bool,
    /// How many delete calls it has begun, at most [`MAX_CALLS`](crate::state::MAX_CALLS).
    pub calls: u8,
    /// Whether a confirming read found the object kept.
    pub kept: bool,
    /// Whether a delete call removed a part of the object, which is progress.
    pub in_part: bool,
}

/// What a claim's holder wants to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finding {
    /// An outcome.
    Is(Outcome),
    /// Nothing. It does not count as a try, because the vector store throttled.
    NoTry,
    /// Nothing. It does not count as a try, because a part of the object was deleted.
    Progress,
}

/// The progress of a claim's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The claim is made, and its outcome may already be known. Next the holder reads the task,
    /// which may have been canceled or restarted before the claim.
    Claimed(Option<Finding>),
    /// The object existed and the task is processing. No delete call has been made.
    AtWork,
    /// A delete call is in flight.
    OnWire,
    /// The store acknowledged the delete. The confirming read comes next.
    Confirming,
    /// A delete call was throttled.
    Throttled,
    /// A delete call failed, and may have been carried out.
    Unsure,
    /// A delete call left the object (kept for the first time) or a part of it. A further call
    /// comes next.
    Left,
    /// The holder knows what to record.
    Settling(Finding),
    /// It was recorded and the response was lost, so it is sent again.
    SettlingAgain(Finding),
    /// The chunk's part is recorded, but the counters' is not. This occurs only if a variant
    /// settles in two writes.
    Counting(Outcome),
}

/// A worker, between two of its calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Worker {
    /// The worker waits for a message.
    #[default]
    Idle,
    /// The worker has a message for the whole task and has read the task.
    FanOut(FanOut),
    /// It has also read the chunks. It sends the marked ones once its write has succeeded.
    FanOutWrite(FanOut, [bool; 2]),
    /// The write succeeded and the response was lost, so it is sent again.
    FanOutAgain(FanOut, [bool; 2]),
    /// The worker has a message for this chunk, and has read the task's attempt and baseline.
    TaskRead(Side, u8, u8),
    /// It has read the chunk.
    ChunkRead(Job),
    /// It has made the existence check.
    Checked(Job, Sight),
    /// It has claimed the chunk by this name, and the response was lost, so the claim is sent
    /// again. The last field is [`Claim::late`].
    ClaimAgain(Job, Sight, u8, bool),
    /// It holds a claim.
    Holds(Claim, Stage),
}

impl Worker {
    /// The chunk whose claim it holds, and the claim's name.
    pub fn claim(&self) -> Option<(Side, u8)> {
        match self {
            Self::Holds(claim, _) => Some((claim.chunk, claim.token)),
            Self::ClaimAgain(job, _, token, _) => Some((job.chunk, *token)),
            Self::Idle
            | Self::FanOut(_)
            | Self::FanOutWrite(..)
            | Self::FanOutAgain(..)
            | Self::TaskRead(..)
            | Self::ChunkRead(_)
            | Self::Checked(..) => None,
        }
    }
}

/// What a worker that fans out knows of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FanOut {
    /// The attempt.
    pub attempt: u8,
    /// Whether the status was `pending`. Otherwise it was `processing`.
    pub pending: bool,
    /// Whether nothing remained.
    pub empty: bool,
    /// Whether the token of the task's newest fan-out is still the one that the worker read or,
    /// after its write, its own.
    pub newest: bool,
}

/// A caller that creates the task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Creator {
    /// It has done nothing yet.
    #[default]
    Idle,
    /// Its ids are written.
    IdsWritten,
    /// It saw that there is no such task. This occurs only if a variant checks first.
    SawNone,
    /// Its put succeeded and the response was lost, so it is sent again.
    PutAgain,
    /// Its response was that the task is new.
    New,
    /// Its response was the existing task.
    Existing,
}

/// What a caller requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// To cancel.
    Cancel,
    /// To restart what was not deleted.
    Restart,
    /// To restart everything.
    RestartAll,
}

/// A call that succeeded and whose response was lost, so it is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LostCall {
    /// The call.
    pub call: Call,
    /// The attempt that it named, if it did.
    pub attempt: Option<u8>,
    /// Whether the task still has its token.
    pub on_record: bool,
}
