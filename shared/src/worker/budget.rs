//! The time of an invocation: whether a call to a store may begin, how long it may take, and how
//! long to wait before the next.

use crate::aws::VECTOR_CALL_TIMEOUT;
use crate::clock::Clock;
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
    /// It waits for the pause that the store has asked for, and then with full jitter over an
    /// exponential bound ("Exponential Backoff And Jitter", AWS Architecture Blog). Returns `false`
    /// at once if there is no time for it, or if the pause is too long to hold the work.
    pub(super) async fn back_off(&self, calls: u32, pause: Duration) -> bool {
        let bound = FIRST_BACKOFF * (1 << calls.saturating_sub(1).min(8));
        let wait = pause + bound.min(MAX_BACKOFF).mul_f64(fastrand::f64());
        let has_time = self.left() >= MIN_TIME + TimeDelta::from_std(wait).unwrap_or(MIN_TIME);
        if pause > MAX_BACKOFF || !has_time {
            return false;
        }
        self.clock.sleep(wait).await;
        true
    }
}
