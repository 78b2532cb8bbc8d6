//! Keeping to the rate limit of a vector index, within one process.
//!
//! Each call uses some of the index's time; how much follows from the quota. A call starts when the
//! calls before it are paid for (the generic cell rate algorithm, ITU-T Recommendation I.371). So
//! even a long task is rarely throttled.
//!
//! A call may be throttled nevertheless, because others use the index too. It slows down the calls
//! after it. The speed then recovers along a cubic function: slowly near the speed at which the
//! call was throttled, faster beyond it (as in RFC 9438, "CUBIC for Fast and Long-Distance
//! Networks").
//!
//! The pace belongs to one process. `turns.rs` shares the time of an index among the processes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The part of the speed that is kept after a throttled call. An index accepts only a few large
/// calls a second, so a worker learns little about the others. With a smaller part, several workers
/// together leave much of the quota unused (`tests/benches/vectors`).
const KEPT: f64 = 0.85;
/// The speed never falls below this part of the quota.
const SLOWEST: f64 = 0.02;
/// The time after which the speed is again what it was before the throttled call.
const RECOVERY: Duration = Duration::from_secs(10);

/// What one index accepts in a second: calls, and units in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Quota {
    requests: u32,
    units: u32,
}

impl Quota {
    /// A quota of so many units and so many calls a second.
    #[cfg(any(
        feature = "s3vectors",
        feature = "postgres",
        feature = "store-protocol"
    ))]
    pub(super) const fn new(units: u32, requests: u32) -> Self {
        Self { requests, units }
    }

    /// The most units of one call: as many as the quota of a second.
    pub(super) fn most_units(self) -> usize {
        usize::try_from(self.units).unwrap_or(usize::MAX)
    }

    /// How much of the index's time a call with this many units uses.
    pub(super) fn cost(self, units: usize) -> Duration {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let by_request = Duration::from_secs(1) / self.requests;
        by_request.max(Duration::from_secs(1) * units / self.units)
    }
}

/// A time since a moment that the caller chose once. The pace has no clock of its own.
pub(super) type Time = Duration;

/// The pace of one kind of call to one index.
#[derive(Debug)]
pub(super) struct Pace {
    quota: Quota,
    /// How far ahead of the quota calls may be, so that the time of an idle moment is not lost.
    burst: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// When all calls so far are paid for.
    paid_at: Time,
    /// When a call was last throttled (and counted), and the speed before that.
    throttled: Option<(Time, f64)>,
}

impl State {
    /// The part of the quota to use now.
    fn speed(&self, now: Time) -> f64 {
        let Some((at, before)) = self.throttled else {
            return 1.0;
        };
        let time = now.saturating_sub(at).div_duration_f64(RECOVERY);
        let speed = before * (1.0 + (1.0 - KEPT) * (time - 1.0).powi(3));
        speed.clamp(SLOWEST, 1.0)
    }
}

impl Pace {
    /// A pace at full speed. `burst`: how far ahead of the quota calls may be.
    pub(super) fn new(quota: Quota, burst: Duration) -> Self {
        Self {
            quota,
            burst,
            state: Mutex::new(State {
                paid_at: Time::ZERO,
                throttled: None,
            }),
        }
    }

    /// Reserves the next call with this many units, and returns how long to wait before it. `None`:
    /// the wait would be longer than `longest`, and nothing was reserved.
    pub(super) fn reserve(&self, units: usize, longest: Duration, now: Time) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = state.paid_at.saturating_sub(now);
        let wait = owed.saturating_sub(self.burst);
        if wait > longest {
            return None;
        }
        let cost = self.quota.cost(units).div_f64(state.speed(now));
        state.paid_at = now + owed + cost;
        Some(wait)
    }

    /// Gives back time that was reserved for a call and not used.
    pub(super) fn give_back(&self, time: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.paid_at = state.paid_at.saturating_sub(time);
    }

    /// Whether all calls are paid for and the speed is full. A new pace would behave the same.
    pub(super) fn is_at_rest(&self, now: Time) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.paid_at <= now && state.speed(now) >= 1.0
    }

    /// Slows down because a call was throttled. A call that began before the last throttled one was
    /// counted says nothing about the speed since then, so it does not count.
    pub(super) fn throttled(&self, began: Time, now: Time) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.throttled.is_none_or(|(at, _)| began > at) {
            state.throttled = Some((now, state.speed(now)));
        }
    }
}

#[cfg(test)]
mod tests;
