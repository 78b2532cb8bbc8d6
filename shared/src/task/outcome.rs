//! The outcome of each object, stored as one byte.

/// The reason for an object that is not in the index, word for word as in the contract.
pub const NOT_FOUND: &str = "Object not found in index";

/// Why an object was not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The index has no such object. Definite.
    NotFound,
    /// The store cannot hold this id, and says why. Definite.
    InvalidId(String),
    /// The service gave up, and says why. Not definite: a restart may help.
    GaveUp(String),
}

impl Reason {
    /// Returns whether the outcome is final: another try could not change it.
    pub fn is_definite(&self) -> bool {
        match self {
            Self::NotFound | Self::InvalidId(_) => true,
            Self::GaveUp(_) => false,
        }
    }

    /// Returns the text for a person.
    pub fn detail(&self) -> &str {
        match self {
            Self::NotFound => NOT_FOUND,
            Self::InvalidId(detail) | Self::GaveUp(detail) => detail,
        }
    }
}

/// The outcome of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No outcome yet in this attempt.
    Remaining,
    /// It was deleted, in this attempt or an earlier one.
    Deleted,
    /// It was tried and not deleted.
    Failed(Reason),
}

impl Outcome {
    /// Returns the word that the API uses.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Remaining => "remaining",
            Self::Deleted => "deleted",
            Self::Failed(_) => "failed",
        }
    }
}

/// The objects that a caller wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeFilter {
    /// Objects that were deleted.
    Deleted,
    /// Objects that were tried and not deleted.
    Failed,
    /// Objects that have no outcome yet.
    Remaining,
    /// Every object.
    All,
}

impl OutcomeFilter {
    /// Returns whether the filter selects an object with this outcome.
    pub fn lets_through(self, outcome: &Outcome) -> bool {
        match self {
            Self::Deleted => *outcome == Outcome::Deleted,
            Self::Failed => matches!(outcome, Outcome::Failed(_)),
            Self::Remaining => *outcome == Outcome::Remaining,
            Self::All => true,
        }
    }
}

/// The stored form of an outcome: one byte.
///
/// 0 is remaining, 1 deleted, 2 not found. 3 to 127 is refused with reason `n - 3`, and 128 to 252
/// given up with reason `n - 128`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Code(u8);

impl Code {
    const REMAINING: Self = Self(0);
    const DELETED: Self = Self(1);
    const NOT_FOUND: Self = Self(2);
    const FIRST_INVALID_ID: u8 = 3;
    const FIRST_GAVE_UP: u8 = 128;
    /// The number of reasons that each of the two ranges has room for.
    const MAX_REASONS: usize = 125;
}

/// The outcomes of a chunk's objects, as recorded in one attempt.
///
/// A later attempt reads them without rewriting them. After a restart, deleted objects stay deleted
/// and all others are open again. After a restart of everything (a new *baseline*), all objects are
/// open again. Thus a restart is one small write, whatever the task's size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    codes: Vec<u8>,
    reasons: Vec<String>,
    attempt: u32,
}

impl Outcomes {
    /// Creates an empty record for `attempt`: no object has an outcome.
    pub fn none(attempt: u32) -> Self {
        Self {
            attempt,
            ..Self::default()
        }
    }

    /// Reads outcomes back from their stored parts.
    pub fn from_parts(codes: Vec<u8>, reasons: Vec<String>, attempt: u32) -> Self {
        Self {
            codes,
            reasons,
            attempt,
        }
    }

    /// Returns one byte for each object. The last objects have no byte if they remain.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// Returns the reasons that the bytes refer to by number.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Returns the attempt that they were recorded in.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns what the object at `position` counts as in `attempt`.
    ///
    /// Outcomes that are older than `baseline` are void.
    pub fn at(&self, position: usize, attempt: u32, baseline: u32) -> Outcome {
        if self.attempt < baseline {
            return Outcome::Remaining;
        }
        match self.recorded(position) {
            Outcome::Failed(_) if self.attempt < attempt => Outcome::Remaining,
            outcome @ (Outcome::Remaining | Outcome::Deleted | Outcome::Failed(_)) => outcome,
        }
    }

    fn recorded(&self, position: usize) -> Outcome {
        let code = Code(self.codes.get(position).copied().unwrap_or_default());
        match code {
            Code::REMAINING => Outcome::Remaining,
            Code::DELETED => Outcome::Deleted,
            Code::NOT_FOUND => Outcome::Failed(Reason::NotFound),
            Code(n) if n < Code::FIRST_GAVE_UP => {
                Outcome::Failed(Reason::InvalidId(self.reason(n - Code::FIRST_INVALID_ID)))
            }
            Code(n) => Outcome::Failed(Reason::GaveUp(self.reason(n - Code::FIRST_GAVE_UP))),
        }
    }

    fn reason(&self, number: u8) -> String {
        self.reasons
            .get(usize::from(number))
            .cloned()
            .unwrap_or_else(|| "The reason was not recorded".to_owned())
    }

    /// Records the outcome of the object at `position`.
    pub fn set(&mut self, position: usize, outcome: &Outcome) {
        let code = match outcome {
            Outcome::Remaining => Code::REMAINING,
            Outcome::Deleted => Code::DELETED,
            Outcome::Failed(Reason::NotFound) => Code::NOT_FOUND,
            Outcome::Failed(Reason::InvalidId(detail)) => {
                Code(Code::FIRST_INVALID_ID + self.number_of(detail))
            }
            Outcome::Failed(Reason::GaveUp(detail)) => {
                Code(Code::FIRST_GAVE_UP + self.number_of(detail))
            }
        };
        if position >= self.codes.len() && code != Code::REMAINING {
            self.codes.resize(position + 1, Code::REMAINING.0);
        }
        if let Some(byte) = self.codes.get_mut(position) {
            *byte = code.0;
        }
    }

    /// Returns the number of a reason, and adds the reason if it is new.
    ///
    /// After 124 different reasons, all further ones share one text.
    fn number_of(&mut self, detail: &str) -> u8 {
        let place = |reasons: &[String], detail| reasons.iter().position(|known| known == detail);
        let is_full = self.reasons.len() >= Code::MAX_REASONS - 1;
        let detail = if is_full && place(&self.reasons, detail).is_none() {
            "The vector store gave one of many different reasons"
        } else {
            detail
        };
        let number = place(&self.reasons, detail).unwrap_or_else(|| {
            self.reasons.push(detail.to_owned());
            self.reasons.len() - 1
        });
        u8::try_from(number).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gave_up(detail: &str) -> Outcome {
        Outcome::Failed(Reason::GaveUp(detail.into()))
    }

    fn invalid_id(detail: &str) -> Outcome {
        Outcome::Failed(Reason::InvalidId(detail.into()))
    }

    fn one_of_each() -> Outcomes {
        let mut outcomes = Outcomes::none(2);
        outcomes.set(0, &Outcome::Deleted);
        outcomes.set(1, &Outcome::Failed(Reason::NotFound));
        outcomes.set(2, &invalid_id("bad id"));
        outcomes.set(3, &gave_up("bad id"));
        outcomes
    }

    #[test]
    fn an_attempt_sees_what_it_recorded() {
        let outcomes = one_of_each();
        let back = Outcomes::from_parts(
            outcomes.codes().to_vec(),
            outcomes.reasons().to_vec(),
            outcomes.attempt(),
        );
        let seen: Vec<_> = (0..5).map(|i| back.at(i, 2, 1)).collect();
        let not_found = Outcome::Failed(Reason::NotFound);
        assert_eq!(
            seen,
            [
                Outcome::Deleted,
                not_found,
                invalid_id("bad id"),
                gave_up("bad id"),
                Outcome::Remaining
            ]
        );
    }

    #[test]
    fn a_restart_keeps_what_was_deleted_and_opens_the_rest() {
        let outcomes = one_of_each();
        assert_eq!(outcomes.at(0, 3, 1), Outcome::Deleted);
        for position in 1..5 {
            assert_eq!(
                outcomes.at(position, 3, 1),
                Outcome::Remaining,
                "{position}"
            );
        }
    }

    #[test]
    fn a_restart_of_everything_opens_what_was_deleted_too() {
        let outcomes = one_of_each();
        for position in 0..5 {
            assert_eq!(
                outcomes.at(position, 3, 3),
                Outcome::Remaining,
                "{position}"
            );
        }
    }

    #[test]
    fn five_hundred_different_reasons_lose_words_but_never_an_outcome() {
        let mut outcomes = Outcomes::none(1);
        for position in 0..500 {
            let detail = format!("reason {position}");
            let outcome = if position % 2 == 0 {
                invalid_id(&detail)
            } else {
                gave_up(&detail)
            };
            outcomes.set(position, &outcome);
        }
        assert!(outcomes.reasons().len() <= Code::MAX_REASONS);
        for position in 0..500 {
            let Outcome::Failed(reason) = outcomes.at(position, 1, 1) else {
                panic!("{position} lost its failure");
            };
            assert_eq!(reason.is_definite(), position % 2 == 0, "{position}");
        }
        assert_eq!(outcomes.at(3, 1, 1), gave_up("reason 3"));
    }

    #[test]
    fn bytes_nobody_wrote_are_read_without_a_panic() {
        let outcomes = Outcomes::from_parts((0..=255).collect(), vec![], 1);
        for position in 0..300 {
            let _ = outcomes.at(position, 1, 1);
        }
    }
}
