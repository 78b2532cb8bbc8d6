//! The states that a search has reached so far.

use crate::state::State;
use std::hash::{Hash, Hasher};

/// A position in a list, as a number of half the size.
#[expect(clippy::panic, reason = "that many states do not fit into memory")]
pub(crate) fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or_else(|_| panic!("too many states"))
}

/// All states so far, each with its number.
#[derive(Default)]
pub(crate) struct Seen {
    /// The states, by number.
    pub(crate) states: Vec<State>,
    /// Numbers plus one, at the place given by the state's hash or at the next free one. The length
    /// is a power of two.
    table: Vec<u32>,
}

impl Seen {
    /// The number of `state`, and whether it is new.
    pub(crate) fn number(&mut self, state: State) -> (u32, bool) {
        if self.table.len() < 2 * (self.states.len() + 1) {
            self.grow();
        }
        match self.place(&state) {
            Ok(number) => (number, false),
            Err(place) => {
                let number = index(self.states.len());
                self.states.push(state);
                if let Some(entry) = self.table.get_mut(place) {
                    *entry = number + 1;
                }
                (number, true)
            }
        }
    }

    /// The number of `state`, or the place in the table where it belongs.
    fn place(&self, state: &State) -> Result<u32, usize> {
        let mut hasher = Mixer(0);
        state.hash(&mut hasher);
        let mask = self.table.len() - 1;
        let mut place = hasher.finish() as usize & mask;
        loop {
            let number = match self.table.get(place) {
                None | Some(0) => return Err(place),
                Some(entry) => entry - 1,
            };
            if self.states.get(number as usize) == Some(state) {
                return Ok(number);
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        self.table = vec![0; (4 * self.states.len()).next_power_of_two().max(1024)];
        for number in 0..index(self.states.len()) {
            let state = self.states.get(number as usize);
            if let Some(Err(place)) = state.map(|state| self.place(state))
                && let Some(entry) = self.table.get_mut(place)
            {
                *entry = number + 1;
            }
        }
    }
}

/// A fast hash: multiply and rotate, and move the high bits down at the end.
struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }
    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    fn finish(&self) -> u64 {
        let mixed = self.0 ^ (self.0 >> 32);
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
    }
}
