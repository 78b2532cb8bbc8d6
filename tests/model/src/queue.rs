//! The queue.

use crate::state::Side;

/// The queue. Two equal messages count as one, and every message may be delivered more than once,
/// in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Messages(u16);

/// The highest attempt that the queue has room for.
pub const MAX_ATTEMPT: u8 = 4;

/// A message: an attempt, and a chunk or the whole task.
pub type Message = (u8, Option<Side>);

impl Messages {
    fn bit((attempt, chunk): Message) -> u16 {
        let within = match chunk {
            None => 0,
            Some(Side::A) => 1,
            Some(Side::B) => 2,
        };
        1 << (3 * u16::from(attempt.min(MAX_ATTEMPT)) + within)
    }

    /// Sends a message.
    pub fn send(&mut self, message: Message) {
        self.0 |= Self::bit(message);
    }

    /// Removes a message.
    pub fn remove(&mut self, message: Message) {
        self.0 &= !Self::bit(message);
    }

    /// Whether a message is on the queue.
    pub fn has(self, message: Message) -> bool {
        self.0 & Self::bit(message) != 0
    }

    /// All messages on the queue.
    pub fn all(self) -> impl Iterator<Item = Message> {
        (1..=MAX_ATTEMPT)
            .flat_map(|attempt| [None, Some(Side::A), Some(Side::B)].map(|chunk| (attempt, chunk)))
            .filter(move |message| self.has(*message))
    }

    /// Returns only the messages of `attempt`.
    #[must_use]
    pub fn of(self, attempt: u8) -> Self {
        let mut of = Self::default();
        self.all()
            .filter(|message| message.0 == attempt)
            .for_each(|message| of.send(message));
        of
    }
}
