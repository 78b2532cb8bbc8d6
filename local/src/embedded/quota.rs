//! The rates that S3 Vectors accepts for each index. A call above them is throttled.
//!
//! The service documents the rates but not the burst. Here, a bucket holds the tokens of one
//! second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// "Combined PutVectors and DeleteVectors requests per second per vector index" ("Limitations and
/// restrictions" of S3 Vectors, Amazon S3 User Guide).
const WRITES_PER_SECOND: f64 = 1_000.0;
/// "Combined vectors inserted and deleted per second per vector index" (the same page).
const VECTORS_PER_SECOND: f64 = 2_500.0;
/// GetVectors, ListVectors and QueryVectors calls. "S3 Vectors best practices" promises "hundreds"
/// a second; a client cannot rely on more than this.
const READS_PER_SECOND: f64 = 300.0;

/// The remaining tokens of each index, by its name.
#[derive(Debug, Default)]
pub(super) struct Quotas(Mutex<HashMap<String, Index>>);

#[derive(Debug)]
struct Index {
    reads: Bucket,
    writes: Bucket,
    vectors: Bucket,
}

/// The cost of a call to its index.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cost {
    /// One read.
    Read,
    /// One write of this many vectors.
    Write(usize),
}

impl Quotas {
    /// Takes a call's cost if the index has enough tokens. Returns whether it had.
    pub(super) fn take(&self, index: &str, cost: Cost, now: Instant) -> bool {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = indexes.entry(index.to_owned()).or_insert_with(|| Index {
            reads: Bucket::full(READS_PER_SECOND, now),
            writes: Bucket::full(WRITES_PER_SECOND, now),
            vectors: Bucket::full(VECTORS_PER_SECOND, now),
        });
        match cost {
            Cost::Read => index.reads.take(1.0, now),
            Cost::Write(vectors) => {
                let vectors = f64::from(u32::try_from(vectors).unwrap_or(u32::MAX));
                // A throttled call costs nothing, so check the vectors before taking a write.
                index.vectors.has(vectors, now)
                    && index.writes.take(1.0, now)
                    && index.vectors.take(vectors, now)
            }
        }
    }
}

/// A token bucket that holds the tokens of one second.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(per_second: f64, now: Instant) -> Self {
        Self {
            per_second,
            tokens: per_second,
            at: now,
        }
    }

    fn has(&mut self, tokens: f64, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.per_second);
        self.at = now;
        self.tokens >= tokens
    }

    fn take(&mut self, tokens: f64, now: Instant) -> bool {
        let has = self.has(tokens, now);
        if has {
            self.tokens -= tokens;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// How many of `calls` calls, spread evenly over `time`, are accepted.
    fn taken(cost: Cost, calls: u32, time: Duration) -> u32 {
        let (quotas, began) = (Quotas::default(), Instant::now());
        let at = |call| began + time * call / calls;
        (0..calls)
            .map(|call| u32::from(quotas.take("index", cost, at(call))))
            .sum()
    }

    #[test]
    fn no_more_vectors_and_calls_are_taken_than_a_second_has() {
        let seconds = Duration::from_secs;
        // The bucket is full at the start.
        assert_eq!(taken(Cost::Write(500), 1_000, seconds(9)), 5 * 10 - 1);
        assert!((9_990..=10_000).contains(&taken(Cost::Write(1), 100_000, seconds(9))));
        assert!((2_990..=3_000).contains(&taken(Cost::Read, 100_000, seconds(9))));
        assert_eq!(taken(Cost::Write(500), 50, seconds(10)), 50, "at the rate");
    }

    #[test]
    fn each_index_has_a_quota_of_its_own() {
        let (quotas, now) = (Quotas::default(), Instant::now());
        let all = Cost::Write(2_500);
        assert!(quotas.take("a", all, now));
        assert!(!quotas.take("a", all, now));
        assert!(quotas.take("b", all, now));
    }

    #[test]
    fn a_call_that_is_refused_costs_nothing() {
        let (quotas, now) = (Quotas::default(), Instant::now());
        for _ in 0..2_000 {
            assert!(!quotas.take("index", Cost::Write(2_501), now));
        }
        assert!(quotas.take("index", Cost::Write(2_500), now));
    }
}
