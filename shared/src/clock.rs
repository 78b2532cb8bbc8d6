//! The one place that reads the clock.

use chrono::{DateTime, TimeDelta, Utc};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The moment `millis` milliseconds after 1970 began: how Lambda tells an invocation's deadline.
pub fn from_millis(millis: u64) -> DateTime<Utc> {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Where handlers get the time from: the system, or a clock that a test moves by hand.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A clock that stands still until it is moved.
    Manual(ManualClock),
    /// Tokio's clock, which a simulation pauses: it runs as fast as everything waits.
    Tokio(TokioClock),
}

/// The time on tokio's clock since it was made, counted from a given moment.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    epoch: DateTime<Utc>,
    start: tokio::time::Instant,
}

/// A clock that stands still until it is moved. Clones share the time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<DateTime<Utc>>>);

impl Clock {
    /// The time now.
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now(),
            Self::Manual(clock) => *clock.0.lock().unwrap_or_else(PoisonError::into_inner),
            Self::Tokio(clock) => {
                let passed = TimeDelta::from_std(clock.start.elapsed());
                clock.epoch + passed.unwrap_or(TimeDelta::MAX)
            }
        }
    }
}

impl Clock {
    /// Waits. On a clock that is moved by hand nobody waits: it is moved on by as much.
    pub async fn sleep(&self, time: Duration) {
        match self {
            Self::System | Self::Tokio(_) => tokio::time::sleep(time).await,
            Self::Manual(clock) => {
                clock.advance(TimeDelta::from_std(time).unwrap_or_default());
                tokio::task::yield_now().await;
            }
        }
    }
}

impl TokioClock {
    /// A clock that stands at `time` now.
    pub fn starting_at(time: DateTime<Utc>) -> Self {
        Self {
            epoch: time,
            start: tokio::time::Instant::now(),
        }
    }
}

impl ManualClock {
    /// A clock that stands at `time`.
    pub fn at(time: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(time)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}
