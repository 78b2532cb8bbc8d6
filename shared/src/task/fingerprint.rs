//! The fingerprint of a request. Two requests with the same fingerprint ask for the same.

use super::{DistinctIds, ModelId};
use sha2::{Digest, Sha256};

/// SHA-256 (FIPS 180-4) over a request's model and its *set* of object ids, cut to 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Returns the fingerprint of a request for these objects of a model.
    ///
    /// The order of the ids makes no difference.
    pub fn of(model: &ModelId, ids: &DistinctIds) -> Self {
        let mut hash = Sha256::new();
        hash.update(model.as_str());
        for id in ids.sorted() {
            // No name contains a control character, so the separator is unambiguous.
            hash.update("\n");
            hash.update(id);
        }
        let digest = hash.finalize();
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(digest) {
            *to = from;
        }
        Self(short)
    }

    /// Reads a fingerprint back from its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::ObjectIds;
    use super::*;

    fn of(model: &str, ids: &[&str]) -> Fingerprint {
        let mut all = ObjectIds::default();
        for id in ids {
            all.push(id).unwrap();
        }
        Fingerprint::of(&ModelId::new(model).unwrap(), &all.distinct())
    }

    #[test]
    fn the_same_set_in_another_order_is_the_same_request() {
        assert_eq!(of("m", &["a", "b"]), of("m", &["b", "a"]));
    }

    #[test]
    fn another_model_or_another_set_is_another_request() {
        let all = [
            of("m", &["a", "b"]),
            of("n", &["a", "b"]),
            of("m", &["a"]),
            of("m", &["ab"]),
        ];
        for (i, one) in all.iter().enumerate() {
            for other in all.iter().skip(i + 1) {
                assert_ne!(one, other);
            }
        }
    }
}
