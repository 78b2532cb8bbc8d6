//! The time of an invocation: whether a call to a store may begin, how long it may take, and how
//! long to wait before the next.

use crate::aws::VECTOR_CALL_TIMEOUT;
use crate::clock::{Clock, back_off};
use crate::vector::{VectorError, VectorErrorKind};
use chrono::{DateTime, TimeDelta, Utc};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The longest wait before the second call. It doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// The longest wait before any call, on top of a pause that a store asks for.
///
/// The worker does not wait for a longer pause.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// A call that got less time than this and timed out is not a failure of the store.
const FAIR_CALL_TIME: Duration = Duration::from_secs(2);
/// No call is begun with less time left than this.
const MIN_TIME: TimeDelta = TimeDelta::seconds(2);

/// The time that an invocation has left.
///
/// A call gets at most half of it, so that its result can still be recorded.
pub(super) struct Budget {
    deadline: DateTime<Utc>,
    clock: Clock,
    slots: Arc<Semaphore>,
}

/// A place among the calls to vector stores that a process makes at once.
///
/// It is held during a call, and at no other time.
pub(super) struct Slot(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Budget {
    pub(super) fn new(deadline: DateTime<Utc>, clock: Clock, slots: &Arc<Semaphore>) -> Self {
        Self {
            deadline,
            clock,
            slots: Arc::clone(slots),
        }
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    fn left(&self) -> TimeDelta {
        self.deadline - self.clock.now()
    }

    /// Returns whether there is time for one more call to a store, and for recording its result.
    pub(super) fn allows_a_call(&self) -> bool {
        self.left() >= MIN_TIME
    }

    /// Returns the longest wait before a call.
    ///
    /// The wait leaves half of the time, but at least 4 s and at most 14 s. These are enough for a
    /// read of the task, the call and the settlement.
    pub(super) fn longest_wait(&self) -> Duration {
        let left = self.left().to_std().unwrap_or(Duration::ZERO);
        let (least, most) = (FAIR_CALL_TIME * 2, VECTOR_CALL_TIMEOUT + FAIR_CALL_TIME * 2);
        left.saturating_sub((left / 2).clamp(least, most))
    }

    /// Waits for a place for a call. Returns `None` if too little time would be left for the call.
    pub(super) async fn slot(&self) -> Option<Slot> {
        let slot = Arc::clone(&self.slots).acquire_owned();
        let slot = tokio::time::timeout(self.longest_wait(), slot).await;
        slot.ok()?.ok().map(Slot)
    }

    /// Makes a call as [`Self::call_in`] does, as soon as there is a place for it.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, VectorError>>,
    ) -> Result<T, VectorError> {
        match self.slot().await {
            Some(slot) => self.call_in(slot, call).await,
            None => Err(VectorError {
                kind: VectorErrorKind::OutOfTime,
                detail: "Other calls to vector stores took all of the time".to_owned(),
                code: "no slot".to_owned(),
                source: None,
            }),
        }
    }

    /// Makes a call in bounded time.
    ///
    /// A call that takes longer may have been carried out. It is a failure of the store only if the
    /// store had a fair time to respond.
    pub(super) async fn call_in<T>(
        &self,
        _slot: Slot,
        call: impl Future<Output = Result<T, VectorError>>,
    ) -> Result<T, VectorError> {
        let half = (self.left() / 2).to_std().unwrap_or(Duration::ZERO);
        let time = half.min(VECTOR_CALL_TIMEOUT);
        let kind = if time < FAIR_CALL_TIME {
            VectorErrorKind::OutOfTime
        } else {
            VectorErrorKind::Unanswered
        };
        tokio::time::timeout(time, call).await.unwrap_or_else(|_| {
            Err(VectorError {
                kind,
                detail: "The vector store did not respond in time".to_owned(),
                code: "timeout".to_owned(),
                source: None,
            })
        })
    }

    /// Waits until `time`. Returns `false` at once if no time would be left to record anything.
    pub(super) async fn wait_until(&self, time: DateTime<Utc>) -> bool {
        let wait = time - self.clock.now();
        if self.left() < wait + MIN_TIME {
            return false;
        }
        if let Ok(wait) = wait.to_std() {
            self.clock.sleep(wait).await;
        }
        true
    }

    /// Waits before call number `calls + 1`.
    ///
    /// It waits for the pause that the store has asked for, and then [backs off](back_off). Returns
    /// `false` at once if there is no time for it, or if the pause is too long to hold the work.
    pub(super) async fn back_off(&self, calls: u32, pause: Duration) -> bool {
        let wait = pause + back_off(FIRST_BACKOFF, MAX_BACKOFF, calls);
        let has_time = self.left() >= MIN_TIME + TimeDelta::from_std(wait).unwrap_or(MIN_TIME);
        if pause > MAX_BACKOFF || !has_time {
            return false;
        }
        self.clock.sleep(wait).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, TokioClock};
    use std::future::pending;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Returns a budget with this many seconds left, on a clock that only the budget moves.
    fn with(left: f64) -> Budget {
        let start = DateTime::UNIX_EPOCH;
        on(Clock::Manual(ManualClock::at(start)), left)
    }

    /// Returns a budget with this many seconds left, on tokio's clock.
    fn with_tokios_time(left: f64) -> Budget {
        let start = DateTime::UNIX_EPOCH;
        on(Clock::Tokio(TokioClock::starting_at(start)), left)
    }

    fn on(clock: Clock, left: f64) -> Budget {
        let deadline = clock.now() + TimeDelta::milliseconds((left * 1000.0) as i64);
        Budget::new(deadline, clock, &Arc::new(Semaphore::new(1)))
    }

    fn waited(budget: &Budget) -> Duration {
        (budget.clock.now() - DateTime::UNIX_EPOCH)
            .to_std()
            .unwrap()
    }

    #[test]
    fn a_call_begins_only_with_two_seconds_left() {
        assert!(with(2.0).allows_a_call());
        assert!(!with(1.999).allows_a_call());
    }

    #[test]
    fn a_wait_leaves_half_of_the_time_but_at_least_four_and_at_most_fourteen_seconds() {
        for (left, longest) in [
            (60.0, 46.0),
            (28.0, 14.0),
            (20.0, 10.0),
            (8.0, 4.0),
            (6.0, 2.0),
            (4.0, 0.0),
            (1.0, 0.0),
            (-1.0, 0.0),
        ] {
            assert_eq!(with(left).longest_wait(), seconds(longest), "{left} s left");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_gets_half_of_the_time_and_at_most_ten_seconds() {
        use VectorErrorKind::{OutOfTime, Unanswered};
        for (left, time, kind) in [
            (60.0, 10.0, Unanswered),
            (20.0, 10.0, Unanswered),
            (6.0, 3.0, Unanswered),
            (4.0, 2.0, Unanswered),
            (3.0, 1.5, OutOfTime),
        ] {
            let budget = with_tokios_time(left);
            let slot = budget.slot().await.unwrap();
            let error = budget.call_in(slot, pending::<Result<(), _>>()).await;
            assert_eq!(error.unwrap_err().kind, kind, "{left} s left");
            assert_eq!(waited(&budget).as_secs_f64(), time, "{left} s left");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_gets_no_place_in_time_is_not_made() {
        let budget = with_tokios_time(20.0);
        let _taken = budget.slot().await.unwrap();
        let error = budget.call(async { Ok(()) }).await.unwrap_err();
        assert_eq!(error.kind, VectorErrorKind::OutOfTime);
        assert_eq!(waited(&budget), seconds(10.0));
    }

    #[tokio::test]
    async fn a_wait_for_a_moment_needs_two_seconds_after_it() {
        let moment = DateTime::UNIX_EPOCH + TimeDelta::seconds(3);
        let budget = with(5.0);
        assert!(budget.wait_until(moment).await);
        assert_eq!(waited(&budget), seconds(3.0));
        let budget = with(4.999);
        assert!(!budget.wait_until(moment).await);
        assert_eq!(waited(&budget), seconds(0.0));
    }

    #[tokio::test]
    async fn the_wait_before_each_further_call_doubles_up_to_five_seconds() {
        for (calls, bound) in [(1, 0.2), (2, 0.4), (3, 0.8), (5, 3.2), (6, 5.0), (40, 5.0)] {
            let mut longest = Duration::ZERO;
            for _ in 0..100 {
                let budget = with(60.0);
                assert!(budget.back_off(calls, Duration::ZERO).await);
                longest = longest.max(waited(&budget));
            }
            let expected = seconds(bound / 2.0)..=seconds(bound);
            assert!(expected.contains(&longest), "{calls} calls: {longest:?}");
        }
    }

    #[tokio::test]
    async fn a_pause_of_up_to_five_seconds_is_kept_if_there_is_time_for_a_call_after_it() {
        for (pause, left, is_kept) in [
            (5.0, 60.0, true),
            (5.001, 60.0, false),
            (5.0, 7.3, true),
            (5.0, 6.999, false),
        ] {
            let budget = with(left);
            let kept = budget.back_off(1, seconds(pause)).await;
            assert_eq!(kept, is_kept, "{pause} s with {left} s left");
            assert_eq!(waited(&budget) >= seconds(pause), is_kept);
        }
    }
}
