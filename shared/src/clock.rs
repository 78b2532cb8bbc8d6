//! The one place that reads the clock.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest time that an invocation may take ("Lambda quotas", AWS Lambda Developer Guide).
const LONGEST_INVOCATION: TimeDelta = TimeDelta::minutes(15);

/// Returns an invocation's deadline, which Lambda gives in milliseconds since the Unix epoch.
///
/// `cargo lambda` always gives 600,000. No invocation ends in the first minutes of 1970, so a value
/// of at most 15 minutes is the time allowed from `now` on. As a time of day it would be over
/// already, and no work would ever begin.
pub fn deadline(millis: u64, now: DateTime<Utc>) -> DateTime<Utc> {
    let told = i64::try_from(millis).map_or(TimeDelta::MAX, TimeDelta::milliseconds);
    let start = if told <= LONGEST_INVOCATION {
        now
    } else {
        DateTime::UNIX_EPOCH
    };
    start
        .checked_add_signed(told)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Returns a time as the API shows it: RFC 3339, UTC, whole seconds.
pub(crate) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Returns how long to wait before a call is repeated that has failed `failures` times: with full
/// jitter, any time up to a bound. The bound is `first` after the first failure, twice as long
/// after each further one, and `most` in the end ("Exponential Backoff And Jitter", AWS
/// Architecture Blog).
pub(crate) fn back_off(first: Duration, most: Duration, failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    let bound = first.saturating_mul(doubled).min(most);
    bound.mul_f64(fastrand::f64())
}

/// Where handlers get the time from: the system, or a clock that a test moves by hand.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A clock that stands still until a test moves it.
    Manual(ManualClock),
    /// Tokio's clock. A simulation pauses it, and time then jumps to the next timer.
    Tokio(TokioClock),
}

/// The time that has passed on tokio's clock since this one was made, added to a given moment.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    epoch: DateTime<Utc>,
    start: tokio::time::Instant,
}

/// A clock that stands still until it is moved. Clones share the time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<DateTime<Utc>>>);

impl Clock {
    /// Returns the current time.
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
    /// Waits for `time`.
    ///
    /// A manual clock does not wait: it moves forward by `time`.
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
    /// Returns a clock that shows `time` now.
    pub fn starting_at(time: DateTime<Utc>) -> Self {
        Self {
            epoch: time,
            start: tokio::time::Instant::now(),
        }
    }
}

impl ManualClock {
    /// Returns a clock that stands at `time`.
    pub fn at(time: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(time)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_deadline_is_a_moment_or_else_the_time_that_cargo_lambda_allows() {
        let now = at("2024-05-21T12:00:00Z");
        for (millis, expected) in [
            (1_716_292_829_000, "2024-05-21T12:00:29Z"),
            // Already over.
            (1_716_292_799_000, "2024-05-21T11:59:59Z"),
            (600_000, "2024-05-21T12:10:00Z"),
            (900_000, "2024-05-21T12:15:00Z"),
            (900_001, "1970-01-01T00:15:00.001Z"),
        ] {
            assert_eq!(deadline(millis, now), at(expected), "{millis}");
        }
        assert_eq!(deadline(u64::MAX, now), DateTime::<Utc>::MAX_UTC);
    }

    #[test]
    fn the_longest_wait_doubles_with_each_failure_up_to_its_limit() {
        fastrand::seed(1);
        let (first, most) = (Duration::from_millis(20), Duration::from_millis(150));
        for (failures, bound) in [(1, 20), (2, 40), (3, 80), (4, 150), (100, 150)] {
            let waits: Vec<_> = (0..100).map(|_| back_off(first, most, failures)).collect();
            let bound = Duration::from_millis(bound);
            assert!(waits.iter().all(|wait| *wait <= bound), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait > bound.mul_f64(0.9)));
            assert!(waits.iter().any(|wait| *wait < bound.mul_f64(0.1)));
        }
    }
}
