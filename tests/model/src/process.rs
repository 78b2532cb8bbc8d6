//! How far each process is: what it has in memory between two of its calls.

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

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sight {
    /// The object is there.
    Present,
    /// It is not.
    Absent,
    /// The vector store throttled.
    Throttled,
    /// The vector store failed.
    Unavailable,
}

/// A claim, as its holder knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// Of which chunk.
    pub chunk: Side,
    /// In which attempt it was made.
    pub attempt: u8,
    /// Its name.
    pub token: u8,
    /// The task was no longer at work when the claim was made. No process knows that.
    pub late: bool,
    /// It is the last try.
    pub last_try: bool,
    /// How many delete calls it has begun, counted as far as
    /// [`MAX_CALLS`](crate::state::MAX_CALLS).
    pub calls: u8,
    /// A confirming read found the object kept.
    pub kept: bool,
    /// A delete call took a part of the object, which is progress.
    pub in_part: bool,
}

/// What a claim's holder wants on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finding {
    /// An outcome.
    Is(Outcome),
    /// Nothing, and it was no try: the vector store throttled.
    NoTry,
    /// Nothing, and it was no try: a part of the object went.
    Progress,
}

/// How far a claim's holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The claim is made, and what it comes to may be known already. The task is to be read, which
    /// may have been canceled or restarted before.
    Claimed(Option<Finding>),
    /// The object was there and the task is at work. No delete call has been made.
    AtWork,
    /// A delete call is under way.
    OnWire,
    /// The store acknowledged the delete. The confirming read is to come.
    Confirming,
    /// A delete call was throttled.
    Throttled,
    /// A delete call failed, and may have been carried out.
    Unsure,
    /// A delete call left the object, kept for the first time, or a part of it: there is to be a
    /// further one.
    Left,
    /// It is known what is to be recorded.
    Settling(Finding),
    /// It was recorded and the answer lost: it is sent again.
    SettlingAgain(Finding),
    /// The chunk's part is recorded, the counters' is not. Only where a variant settles in two
    /// writes.
    Counting(Outcome),
}

/// A worker, between two of its calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Worker {
    /// It waits for a message.
    #[default]
    Idle,
    /// A message for the whole task: it has read the task.
    FanOut(FanOut),
    /// It has read the chunks too, and sends those that are marked once its write has succeeded.
    FanOutWrite(FanOut, [bool; 2]),
    /// The write succeeded and the answer was lost: it is sent again.
    FanOutAgain(FanOut, [bool; 2]),
    /// A message for this chunk: it has read the task's attempt and baseline.
    TaskRead(Side, u8, u8),
    /// It has read the chunk.
    ChunkRead(Job),
    /// It has looked.
    Looked(Job, Sight),
    /// It has claimed the chunk, by this name (too late, see [`Claim::late`]), and the answer was
    /// lost: the claim is sent again.
    ClaimAgain(Job, Sight, u8, bool),
    /// It holds a claim.
    Holds(Claim, Stage),
}

impl Worker {
    /// The chunk whose claim it holds, and by which name.
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
            | Self::Looked(..) => None,
        }
    }
}

/// What a worker that fans out knows of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FanOut {
    /// The attempt.
    pub attempt: u8,
    /// The status was `pending`; else it was `processing`.
    pub pending: bool,
    /// Nothing remained.
    pub empty: bool,
    /// The token of the task's newest fan-out is the one it read, or after its write its own.
    pub newest: bool,
}

/// One who creates the task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Creator {
    /// It has done nothing yet.
    #[default]
    Idle,
    /// Its ids are written.
    IdsWritten,
    /// It saw that there is no such task. Only where a variant checks first.
    SawNone,
    /// Its put succeeded and the answer was lost: it is sent again.
    PutAgain,
    /// It answered that the task is new.
    New,
    /// It answered with the task that was there.
    Existing,
}

/// What a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// To cancel.
    Cancel,
    /// To restart what was not deleted.
    Restart,
    /// To restart everything.
    RestartAll,
}

/// A call that succeeded and whose answer was lost: it is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LostCall {
    /// What it is.
    pub call: Call,
    /// The attempt that it named, if it did.
    pub attempt: Option<u8>,
    /// The task still bears its token.
    pub on_record: bool,
}
