//! Which ids are repeats of earlier ones.

use super::SPOOL_BYTES;
use sha2::{Digest, Sha256};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use tempfile::SpooledTempFile;

/// Each bucket is sorted in memory. With ten million ids, one has 160,000, which take 4 MB.
const BUCKETS: usize = 64;
const HASH_BYTES: usize = 16;
const POSITION_BYTES: usize = 8;

/// The hashes of ids in temporary files, by a part of the hash.
#[derive(Default)]
pub(super) struct Repeats {
    buckets: Vec<BufWriter<SpooledTempFile>>,
    count: u64,
}

/// The positions of repeats, as bits.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    bits: Vec<u8>,
    count: u64,
}

impl Repeats {
    /// Adds the next id.
    pub(super) fn push(&mut self, id: &str) -> io::Result<()> {
        if self.buckets.is_empty() {
            let bucket = || BufWriter::with_capacity(4096, SpooledTempFile::new(SPOOL_BYTES));
            self.buckets.resize_with(BUCKETS, bucket);
        }
        let hash = Sha256::digest(id);
        let bucket = hash.last().map_or(0, |byte| usize::from(*byte) % BUCKETS);
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.write_all(hash.get(..HASH_BYTES).unwrap_or_default())?;
            bucket.write_all(&self.count.to_be_bytes())?;
        }
        self.count += 1;
        Ok(())
    }

    /// Compares the ids.
    pub(super) fn finish(self) -> io::Result<Repeated> {
        let mut repeated = Repeated {
            bits: vec![0; usize::try_from(self.count / 8 + 1).unwrap_or(usize::MAX)],
            count: 0,
        };
        for bucket in self.buckets {
            let mut bucket = bucket.into_inner().map_err(|error| error.into_error())?;
            bucket.seek(SeekFrom::Start(0))?;
            let mut bucket = BufReader::new(bucket);
            let mut entries = Vec::new();
            let (mut hash, mut position) = ([0; HASH_BYTES], [0; POSITION_BYTES]);
            loop {
                match bucket.read_exact(&mut hash) {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                    read => read?,
                }
                bucket.read_exact(&mut position)?;
                entries.push((hash, u64::from_be_bytes(position)));
            }
            // Among equal hashes, the first position comes first.
            entries.sort_unstable();
            for pair in entries.windows(2) {
                if let [(hash, _), (same, position)] = pair
                    && hash == same
                {
                    repeated.insert(*position);
                }
            }
        }
        Ok(repeated)
    }
}

impl Repeated {
    fn insert(&mut self, position: u64) {
        let (byte, bit) = place(position);
        if let Some(byte) = self.bits.get_mut(byte) {
            *byte |= bit;
            self.count += 1;
        }
    }

    pub(super) fn contains(&self, position: u64) -> bool {
        let (byte, bit) = place(position);
        self.bits.get(byte).is_some_and(|byte| byte & bit != 0)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

fn place(position: u64) -> (usize, u8) {
    let byte = usize::try_from(position / 8).unwrap_or(usize::MAX);
    (byte, 1 << (position % 8))
}
