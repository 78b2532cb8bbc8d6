//! When a message comes back that the worker did not finish.

use aws_lambda_events::sqs::SqsMessage;
use std::ops::Range;
use std::time::Duration;

/// Seconds until work comes back that there was no time to begin.
const SOON: Range<f64> = 1.0..5.0;
/// Seconds until work comes back whose task could not be read or written: the table throttles or is
/// out of reach.
const PAUSE: Range<f64> = 5.0..15.0;
/// How long after a lease a message comes back. One that comes while the lease is in force is
/// dropped.
const AFTER_LEASE: Duration = Duration::from_secs(1);
/// Of a message received `n` times the next delay is at least `n * n` seconds divided by this. So a
/// thousand receives, which SQS allows before it moves a message to the dead-letter queue, take
/// longer than the four days that the queue keeps a message: a healthy message never arrives there,
/// however long its index or the table throttles. Up to thirty receives this is less than a second.
const RECEIVES_DIVISOR: f64 = 960.0;

/// When a message comes back, by why it was not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redelivery {
    /// There was no time to begin the work.
    Soon,
    /// The turn of its index is far: this is when the message is worth another receive.
    Turn(Duration),
    /// Its store has asked not to be called for so long.
    AfterStorePause(Duration),
    /// What it depends on failed, and no claim was made.
    AfterPause,
    /// A claim may be in force, and nobody can work on the chunk before its lease is over.
    AfterLease,
}

/// How long until a message comes back that was received so many times. `lease`: what is left of a
/// lease that may be in force. Delays have jitter, so that messages that ended together do not come
/// back together.
pub(super) fn delay(redelivery: Redelivery, lease: Duration, receives: u32) -> Duration {
    let delay = match redelivery {
        Redelivery::Soon => within(SOON),
        Redelivery::Turn(after) => after,
        Redelivery::AfterStorePause(pause) => pause + within(SOON),
        Redelivery::AfterPause => within(PAUSE),
        Redelivery::AfterLease => lease + AFTER_LEASE,
    };
    delay.max(least_after(receives))
}

fn within(seconds: Range<f64>) -> Duration {
    Duration::from_secs_f64(seconds.start + (seconds.end - seconds.start) * fastrand::f64())
}

fn least_after(receives: u32) -> Duration {
    Duration::from_secs_f64(f64::from(receives).powi(2) / RECEIVES_DIVISOR)
}

/// How often a message was received, as SQS counts it.
pub(super) fn receives(record: &SqsMessage) -> u32 {
    let count = record.attributes.get("ApproximateReceiveCount");
    count.and_then(|count| count.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_outlives_the_queues_retention_before_its_receives_are_used_up() {
        // `MessageRetentionPeriod` and `maxReceiveCount` in `template.yaml`.
        let (retention, most_receives) = (Duration::from_secs(345_600), 1_000);
        let lived: Duration = (1..=most_receives).map(least_after).sum();
        assert!(lived > retention, "{lived:?}");
    }

    #[test]
    fn work_comes_back_when_it_can_be_of_use() {
        let lease = Duration::from_secs(40);
        for (redelivery, expected) in [
            (Redelivery::Soon, 1..=5),
            (Redelivery::Turn(Duration::from_secs(3)), 3..=3),
            (
                Redelivery::AfterStorePause(Duration::from_secs(60)),
                61..=65,
            ),
            (Redelivery::AfterPause, 5..=15),
            (Redelivery::AfterLease, 41..=41),
        ] {
            for receives in 0..30 {
                let seconds = delay(redelivery, lease, receives).as_secs_f64();
                assert!(
                    expected.contains(&(seconds.round() as u64)),
                    "{redelivery:?}: {seconds}"
                );
            }
        }
        assert!(delay(Redelivery::Soon, lease, 500) > Duration::from_secs(260));
    }
}
