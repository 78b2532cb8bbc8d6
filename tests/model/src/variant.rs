//! The protocol with one guard left out, for each guard.

use crate::invariants::Invariant;
use crate::scenario::Scenario;
use std::fmt;

/// What is left out of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Nothing: the protocol as it is.
    Faithful,
    /// A create looks whether there is such a task, and puts its own without a condition.
    CheckThenPut,
    /// Nobody compares attempts: not those of a message, of a claim or of a settlement.
    NoAttemptCheck,
    /// A claim does not ask whether the fence is as it was read, nor a settlement whose the newest
    /// claim is.
    NoFence,
    /// A restart sets the chunks' fences back to 0.
    FenceResetByRestart,
    /// A lease may be over while its holder is at work.
    LeaseRunsOut,
    /// A lease lasts until its invocation's deadline only, not until what was sent before it has
    /// arrived.
    LeaseWithoutMargin,
    /// In a new attempt nobody waits for a lease of an earlier one.
    LeaseIgnoredByRestart,
    /// A settlement adds to the counters whether or not its claim is settled already.
    CounterWithoutGuard,
    /// A settlement writes the chunk first, then the counters.
    TwoWrites,
    /// A cancel does not ask for the status.
    UnconditionalCancel,
    /// A restart leaves the attempt as it is.
    RestartKeepsAttempt,
    /// A worker goes by what it finds itself, not by what earlier claims saw.
    LooksAgain,
    /// A write that is refused because it succeeded before counts as lost to a rival.
    RetryTakenForRival,
    /// There is no sweeper.
    NoSweeper,
    /// After its claim a worker does not read the task.
    NoReadAfterClaim,
    /// Before a further delete call a worker does not read the task, whatever asks for that call.
    NoReadBetweenCalls,
    /// A delete call that did not answer is not waited for as long as it may still arrive.
    AbandonedCall,
    /// A claim that ended because of throttling counts as a try.
    ThrottlingCounts,
    /// A worker claims a chunk, or puts it off, without asking in which attempt it was last
    /// claimed.
    EarlierAttempt,
    /// A task that nothing remains of when its whole message arrives goes straight from `pending`
    /// to `done`.
    PendingToDone,
    /// A look that the store does not answer counts as one that finds nothing.
    ErrorTakenForAbsence,
    /// A restart of everything forgets what unsettled claims saw.
    RestartForgetsSeen,
    /// A call that named its attempt does not name it in the condition of its write.
    AttemptNotNamed,
    /// An object whose delete the store acknowledges counts as deleted, without a confirming read.
    StoreBelieved,
    /// An object that is kept counts as one that went in part: it is deleted again and again, and
    /// no try counts.
    KeptTakenForProgress,
    /// A claim that ended because its delete could not be confirmed does not count as a try.
    UnconfirmedIsNoTry,
    /// A claim that deleted a part of the object counts as a try.
    PartCountsAsTry,
}

impl Variant {
    /// All that leave something out.
    pub const BROKEN: [Self; 27] = [
        Self::CheckThenPut,
        Self::NoAttemptCheck,
        Self::NoFence,
        Self::FenceResetByRestart,
        Self::LeaseRunsOut,
        Self::LeaseWithoutMargin,
        Self::LeaseIgnoredByRestart,
        Self::CounterWithoutGuard,
        Self::TwoWrites,
        Self::UnconditionalCancel,
        Self::RestartKeepsAttempt,
        Self::LooksAgain,
        Self::RetryTakenForRival,
        Self::NoSweeper,
        Self::NoReadAfterClaim,
        Self::NoReadBetweenCalls,
        Self::AbandonedCall,
        Self::ThrottlingCounts,
        Self::EarlierAttempt,
        Self::PendingToDone,
        Self::ErrorTakenForAbsence,
        Self::RestartForgetsSeen,
        Self::AttemptNotNamed,
        Self::StoreBelieved,
        Self::KeptTakenForProgress,
        Self::UnconfirmedIsNoTry,
        Self::PartCountsAsTry,
    ];

    /// The invariant that the shortest way to trouble breaks.
    pub fn breaks(self) -> Option<Invariant> {
        Some(match self {
            Self::Faithful => return None,
            Self::CheckThenPut => Invariant::OneCreate,
            Self::RestartKeepsAttempt => Invariant::Attempt,
            Self::UnconditionalCancel | Self::PendingToDone => Invariant::Status,
            Self::ErrorTakenForAbsence => Invariant::Done,
            Self::CounterWithoutGuard | Self::TwoWrites => Invariant::Counters,
            Self::NoFence | Self::FenceResetByRestart | Self::EarlierAttempt => Invariant::Fence,
            Self::NoAttemptCheck | Self::NoReadAfterClaim | Self::NoReadBetweenCalls => {
                Invariant::Cancel
            }
            Self::LeaseRunsOut
            | Self::LeaseWithoutMargin
            | Self::LeaseIgnoredByRestart
            | Self::AbandonedCall => Invariant::LateDelete,
            Self::NoSweeper
            | Self::ThrottlingCounts
            | Self::KeptTakenForProgress
            | Self::UnconfirmedIsNoTry
            | Self::PartCountsAsTry => Invariant::Ends,
            Self::LooksAgain | Self::RestartForgetsSeen | Self::StoreBelieved => {
                Invariant::ExactOutcomes
            }
            Self::RetryTakenForRival | Self::AttemptNotNamed => Invariant::Retries,
        })
    }

    /// Where to look for that way.
    pub fn scenario(self) -> Scenario {
        match self {
            Self::CheckThenPut | Self::RetryTakenForRival => Scenario::CREATES,
            Self::NoFence | Self::CounterWithoutGuard => Scenario::CRASHES,
            Self::Faithful
            | Self::NoAttemptCheck
            | Self::FenceResetByRestart
            | Self::LeaseRunsOut
            | Self::LeaseWithoutMargin
            | Self::LeaseIgnoredByRestart
            | Self::TwoWrites
            | Self::UnconditionalCancel
            | Self::RestartKeepsAttempt
            | Self::LooksAgain
            | Self::NoReadAfterClaim
            | Self::NoReadBetweenCalls
            | Self::AbandonedCall
            | Self::EarlierAttempt
            | Self::PendingToDone
            | Self::ErrorTakenForAbsence
            | Self::RestartForgetsSeen => Scenario::ONE_CHUNK,
            Self::NoSweeper => Scenario::LOSSES,
            Self::ThrottlingCounts => Scenario::THROTTLING,
            Self::AttemptNotNamed => Scenario::CALLS,
            Self::StoreBelieved | Self::KeptTakenForProgress | Self::UnconfirmedIsNoTry => {
                Scenario::UNSOUND
            }
            Self::PartCountsAsTry => Scenario::PARTS,
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Faithful => "the protocol as it is",
            Self::CheckThenPut => "check, then put",
            Self::NoAttemptCheck => "no attempt check",
            Self::NoFence => "no fence",
            Self::FenceResetByRestart => "a fence that a restart resets",
            Self::LeaseRunsOut => "a lease that runs out under its holder",
            Self::LeaseWithoutMargin => "a lease that ends with its invocation",
            Self::LeaseIgnoredByRestart => "a lease that a restart ignores",
            Self::CounterWithoutGuard => "counters without a guard",
            Self::TwoWrites => "chunk and counters in two writes",
            Self::UnconditionalCancel => "an unconditional cancel",
            Self::RestartKeepsAttempt => "a restart that keeps the attempt",
            Self::LooksAgain => "looking again after a crash",
            Self::RetryTakenForRival => "a retried write taken for a rival's",
            Self::NoSweeper => "no sweeper",
            Self::NoReadAfterClaim => "no read of the task after a claim",
            Self::NoReadBetweenCalls => "no read before a further delete call",
            Self::AbandonedCall => "a delete call not waited for",
            Self::ThrottlingCounts => "throttling counts as a try",
            Self::EarlierAttempt => "a chunk claimed or put off by an earlier attempt",
            Self::PendingToDone => "straight from pending to done",
            Self::ErrorTakenForAbsence => "a failed look taken for absence",
            Self::RestartForgetsSeen => "a restart of everything forgets what was seen",
            Self::AttemptNotNamed => "a named attempt left out of the condition",
            Self::StoreBelieved => "an acknowledgement taken for a deletion",
            Self::KeptTakenForProgress => "a kept object taken for progress",
            Self::UnconfirmedIsNoTry => "an unconfirmed delete is no try",
            Self::PartCountsAsTry => "a delete in part counts as a try",
        })
    }
}
