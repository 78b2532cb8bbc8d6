//! Many object ids in one text, so that a request with a million ids does not make a million
//! allocations.
//!
//! `encoding.rs` defines their stored form.

pub(super) mod encoding;

use super::id::{InvalidName, check_object_id};
use std::ops::Range;

/// The most objects in one chunk: as many as one S3 Vectors delete takes ("Limitations and
/// restrictions", Amazon S3 User Guide).
pub const MAX_CHUNK_OBJECTS: usize = 500;
/// The most bytes of object ids in one chunk, so that an item stays well below DynamoDB's 400 KB.
pub const MAX_CHUNK_BYTES: usize = 128 * 1024;

/// The limits of a chunk: objects, and bytes of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// The most objects.
    pub objects: usize,
    /// The most bytes of ids.
    pub bytes: usize,
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self {
            objects: MAX_CHUNK_OBJECTS,
            bytes: MAX_CHUNK_BYTES,
        }
    }
}

/// Object ids in order: each 1 to 1,024 bytes of UTF-8 without control characters.
///
/// They are kept in one text with a line feed after each, since no id can contain one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectIds {
    text: String,
    /// Where each id ends in the text.
    ends: Vec<u32>,
}

/// Object ids without repetition, and their sort order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistinctIds {
    ids: ObjectIds,
    /// The positions of the ids, sorted by the bytes of the ids.
    order: Vec<u32>,
}

impl DistinctIds {
    /// Returns the ids in the order of their first mention.
    pub fn into_ids(self) -> ObjectIds {
        self.ids
    }

    /// Returns the ids sorted by their bytes.
    pub(super) fn sorted(&self) -> impl Iterator<Item = &str> {
        let order = self.order.iter();
        order.map(|at| self.ids.get(*at as usize).unwrap_or_default())
    }
}

impl ObjectIds {
    /// Adds an id at the end.
    ///
    /// # Errors
    /// Returns the rule that the id breaks. In that case nothing is added.
    pub fn push(&mut self, id: &str) -> Result<(), InvalidName> {
        check_object_id(id)?;
        self.push_checked(id);
        Ok(())
    }

    /// Adds an id that [`Self::push`] is known to accept.
    fn push_checked(&mut self, id: &str) {
        self.text.push_str(id);
        // Ids come from a request of 6 MB or an item of 400 KB, so their text is far below 4 GB.
        self.ends
            .push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        self.text.push('\n');
    }

    /// Returns the number of ids.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the id at `position`.
    pub fn get(&self, position: usize) -> Option<&str> {
        let end = *self.ends.get(position)? as usize;
        self.text.get(self.start_of(position)..end)
    }

    /// Returns the ids in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|position| self.get(position).unwrap_or_default())
    }

    fn start_of(&self, position: usize) -> usize {
        match position.checked_sub(1).and_then(|i| self.ends.get(i)) {
            Some(end) => *end as usize + 1,
            None => 0,
        }
    }

    /// Drops repeated ids. The first mention of each stays.
    pub fn distinct(self) -> DistinctIds {
        let mut order: Vec<u32> = (0..).take(self.len()).collect();
        // Equal ids are sorted by their positions.
        order.sort_unstable_by_key(|at| (self.get(*at as usize), *at));
        let mut is_repeated = vec![false; self.len()];
        for pair in order.windows(2) {
            if let [before, this] = *pair
                && self.get(before as usize) == self.get(this as usize)
                && let Some(flag) = is_repeated.get_mut(this as usize)
            {
                *flag = true;
            }
        }
        if !is_repeated.contains(&true) {
            return DistinctIds { ids: self, order };
        }
        let mut ids = Self::default();
        let mut new_positions = Vec::with_capacity(self.len());
        for (id, is_repeated) in self.iter().zip(&is_repeated) {
            new_positions.push(u32::try_from(ids.len()).unwrap_or(u32::MAX));
            if !is_repeated {
                ids.push_checked(id);
            }
        }
        let is_kept = |at: &u32| is_repeated.get(*at as usize) == Some(&false);
        let kept = order.iter().filter(|at| is_kept(at));
        let order = kept.filter_map(|at| new_positions.get(*at as usize).copied());
        DistinctIds {
            order: order.collect(),
            ids,
        }
    }

    /// Cuts the positions into chunks within `limits`, each as full as possible.
    pub fn chunks(&self, limits: ChunkLimits) -> Vec<Range<usize>> {
        let mut chunks = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (position, id) in self.iter().enumerate() {
            let full = position - start == limits.objects || bytes + id.len() > limits.bytes;
            if full && position > start {
                chunks.push(start..position);
                (start, bytes) = (position, 0);
            }
            bytes += id.len();
        }
        if start < self.len() {
            chunks.push(start..self.len());
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[&str]) -> ObjectIds {
        let mut all = ObjectIds::default();
        for id in ids {
            all.push(id).unwrap();
        }
        all
    }

    #[test]
    fn ids_come_back_as_they_were_put_in() {
        let names = ["a", "日本語", "c c", "🗑️", "e"];
        let ids = of(&names);
        assert_eq!(ids.iter().collect::<Vec<_>>(), names);
        assert_eq!((ids.get(2), ids.get(5)), (Some("c c"), None));
    }

    #[test]
    fn an_invalid_id_is_not_added() {
        let mut ids = of(&["a"]);
        for bad in ["", "a\nb", &"x".repeat(1025)] {
            assert!(ids.push(bad).is_err());
        }
        assert_eq!(ids, of(&["a"]));
    }

    #[test]
    fn a_repeated_id_counts_once_and_keeps_its_first_place() {
        let distinct = of(&["b", "a", "b", "c", "a", "0", "b"]).distinct();
        assert_eq!(distinct.sorted().collect::<Vec<_>>(), ["0", "a", "b", "c"]);
        assert_eq!(distinct.into_ids(), of(&["b", "a", "c", "0"]));
        let distinct = of(&["b", "a"]).distinct();
        assert_eq!(distinct.sorted().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(distinct.into_ids(), of(&["b", "a"]));
        assert!(ObjectIds::default().distinct().into_ids().is_empty());
        assert!(!of(&["a"]).is_empty());
    }

    #[test]
    fn chunks_are_as_full_as_their_limits_allow_and_miss_nothing() {
        let limits = ChunkLimits {
            objects: 3,
            bytes: 10,
        };
        let sizes = |ids: &[&str]| {
            let chunks = of(ids).chunks(limits);
            let mut next = 0;
            for chunk in &chunks {
                assert_eq!(chunk.start, next);
                next = chunk.end;
            }
            assert_eq!(next, ids.len());
            chunks.into_iter().map(|c| c.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&["a"; 3]), [3]);
        assert_eq!(sizes(&["a"; 7]), [3, 3, 1]);
        assert_eq!(sizes(&["aaaaa"; 5]), [2, 2, 1]);
        assert_eq!(sizes(&["aaaaaaaaaaaa", "b", "aaaaaaaaaa"]), [1, 1, 1]);
    }
}
