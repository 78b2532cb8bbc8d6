use super::*;

const EVER: Duration = Duration::MAX;

/// Any moment.
const NOW: Duration = Duration::from_secs(1_000_000);

/// The pace of deletes from S3 Vectors.
fn pace() -> Pace {
    Pace::new(Quota::new(2_500, 1_000), millis(200))
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The number of calls of `vectors` each that begin within `time`, one after the other.
fn calls_within(time: Duration, vectors: usize) -> u32 {
    let mut now = NOW;
    let (pace, end) = (pace(), now + time);
    let mut calls = 0;
    loop {
        now += pace.reserve(vectors, EVER, now).unwrap();
        if now >= end {
            return calls;
        }
        calls += 1;
    }
}

#[test]
fn large_calls_keep_to_the_quota_of_vectors() {
    let calls = calls_within(Duration::from_secs(60), 500);
    assert_eq!(calls, 5 * 60 + 1, "one is the burst");
}

#[test]
fn small_calls_keep_to_the_quota_of_requests() {
    let calls = calls_within(Duration::from_secs(60), 1);
    assert_eq!(calls, 60_200, "200 are the burst");
}

#[test]
fn a_short_idle_moment_is_made_up_for_and_a_long_one_is_not() {
    let now = NOW;
    let pace = pace();
    let wait_at = |now| pace.reserve(500, EVER, now).unwrap();
    assert_eq!([wait_at(now), wait_at(now)], [millis(0), millis(0)]);
    let soon = now + millis(150);
    assert_eq!(wait_at(soon), millis(50));
    let later = now + Duration::from_secs(3600);
    let waits = [wait_at(later), wait_at(later), wait_at(later)];
    assert_eq!(waits, [millis(0), millis(0), millis(200)]);
}

#[test]
fn a_place_that_comes_too_late_is_not_taken() {
    let now = NOW;
    let pace = pace();
    for _ in 0..7 {
        pace.reserve(500, EVER, now);
    }
    for _ in 0..3 {
        assert_eq!(pace.reserve(500, millis(1099), now), None);
    }
    assert_eq!(pace.reserve(500, millis(1100), now + millis(99)), None);
    let wait = pace.reserve(500, millis(1100), now + millis(100));
    assert_eq!(wait, Some(millis(1100)));
}

#[test]
fn a_refusal_slows_down_and_the_speed_comes_back() {
    let began = NOW;
    let pace = pace();
    let now = began + millis(20);
    pace.throttled(began, now);
    let speed = |after| pace.state.lock().unwrap().speed(now + after);
    for (after, expected) in [
        (Duration::ZERO, KEPT),
        (RECOVERY / 2, 1.0 - (1.0 - KEPT) / 8.0),
        (RECOVERY, 1.0),
        (RECOVERY * 2, 1.0),
    ] {
        let speed = speed(after);
        assert!((speed - expected).abs() < 1e-9, "{after:?}: {speed}");
    }
}

#[test]
fn beyond_where_it_was_throttled_the_speed_grows_slowly_and_then_faster() {
    let began = NOW;
    let pace = pace();
    let mut now = began;
    for _ in 0..5 {
        now += millis(1);
        pace.throttled(now - millis(1) / 2, now);
    }
    let speed = |after| pace.state.lock().unwrap().speed(now + after);
    let before = speed(RECOVERY);
    assert!((before - KEPT.powi(4)).abs() < 0.01, "{before}");
    let gains = [1, 2].map(|times| speed(RECOVERY * (times + 1)) - speed(RECOVERY * times));
    assert!(gains.is_sorted(), "{gains:?}");
    assert!((speed(RECOVERY * 4) - 1.0).abs() < 1e-9);
}

#[test]
fn calls_that_began_together_slow_down_once() {
    let began = NOW;
    let pace = pace();
    let now = began + millis(20);
    for _ in 0..5 {
        pace.throttled(began, now);
    }
    let speed = pace.state.lock().unwrap().speed(now);
    assert!((speed - KEPT).abs() < 1e-9, "{speed}");
}

#[test]
fn a_store_that_refuses_everything_is_still_asked_now_and_then() {
    let mut now = NOW;
    let pace = pace();
    for _ in 0..100 {
        now += millis(2);
        pace.throttled(now - millis(1), now);
    }
    pace.reserve(500, EVER, now);
    let wait = pace.reserve(500, EVER, now).unwrap();
    assert_eq!(wait, millis(200).div_f64(SLOWEST) - millis(200));
}
