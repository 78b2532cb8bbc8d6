//! The stored form of object ids, in chunks and in list rows.
//!
//! It is compact, since DynamoDB bills by the kilobyte.
//!
//! The form is a version byte and then runs of ids. A run begins with a number: four times the
//! count of its ids, plus 1 if they are UUIDs, plus 2 if it is the last run. A UUID takes 16 bytes.
//! Any other id is stored as the number of bytes that it shares with the id before it in the run,
//! the number of bytes that follow, and these bytes. Numbers are unsigned LEB128.
//!
//! Only a UUID in the canonical form (RFC 9562: lower case, with hyphens) is stored as a UUID, so
//! every id is decoded exactly as it was.

use super::{MAX_CHUNK_BYTES, MAX_CHUNK_OBJECTS, ObjectIds};
use std::ops::Range;
use uuid::Uuid;

/// The first byte of the stored form.
const VERSION: u8 = 1;
/// The length of a UUID in bytes, and of its text.
const UUID_BYTES: usize = 16;
const UUID_TEXT: usize = 36;

/// The error for bytes that are not the stored form of object ids.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not object ids of a chunk")]
pub struct Undecodable;

impl ObjectIds {
    /// Returns the stored form of the ids at `positions`.
    pub fn to_bytes(&self, positions: Range<usize>) -> Vec<u8> {
        encode(positions.filter_map(|at| self.get(at)))
    }

    /// Reads ids from the bytes that [`Self::to_bytes`] made: at least one, and at most as many as
    /// a chunk can hold.
    ///
    /// # Errors
    /// If the bytes have another version, or are damaged. Whatever the bytes are, the limits of a
    /// chunk bound the memory that is used.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut left = Bytes(bytes);
        if left.take(1)? != [VERSION] {
            return Err(Undecodable);
        }
        let mut ids = Self::default();
        let mut is_last = false;
        while !is_last {
            let header = left.number()?;
            let (count, is_uuids) = (header >> 2, header & 1 != 0);
            is_last = header & 2 != 0;
            if count == 0 || count > MAX_CHUNK_OBJECTS - ids.len() {
                return Err(Undecodable);
            }
            ids.ends.reserve(count);
            let mut id = Vec::new();
            for _ in 0..count {
                if is_uuids {
                    ids.push_uuid(left.take(UUID_BYTES)?)?;
                } else {
                    let shared = left.number()?;
                    if shared > id.len() {
                        return Err(Undecodable);
                    }
                    id.truncate(shared);
                    let more = left.number()?;
                    id.extend_from_slice(left.take(more)?);
                    let text = str::from_utf8(&id).map_err(|_| Undecodable)?;
                    ids.push(text).map_err(|_| Undecodable)?;
                }
                // A few bytes can encode a lot of text: each id may repeat the one before it.
                if ids.text.len() > MAX_CHUNK_BYTES + ids.len() {
                    return Err(Undecodable);
                }
            }
        }
        if left.0.is_empty() {
            Ok(ids)
        } else {
            Err(Undecodable)
        }
    }

    fn push_uuid(&mut self, bytes: &[u8]) -> Result<(), Undecodable> {
        let uuid = Uuid::from_slice(bytes).map_err(|_| Undecodable)?;
        let mut text = [0; UUID_TEXT];
        self.push_checked(uuid.hyphenated().encode_lower(&mut text));
        Ok(())
    }
}

/// Returns the stored form of ids that have been validated.
pub(in crate::task) fn encode<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let ids: Vec<_> = ids.map(|id| (id, canonical_uuid(id))).collect();
    let mut bytes = Vec::with_capacity(4 + UUID_BYTES * ids.len()); // enough for one run of UUIDs
    bytes.push(VERSION);
    let mut left = ids.len();
    for run in ids.chunk_by(|(_, one), (_, next)| one.is_some() == next.is_some()) {
        left -= run.len();
        let is_uuids = run.first().is_some_and(|(_, uuid)| uuid.is_some());
        let flags = usize::from(is_uuids) | usize::from(left == 0) << 1;
        write_number(&mut bytes, run.len() << 2 | flags);
        let mut before = "";
        for (id, uuid) in run {
            match uuid {
                Some(uuid) => bytes.extend_from_slice(uuid.as_bytes()),
                None => {
                    let same = before.bytes().zip(id.bytes()).take_while(|(a, b)| a == b);
                    let shared = same.count();
                    write_number(&mut bytes, shared);
                    write_number(&mut bytes, id.len() - shared);
                    bytes.extend(id.bytes().skip(shared));
                }
            }
            before = id;
        }
    }
    bytes
}

/// Returns the UUID if `id` is the canonical text of one.
fn canonical_uuid(id: &str) -> Option<Uuid> {
    if id.len() != UUID_TEXT {
        return None;
    }
    let uuid = Uuid::try_parse(id).ok()?;
    let mut text = [0; UUID_TEXT];
    (*uuid.hyphenated().encode_lower(&mut text) == *id).then_some(uuid)
}

/// Appends a number.
pub(in crate::task) fn write_number(bytes: &mut Vec<u8>, number: usize) {
    let mut left = number;
    while left > 0x7f {
        bytes.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    bytes.push(left.to_le_bytes()[0]);
}

/// The bytes that are still to be decoded.
pub(in crate::task) struct Bytes<'a>(pub(in crate::task) &'a [u8]);

impl<'a> Bytes<'a> {
    /// Takes the next `count` bytes.
    pub(in crate::task) fn take(&mut self, count: usize) -> Result<&'a [u8], Undecodable> {
        let (taken, left) = self.0.split_at_checked(count).ok_or(Undecodable)?;
        self.0 = left;
        Ok(taken)
    }

    /// Reads the next number, of at most three bytes: more than any number here needs.
    pub(in crate::task) fn number(&mut self) -> Result<usize, Undecodable> {
        let mut number = 0;
        for shift in [0, 7, 14] {
            let Some((byte, left)) = self.0.split_first() else {
                break;
            };
            self.0 = left;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Undecodable)
    }
}

#[cfg(test)]
mod tests;
