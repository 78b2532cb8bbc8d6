//! Going no faster than a vector index takes.
//!
//! A call costs the index some time: how much follows from its quota. Calls begin one after the other, each when those before it
//! are paid for (the generic cell rate algorithm, ITU-T Recommendation I.371), so a long task hardly meets a refusal. One that is
//! refused all the same, since others use the index too, slows down those after it; the speed comes back along a cubic, slowly where
//! it was refused before and faster beyond (as in RFC 9438, "CUBIC for Fast and Long-Distance Networks").
//!
//! The pace is kept within a process. Workers in other processes are noticed by their refusals only.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Vectors inserted and deleted a second ("Limitations and restrictions" of S3 Vectors, Amazon S3 User Guide).
const VECTORS_PER_SECOND: u32 = 2_500;
/// PutVectors and DeleteVectors calls a second (the same page).
const WRITES_PER_SECOND: u32 = 1_000;
/// GetVectors calls a second. The guide promises "hundreds" ("S3 Vectors best practices"); this is twelve times what deletes
/// at their own pace need.
const READS_PER_SECOND: u32 = 300;

/// What is left of the speed after a refusal. An index takes few large calls a second, so a worker hears little of the
/// others: with less than this several of them together leave much of the quota unused (`tests/benches/vectors`).
const KEPT: f64 = 0.85;
/// The speed never falls below this part of the quota.
const SLOWEST: f64 = 0.02;
/// The time until the speed is again what it was before a refusal.
const RECOVERY: Duration = Duration::from_secs(10);

/// What one index takes in a second: calls, and what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    requests: u32,
    units: u32,
}

impl Quota {
    /// For writes, whose units are vectors: the service's own figures where none are given.
    pub(super) fn of_writes(vectors: Option<u32>, requests: Option<u32>) -> Self {
        Self {
            requests: requests.unwrap_or(WRITES_PER_SECOND),
            units: vectors.unwrap_or(VECTORS_PER_SECOND),
        }
    }

    /// For reads that are made together: their units are the calls, whose keys do not count.
    pub(super) const fn of_reads() -> Self {
        Self {
            requests: READS_PER_SECOND,
            units: READS_PER_SECOND,
        }
    }

    /// The time of the index that a call of so many units takes.
    fn cost(self, units: usize) -> Duration {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let by_request = Duration::from_secs(1) / self.requests;
        by_request.max(Duration::from_secs(1) * units / self.units)
    }
}

/// The pace of one kind of call to one index.
#[derive(Debug)]
pub(super) struct Pace {
    quota: Quota,
    /// How far ahead of the quota a burst may be: what an idle moment left unused is not lost.
    burst: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// When all calls so far are paid for.
    paid_at: Instant,
    /// The last refusal that counted, and the speed before it.
    refused: Option<(Instant, f64)>,
}

impl State {
    /// The part of the quota that is used now.
    fn speed(&self, now: Instant) -> f64 {
        let Some((at, before)) = self.refused else {
            return 1.0;
        };
        let time = now.duration_since(at).div_duration_f64(RECOVERY);
        let speed = before * (1.0 + (1.0 - KEPT) * (time - 1.0).powi(3));
        speed.clamp(SLOWEST, 1.0)
    }
}

impl Pace {
    /// A pace at full speed. `largest`: the most units of one call.
    pub(super) fn new(quota: Quota, largest: usize, now: Instant) -> Self {
        Self {
            quota,
            burst: quota.cost(largest),
            state: Mutex::new(State {
                paid_at: now,
                refused: None,
            }),
        }
    }

    /// Takes the next place for a call of so many units, and says how long to wait for it. `None`: it would be longer
    /// than `longest`, and no place is taken.
    pub(super) fn reserve(
        &self,
        units: usize,
        longest: Duration,
        now: Instant,
    ) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = state.paid_at.saturating_duration_since(now);
        let wait = owed.saturating_sub(self.burst);
        if wait > longest {
            return None;
        }
        let cost = self.quota.cost(units).div_f64(state.speed(now));
        state.paid_at = now + owed + cost;
        Some(wait)
    }

    /// Whether all calls are paid for and the speed is full: one made anew would be no different.
    pub(super) fn is_at_rest(&self, now: Instant) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.paid_at <= now && state.speed(now) >= 1.0
    }

    /// Slows down, since a call was refused. One that began before the last refusal says nothing of the speed since.
    pub(super) fn refused(&self, began: Instant, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.refused.is_none_or(|(at, _)| began > at) {
            state.refused = Some((now, state.speed(now)));
        }
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
