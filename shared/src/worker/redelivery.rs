//! The redelivery of messages that the worker did not finish.

use aws_lambda_events::sqs::SqsMessage;
use std::ops::Range;
use std::time::Duration;

/// The delay, in seconds, of work for which there was no time.
const SOON: Range<f64> = 1.0..5.0;
/// The delay, in seconds, of work whose task could not be read or written, since the table
/// throttles or is out of reach.
const PAUSE: Range<f64> = 5.0..15.0;
/// How long after the end of a lease a message comes back.
///
/// While the lease is in force it would be dropped.
const AFTER_LEASE: Duration = Duration::from_secs(1);
/// The divisor for the least delay: after `n` receives, a message is delayed by at least `n * n`
/// seconds divided by this.
///
/// SQS allows a thousand receives before it moves a message to the dead-letter queue. With these
/// delays they take longer than the four days for which the queue keeps a message. So a healthy
/// message never arrives there, however long its index or the table throttles. Up to thirty
/// receives the least delay is below a second.
const RECEIVES_DIVISOR: f64 = 960.0;

/// The reason why a message was not finished. It decides when the message comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redelivery {
    /// There was no time to begin the work.
    Soon,
    /// The turn of its index is far. The message is worth another receive after this time.
    Turn(Duration),
    /// Its store has asked not to be called for this time.
    AfterStorePause(Duration),
    /// What it depends on failed or the time was up, and no claim was made.
    AfterPause,
    /// A claim may be in force. Nobody can work on the chunk before the lease is over.
    AfterLease,
}

/// Returns the delay of a message that has been received `receives` times.
///
/// `lease` is the rest of a lease that may be in force. Delays have jitter, so that messages that
/// ended together do not come back together.
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

/// Returns how often a message was received, as SQS counts it.
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
    fn a_messages_receives_are_those_that_the_queue_has_counted() {
        let mut record = SqsMessage::default();
        assert_eq!(receives(&record), 1, "if the queue does not say");
        let count = ("ApproximateReceiveCount".to_owned(), "7".to_owned());
        record.attributes.extend([count]);
        assert_eq!(receives(&record), 7);
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
