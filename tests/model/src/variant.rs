//! The protocol with one guard left out, for each guard.

use crate::invariants::Invariant;
use crate::scenario::Scenario;
use std::fmt;

/// What is left out of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Nothing: the protocol as it is.
    Faithful,
    /// A create first checks for an existing task, and then puts its own without a condition.
    CheckThenPut,
    /// No attempt is compared: not that of a message, of a claim or of a settlement.
    NoAttemptCheck,
    /// A claim does not check whether the fence has moved since it was read, and a settlement does
    /// not check whether its claim is the newest.
    NoFence,
    /// A restart sets the chunks' fences back to 0.
    FenceResetByRestart,
    /// A lease may end while its holder is still working.
    LeaseRunsOut,
    /// A lease lasts only until its invocation's deadline, and not until requests that were sent
    /// before it have arrived.
    LeaseWithoutMargin,
    /// In a new attempt no worker waits for a lease of an earlier one.
    LeaseIgnoredByRestart,
    /// A settlement adds to the counters even if its claim is already settled.
    CounterWithoutGuard,
    /// A settlement writes the chunk first, then the counters.
    TwoWrites,
    /// A cancel does not check the status.
    UnconditionalCancel,
    /// A restart leaves the attempt as it is.
    RestartKeepsAttempt,
    /// A worker relies only on its own existence check, and ignores what earlier claims saw.
    ChecksAgain,
    /// A write that is refused because it already succeeded counts as lost to a rival.
    RetryTakenForRival,
    /// There is no sweeper.
    NoSweeper,
    /// A worker does not read the task after its claim.
    NoReadAfterClaim,
    /// A worker does not read the task before a further delete call, whatever the reason for that
    /// call.
    NoReadBetweenCalls,
    /// A worker does not wait as long as a delete call without a response may still arrive.
    AbandonedCall,
    /// A claim that ended because of throttling counts as a try.
    ThrottlingCounts,
    /// A worker claims or defers a chunk without checking in which attempt it was last claimed.
    EarlierAttempt,
    /// A task of which nothing remains when its whole-task message arrives goes directly from
    /// `pending` to `done`.
    PendingToDone,
    /// An existence check without a response counts as one that finds nothing.
    ErrorTakenForAbsence,
    /// A restart of every object forgets what unsettled claims saw.
    RestartForgetsSeen,
    /// A call that names its attempt does not have it in the condition of its write.
    AttemptNotNamed,
    /// An object whose delete the store acknowledges counts as deleted, without a confirming read.
    StoreBelieved,
    /// An object that is kept counts as partly deleted: it is deleted again and again, and no try
    /// counts.
    KeptTakenForProgress,
    /// A claim that ended because its delete could not be confirmed does not count as a try.
    UnconfirmedIsNoTry,
    /// A claim that deleted a part of the object counts as a try.
    PartCountsAsTry,
}

impl Variant {
    /// All variants that leave something out.
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
        Self::ChecksAgain,
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

    /// The invariant that breaks first, on the shortest way.
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
            Self::ChecksAgain | Self::RestartForgetsSeen | Self::StoreBelieved => {
                Invariant::ExactOutcomes
            }
            Self::RetryTakenForRival | Self::AttemptNotNamed => Invariant::Retries,
        })
    }

    /// The scenario in which the search finds that way.
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
            | Self::ChecksAgain
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
            Self::ChecksAgain => "trusting a new existence check after a crash",
            Self::RetryTakenForRival => "a retried write taken for a rival's",
            Self::NoSweeper => "no sweeper",
            Self::NoReadAfterClaim => "no read of the task after a claim",
            Self::NoReadBetweenCalls => "no read before a further delete call",
            Self::AbandonedCall => "a delete call not waited for",
            Self::ThrottlingCounts => "throttling counts as a try",
            Self::EarlierAttempt => "a chunk claimed or put off by an earlier attempt",
            Self::PendingToDone => "straight from pending to done",
            Self::ErrorTakenForAbsence => "a failed existence check taken for absence",
            Self::RestartForgetsSeen => "a restart of everything forgets what was seen",
            Self::AttemptNotNamed => "a named attempt left out of the condition",
            Self::StoreBelieved => "an acknowledgement taken for a deletion",
            Self::KeptTakenForProgress => "a kept object taken for progress",
            Self::UnconfirmedIsNoTry => "an unconfirmed delete is no try",
            Self::PartCountsAsTry => "a delete in part counts as a try",
        })
    }
}
