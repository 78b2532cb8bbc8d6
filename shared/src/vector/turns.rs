//! The turns of deletes on one index, whoever works.
//!
//! A process whose own demand is below a tenth of the quota keeps to its own pace (`pace.rs`). One
//! with more takes grants of the index's time from an item that all workers share, and a delete
//! waits for the grant that pays for it. The caller asks for the grant, since this module knows no
//! table: [`Turns::reserve`] says when one is needed. Where there is no response, the process falls
//! back to its own pace for a while.
//!
//! A turn that is far is not waited for. The work goes back to the queue, and [`Turns::come_back`]
//! says when it is worth trying again. Each process lines up what it hands back at the rate of the
//! whole quota. So the messages of an index come back once for each process in the time that the
//! index needs for all of them: often enough that an index is not idle while its work waits, and
//! the less often the longer its backlog is.

use super::pace::{Pace, Quota, Time};
use chrono::{DateTime, Utc};
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// With a demand of less than this in a second, a process takes no grants: a tenth of the quota.
const UNSHARED_DEMAND: Duration = Duration::from_millis(100);
/// How far back demand counts: a second later all but 1/e of it is forgotten.
const DEMAND_TIME: Duration = Duration::from_secs(1);
/// A grant that many small calls share is the time for a quarter of what was lately used in a
/// second, up to this.
const LARGEST_SHARED_GRANT: Duration = Duration::from_millis(250);
/// Time that was not used for so long is lost: used later, it would come on top of what others use
/// then.
const LATE: Duration = Duration::from_millis(300);
/// The most time that a moment without deletes saves for the next.
const MAX_BURST: Duration = Duration::from_millis(200);
/// After no response to a request for a grant, none is asked for in this time.
const UNSHARED_TIME: Duration = Duration::from_secs(5);
/// About so many objects, those checked last, decide which part is likely to be present.
const REMEMBERED: usize = 500;
/// What is expected to be present is a little more than that: what a turn does not use is given
/// back.
const MARGIN: f64 = 1.1;
/// The nearest that work comes back which was handed back: SQS counts in seconds.
const SOONEST: Duration = Duration::from_secs(1);
/// The latest that it does. How long a backlog lasts is an estimate.
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
    /// What was reserved lately, and when it was last reckoned.
    demand: (Time, Duration),
    /// Time of the index that is ours, in order.
    granted: VecDeque<Range<Time>>,
    /// Until when the index's time is given away, as far as is known.
    taken_until: Time,
    /// Until then no grant is asked for, since there was no response.
    unshared_until: Time,
    /// Where the last message that was handed back has its place.
    line_until: Time,
    /// The part of the objects checked lately that were present.
    present: Option<f64>,
}

/// What a request for a turn comes to.
#[derive(Debug)]
pub enum Reserved {
    /// It has its turn.
    Turn(Turn),
    /// Its turn is further away than the caller waits.
    Far,
    /// A grant is needed first, of so much time. Tell [`Turns::granted`], [`Turns::taken`] or
    /// [`Turns::unanswered`], and ask again.
    NeedsGrant(Needed),
}

/// The grant that a turn needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// How much of the index's time.
    pub time: Duration,
    /// How long ago it may have begun.
    pub burst: Duration,
    /// Whether nobody seems to have taken a grant lately.
    pub is_idle: bool,
}

/// A reserved turn. What of it is not used when it is dropped is given back.
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
    /// Those of the index at `address`, which takes `quota`.
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

    /// What names the index among all of them.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The most objects of one delete: those of a second.
    pub fn most(&self) -> usize {
        self.quota.most_units()
    }

    /// Held by who asks for a grant, so that one process asks once at a time: others may find their
    /// time in the same grant.
    pub async fn asking(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    /// Held by who makes the first existence check in the index, so that the others of this process
    /// know what to expect. They wait for it, but no longer than `longest`.
    pub async fn first_check(&self, longest: Duration) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if self.state().present.is_some() {
            return None;
        }
        let first = tokio::time::timeout(longest, self.first_check.lock()).await;
        first.ok().filter(|_| self.state().present.is_none())
    }

    /// How many of so many objects are likely to need a delete, by what was lately found present in
    /// the index; all of them before the first check. At least one.
    pub fn expected(&self, objects: usize) -> usize {
        let present = self.state().present.unwrap_or(1.0);
        let expected = (MARGIN * objects as f64 * present).ceil() as usize;
        expected.clamp(1, objects.max(1))
    }

    /// An existence check found so many of so many objects present.
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

    /// Reserves the next delete of so many objects, if its turn comes within `longest`.
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
                // It is known to be far.
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
            // Nobody else was waiting: what was handed back before may come back at once.
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

    /// This time of the index is ours.
    pub fn granted(&self, time: &Range<DateTime<Utc>>) {
        let time = since_epoch(time.start)..since_epoch(time.end);
        let mut state = self.state();
        state.taken_until = state.taken_until.max(time.end);
        state.add(time);
    }

    /// The index's time is given away until then.
    pub fn taken(&self, until: DateTime<Utc>) {
        self.state().taken_until = since_epoch(until);
    }

    /// There was no response to a request for a grant.
    pub fn unanswered(&self, now: DateTime<Utc>) {
        self.state().unshared_until = since_epoch(now) + UNSHARED_TIME;
    }

    /// The store throttled a delete that began at `began`.
    pub fn throttled(&self, began: DateTime<Utc>, now: DateTime<Utc>) {
        self.pace.throttled(since_epoch(began), since_epoch(now));
    }

    /// When work on so many objects is to come back whose turn is further away than `longest`.
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
        // Early rather than late: what comes early may wait for its turn, what comes late leaves
        // the index idle.
        Duration::from_secs(after.as_secs()).max(SOONEST)
    }

    /// Whether new turns would be no different.
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
    /// What was lately reserved in a second.
    fn demand_at(&self, now: Time) -> Duration {
        let (at, demand) = self.demand;
        let passed = now.saturating_sub(at).div_duration_f64(DEMAND_TIME);
        demand.mul_f64((-passed).exp())
    }

    fn forget_late(&mut self, now: Time) {
        self.granted.retain(|time| time.end + LATE >= now);
    }

    /// When a call that takes so much of the granted time may start; or how much is missing.
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

    /// Takes so much of the granted time, the earliest first.
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
    /// How long until it comes.
    pub fn wait(&self, now: DateTime<Utc>) -> Duration {
        self.at.saturating_sub(since_epoch(now))
    }

    /// Whether it is long enough for a delete of so many objects.
    pub fn is_enough_for(&self, objects: usize) -> bool {
        objects <= self.units
    }

    /// Whether it came so long ago that it is lost.
    pub fn has_passed(&self, now: DateTime<Utc>) -> bool {
        self.at + LATE < since_epoch(now)
    }

    /// Uses it, for a delete of so many objects.
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
