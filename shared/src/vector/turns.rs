//! The turns of deletes on one index, among all processes.
//!
//! A process whose own demand is below a tenth of the quota keeps to its own pace (`pace.rs`). A
//! process with more demand takes grants of the index's time from an item that all workers share,
//! and a delete waits for the grant that pays for it. This module does not access the table:
//! [`Turns::reserve`] says when a grant is needed, and the caller requests it. If there is no
//! response, the process falls back to its own pace for a while.
//!
//! The worker does not wait for a turn that is far away. The work goes back to the queue, and
//! [`Turns::come_back`] says when it is worth trying again. Each process lines up the work that it
//! hands back at the rate of the whole quota. So the messages of an index come back once for each
//! process in the time that the index needs for all of them. That is often enough that an index is
//! not idle while its work waits. The longer the backlog is, the less often each message comes
//! back.

use super::pace::{Pace, Quota, Time};
use chrono::{DateTime, Utc};
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A process with less demand than this in a second takes no grants. It is a tenth of the quota.
const UNSHARED_DEMAND: Duration = Duration::from_millis(100);
/// How far back demand counts: after this time only 1/e of it still counts.
const DEMAND_TIME: Duration = Duration::from_secs(1);
/// The longest grant for several small calls. Such a grant is a quarter of the time that was
/// recently reserved in a second, up to this.
const LARGEST_SHARED_GRANT: Duration = Duration::from_millis(250);
/// How long granted time can still be used after it has passed. Used later, it would come on top of
/// what others use then.
const LATE: Duration = Duration::from_millis(300);
/// The most time that a moment without deletes saves for later ones.
const MAX_BURST: Duration = Duration::from_millis(200);
/// How long no grant is requested after a request for one got no response.
const UNSHARED_TIME: Duration = Duration::from_secs(5);
/// The weight of earlier checks, in objects, when the part of the objects that are present is
/// estimated.
const REMEMBERED: usize = 500;
/// The factor by which more objects are expected to be present than the estimate says. What a turn
/// does not use is given back.
const MARGIN: f64 = 1.1;
/// The shortest time after which work that was handed back comes back. SQS counts in seconds.
const SOONEST: Duration = Duration::from_secs(1);
/// The longest such time. It is bounded because the length of a backlog is only estimated.
const LATEST: Duration = Duration::from_secs(600);

/// The turns of deletes on one index, in one process.
pub struct Turns {
    address: String,
    quota: Quota,
    pace: Pace,
    burst: Duration,
    state: Mutex<State>,
    asking: tokio::sync::Mutex<()>,
    first_check: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The time that was recently reserved, and when this was last computed.
    demand: (Time, Duration),
    /// The index's time that was granted to this process, in order.
    granted: VecDeque<Range<Time>>,
    /// The end of the index's time that is known to be granted to anybody.
    taken_until: Time,
    /// Until then no grant is requested, since a request got no response.
    unshared_until: Time,
    /// The place in line of the last message that was handed back.
    line_until: Time,
    /// The part of the recently checked objects that were present.
    present: Option<f64>,
}

/// The result of a request for a turn.
#[derive(Debug)]
pub enum Reserved {
    /// The turn is reserved.
    Turn(Turn),
    /// The turn is further away than the caller waits.
    Far,
    /// A grant is needed first. Request it, report the result by [`Turns::granted`],
    /// [`Turns::taken`] or [`Turns::unanswered`], and reserve again.
    NeedsGrant(Needed),
}

/// The grant that a turn needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// How much of the index's time is needed.
    pub time: Duration,
    /// How far in the past the granted time may begin.
    pub burst: Duration,
    /// Whether nobody seems to have taken a grant lately.
    pub is_idle: bool,
}

/// A reserved turn. When it is dropped, the part that was not used is given back.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    at: Time,
    units: usize,
    used: usize,
    is_granted: bool,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns")
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

impl Turns {
    /// The turns of the index at `address`, whose rate limit is `quota`.
    pub(super) fn new(address: String, quota: Quota) -> Self {
        let burst = quota.cost(quota.most_units()).min(MAX_BURST);
        Self {
            address,
            quota,
            pace: Pace::new(quota, burst),
            burst,
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            first_check: tokio::sync::Mutex::default(),
        }
    }

    /// The address of the index, which no other index has.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The most objects of one delete: as many as the quota of a second.
    pub fn most(&self) -> usize {
        self.quota.most_units()
    }

    /// Returns the lock to hold while requesting a grant. One process has one request in flight at
    /// a time, since the same grant may have enough time for others.
    pub async fn asking(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    /// Returns the lock to hold during the first existence check in the index. The other callers in
    /// this process wait for that check, but no longer than `longest`, so that they know what to
    /// expect.
    pub async fn first_check(&self, longest: Duration) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if self.state().present.is_some() {
            return None;
        }
        let first = tokio::time::timeout(longest, self.first_check.lock()).await;
        first.ok().filter(|_| self.state().present.is_none())
    }

    /// How many of `objects` are likely to need a delete, estimated from recent existence checks in
    /// the index: at least one, and all of them before the first check.
    pub fn expected(&self, objects: usize) -> usize {
        let present = self.state().present.unwrap_or(1.0);
        let expected = (MARGIN * objects as f64 * present).ceil() as usize;
        expected.clamp(1, objects.max(1))
    }

    /// Records that an existence check found `present` of `objects`.
    pub fn found(&self, present: usize, objects: usize) {
        if objects == 0 {
            return;
        }
        let mut state = self.state();
        let found = present as f64 / objects as f64;
        let before = state.present.unwrap_or(found);
        let weight = objects as f64 / (objects + REMEMBERED) as f64;
        state.present = Some(before + (found - before) * weight);
    }

    /// Reserves the next delete of `objects`, if its turn comes within `longest`.
    pub fn reserve(
        self: &Arc<Self>,
        objects: usize,
        longest: Duration,
        now: DateTime<Utc>,
    ) -> Reserved {
        let now = since_epoch(now);
        let units = objects.min(self.most());
        let cost = self.quota.cost(units);
        let mut state = self.state();
        let demand = state.demand_at(now);
        let is_shared = now >= state.unshared_until && demand + cost > UNSHARED_DEMAND;
        let granted_at = if is_shared {
            match state.start_of(cost, now) {
                Ok(at) => at.max(now),
                // The turn is known to be far away.
                Err(_) if state.taken_until > now + longest => return Reserved::Far,
                Err(missing) => {
                    return Reserved::NeedsGrant(Needed {
                        time: missing.max((demand / 4).min(LARGEST_SHARED_GRANT)),
                        burst: self.burst,
                        is_idle: state.taken_until < now.saturating_sub(self.burst),
                    });
                }
            }
        } else {
            now
        };
        if granted_at > now + longest {
            return Reserved::Far;
        }
        let Some(wait) = self.pace.reserve(units, longest, now) else {
            return Reserved::Far;
        };
        if is_shared {
            state.take(cost);
        }
        if is_shared && granted_at == now {
            // Nobody else was waiting, so the line of what is handed back starts anew.
            state.line_until = now;
        }
        state.demand = (now, demand + cost);
        Reserved::Turn(Turn {
            turns: Arc::clone(self),
            at: granted_at.max(now + wait),
            units,
            used: 0,
            is_granted: is_shared,
        })
    }

    /// Whether a turn is known to be further away than `longest`, without reserving one.
    pub fn is_far(&self, longest: Duration, now: DateTime<Utc>) -> bool {
        let now = since_epoch(now);
        let mut state = self.state();
        state.forget_late(now);
        now >= state.unshared_until && state.granted.is_empty() && state.taken_until > now + longest
    }

    /// Records that this time of the index was granted to this process.
    pub fn granted(&self, time: &Range<DateTime<Utc>>) {
        let time = since_epoch(time.start)..since_epoch(time.end);
        let mut state = self.state();
        state.taken_until = state.taken_until.max(time.end);
        state.add(time);
    }

    /// Records that no grant was made, since the index's time is granted until then.
    pub fn taken(&self, until: DateTime<Utc>) {
        self.state().taken_until = since_epoch(until);
    }

    /// Records that a request for a grant got no response.
    pub fn unanswered(&self, now: DateTime<Utc>) {
        self.state().unshared_until = since_epoch(now) + UNSHARED_TIME;
    }

    /// Records that the store throttled a delete that began at `began`.
    pub fn throttled(&self, began: DateTime<Utc>, now: DateTime<Utc>) {
        self.pace.throttled(since_epoch(began), since_epoch(now));
    }

    /// After how long work on `objects` should come back if its turn is further away than
    /// `longest`.
    pub fn come_back(&self, objects: usize, longest: Duration, now: DateTime<Utc>) -> Duration {
        let now = since_epoch(now);
        let cost = self.quota.cost(objects);
        let mut state = self.state();
        let place = state.line_until.max(now + longest) + cost;
        let after = place.saturating_sub(now + longest);
        if after > LATEST {
            return LATEST.mul_f64(0.5 + 0.5 * fastrand::f64());
        }
        state.line_until = place;
        // Early rather than late: early work may wait for its turn, late work leaves the index
        // idle.
        Duration::from_secs(after.as_secs()).max(SOONEST)
    }

    /// Whether these turns can be forgotten: new ones would behave the same.
    pub(super) fn are_at_rest(&self, now: DateTime<Utc>) -> bool {
        let now = since_epoch(now);
        let state = self.state();
        self.pace.is_at_rest(now) && state.line_until <= now && state.taken_until <= now
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The time that was recently reserved in a second.
    fn demand_at(&self, now: Time) -> Duration {
        let (at, demand) = self.demand;
        let passed = now.saturating_sub(at).div_duration_f64(DEMAND_TIME);
        demand.mul_f64((-passed).exp())
    }

    fn forget_late(&mut self, now: Time) {
        self.granted.retain(|time| time.end + LATE >= now);
    }

    /// When a call of this cost may start within the granted time; or how much time is missing.
    fn start_of(&mut self, cost: Duration, now: Time) -> Result<Time, Duration> {
        self.forget_late(now);
        let mut missing = cost;
        for time in &self.granted {
            let length = time.end.saturating_sub(time.start);
            if missing <= length {
                return Ok((time.start + missing).saturating_sub(cost));
            }
            missing -= length;
        }
        Err(missing)
    }

    /// Uses this much of the granted time, the earliest first.
    fn take(&mut self, cost: Duration) {
        let mut missing = cost;
        while let Some(time) = self.granted.front_mut() {
            let length = time.end.saturating_sub(time.start);
            if missing < length {
                time.start += missing;
                return;
            }
            missing -= length;
            self.granted.pop_front();
        }
    }

    fn add(&mut self, time: Range<Time>) {
        let later = self
            .granted
            .partition_point(|other| other.start <= time.start);
        self.granted.insert(later, time);
    }
}

impl Turn {
    /// How long to wait until the turn comes.
    pub fn wait(&self, now: DateTime<Utc>) -> Duration {
        self.at.saturating_sub(since_epoch(now))
    }

    /// Whether the turn is long enough for a delete of `objects`.
    pub fn is_enough_for(&self, objects: usize) -> bool {
        objects <= self.units
    }

    /// Whether the turn came so long ago that it is lost.
    pub fn has_passed(&self, now: DateTime<Utc>) -> bool {
        self.at + LATE < since_epoch(now)
    }

    /// Uses the turn for a delete of `objects`.
    pub fn use_for(mut self, objects: usize) {
        self.used = objects;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.used >= self.units {
            return;
        }
        let cost = |units| self.turns.quota.cost(units);
        let used = if self.used == 0 {
            Duration::ZERO
        } else {
            cost(self.used)
        };
        let unused = cost(self.units).saturating_sub(used);
        self.turns.pace.give_back(unused);
        let mut state = self.turns.state();
        state.demand.1 = state.demand.1.saturating_sub(unused);
        if self.is_granted {
            state.add(self.at + used..self.at + used + unused);
        }
    }
}

fn since_epoch(time: DateTime<Utc>) -> Time {
    Duration::from_micros(u64::try_from(time.timestamp_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
