//! The life of a task: its statuses, and the effect of each event in each status.
//!
//! `docs/architecture.md` draws it.
//!
//! The store derives the conditions of its writes from [`TaskStatus::moved_by`], so the rules are
//! only here. A settlement (a finish, or a fail after a claim) is guarded by its claim instead.

use std::fmt;
use std::str::FromStr;

/// The state of a task in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskStatus {
    /// Stored and durable: the task will be carried out, whatever crashes.
    ///
    /// A create or a restart leads here.
    ///
    /// A claim makes it [`Self::Processing`], and so does the fan-out of a task of several chunks.
    /// A cancel makes it [`Self::Canceled`]. It becomes [`Self::Failed`] without a claim if its
    /// objects cannot even be checked: no vector store, no index, access denied, or the tries are
    /// used up.
    Pending,
    /// A worker has begun, and the counters move while it works.
    ///
    /// A further claim does not change the status.
    ///
    /// The settlement after which no object remains makes it [`Self::Done`] or [`Self::Failed`]. A
    /// cancel makes it [`Self::Canceled`]. If its worker dies, the sweeper sends the work again.
    Processing,
    /// Every object has a definite outcome: deleted, not in the index, or refused as an id that the
    /// store cannot hold.
    ///
    /// Only a restart leads out, to [`Self::Pending`] in the next attempt.
    Done,
    /// Every object has an outcome, and at least one was given up. A restart may help.
    ///
    /// Only a restart leads out, to [`Self::Pending`] in the next attempt.
    Failed,
    /// A caller stopped it.
    ///
    /// Objects that were not tried remain. Deletions in flight are still recorded when the worker
    /// settles.
    ///
    /// Only a restart leads out, to [`Self::Pending`] in the next attempt.
    Canceled,
}

/// The events in a task's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A worker claims the work.
    Claim,
    /// Every object has a definite outcome.
    Finish,
    /// Every object has an outcome, and at least one outcome is not definite.
    Fail,
    /// A caller stops the task.
    Cancel,
    /// A caller starts the task again.
    Restart,
}

/// The effect of an event in a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The task moves to this status. A claim may leave it in the status that it has.
    Move(TaskStatus),
    /// Nothing changes, and the caller gets a success.
    Nothing,
    /// The event is not allowed in this status.
    Refuse,
}

impl TaskStatus {
    /// Every status, in the order of a task's life.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Processing,
        Self::Done,
        Self::Failed,
        Self::Canceled,
    ];

    /// Returns the word that the API, the store and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Returns whether only a restart leads out of this status.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Processing => false,
            Self::Done | Self::Failed | Self::Canceled => true,
        }
    }

    /// Returns how far a task in this status has come within its attempt.
    ///
    /// Every change of the status within an attempt increases it.
    pub const fn step(self) -> u64 {
        match self {
            Self::Pending => 0,
            Self::Processing => 1,
            Self::Done | Self::Failed | Self::Canceled => 2,
        }
    }

    /// Returns the effect of `event` on a task in this status.
    pub const fn on(self, event: Event) -> Effect {
        use Effect::{Move, Nothing, Refuse};
        match (self, event) {
            (Self::Pending | Self::Processing, Event::Claim) => Move(Self::Processing),
            (Self::Processing, Event::Finish) => Move(Self::Done),
            (Self::Pending | Self::Processing, Event::Fail) => Move(Self::Failed),
            (Self::Pending | Self::Processing, Event::Cancel) => Move(Self::Canceled),
            (Self::Canceled, Event::Cancel) => Nothing,
            (Self::Done | Self::Failed | Self::Canceled, Event::Restart) => Move(Self::Pending),
            (Self::Pending | Self::Processing, Event::Restart) => Nothing,
            (Self::Pending, Event::Finish)
            | (Self::Done | Self::Failed, Event::Cancel)
            | (
                Self::Done | Self::Failed | Self::Canceled,
                Event::Claim | Event::Finish | Event::Fail,
            ) => Refuse,
        }
    }

    /// Returns the statuses in which `event` moves a task: the condition of its guarded write.
    pub fn moved_by(event: Event) -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(move |status| matches!(status.on(event), Effect::Move(_)))
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TaskStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Effect::{Move, Nothing, Refuse};
    use TaskStatus::{Canceled, Done, Failed, Pending, Processing};

    const EVENTS: [Event; 5] = [
        Event::Claim,
        Event::Finish,
        Event::Fail,
        Event::Cancel,
        Event::Restart,
    ];

    /// The whole table again, written by hand: a row for each status, a column for each event.
    #[test]
    fn every_event_in_every_status_does_what_the_contract_says() {
        let table = [
            (
                Pending,
                [
                    Move(Processing),
                    Refuse,
                    Move(Failed),
                    Move(Canceled),
                    Nothing,
                ],
            ),
            (
                Processing,
                [
                    Move(Processing),
                    Move(Done),
                    Move(Failed),
                    Move(Canceled),
                    Nothing,
                ],
            ),
            (Done, [Refuse, Refuse, Refuse, Refuse, Move(Pending)]),
            (Failed, [Refuse, Refuse, Refuse, Refuse, Move(Pending)]),
            (Canceled, [Refuse, Refuse, Refuse, Nothing, Move(Pending)]),
        ];
        assert_eq!(table.map(|(status, _)| status), TaskStatus::ALL);
        for (status, effects) in table {
            for (event, effect) in EVENTS.into_iter().zip(effects) {
                assert_eq!(status.on(event), effect, "{status} on {event:?}");
            }
        }
    }

    #[test]
    fn within_an_attempt_every_move_is_a_step_on() {
        for status in TaskStatus::ALL {
            for event in EVENTS {
                let Move(moved) = status.on(event) else {
                    continue;
                };
                let is_on = moved.step() > status.step() || moved == status;
                assert_eq!(is_on, event != Event::Restart, "{status} on {event:?}");
            }
        }
    }

    #[test]
    fn only_a_restart_leaves_a_terminal_status() {
        for status in TaskStatus::ALL.into_iter().filter(|s| s.is_terminal()) {
            for event in EVENTS.into_iter().filter(|e| *e != Event::Restart) {
                assert!(
                    !matches!(status.on(event), Move(_)),
                    "{status} on {event:?}"
                );
            }
        }
    }

    #[test]
    fn every_status_reads_back_from_its_own_word_and_no_other() {
        for status in TaskStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        for word in ["", "Pending", "cancelled", "done ", "unknown"] {
            assert_eq!(word.parse::<TaskStatus>(), Err(()), "{word:?}");
        }
    }
}
