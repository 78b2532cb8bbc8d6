//! A compact set of small numbers, since DynamoDB bills by size.

/// A set of object positions in a chunk, one bit each.
///
/// Position 0 is the lowest bit of the first byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap(Vec<u8>);

impl Bitmap {
    /// Reads a set back from its bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the set's bytes without trailing zeros.
    pub fn to_bytes(&self) -> Vec<u8> {
        let len = self.0.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        self.0.iter().take(len).copied().collect()
    }

    /// Adds `position`.
    pub fn insert(&mut self, position: usize) {
        let byte = position / 8;
        if byte >= self.0.len() {
            self.0.resize(byte + 1, 0);
        }
        if let Some(b) = self.0.get_mut(byte) {
            *b |= 1 << (position % 8);
        }
    }

    /// Returns whether `position` is in the set.
    pub fn contains(&self, position: usize) -> bool {
        self.0
            .get(position / 8)
            .is_some_and(|b| b & (1 << (position % 8)) != 0)
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|b| *b == 0)
    }
}

impl FromIterator<usize> for Bitmap {
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        let mut set = Self::default();
        for position in positions {
            set.insert(position);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_exactly_what_was_put_in_and_survives_its_bytes() {
        let members = [0, 7, 8, 63, 64, 499];
        let set: Bitmap = members.into_iter().collect();
        let back = Bitmap::from_bytes(set.to_bytes());
        for position in 0..600 {
            assert_eq!(
                back.contains(position),
                members.contains(&position),
                "{position}"
            );
        }
        assert_eq!(set.to_bytes().len(), 63);
    }

    #[test]
    fn an_empty_set_has_no_bytes() {
        assert!(Bitmap::default().to_bytes().is_empty());
        assert!(Bitmap::from_bytes(vec![0, 0]).is_empty());
        assert!(Bitmap::from_bytes(vec![0, 0]).to_bytes().is_empty());
    }
}
