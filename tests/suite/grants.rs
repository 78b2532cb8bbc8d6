//! Grants of an index's time: each request gets the next part of it, in one write if it guesses
//! right whether the index is idle.

use chrono::{DateTime, TimeDelta, Utc};
use shared::store::{Grant, GrantRequest};
use tests::Service;
use tests::wire::call::WRITE_TASK;

/// The index's time that each request asks for.
const TIME: TimeDelta = TimeDelta::seconds(2);

/// Requests a grant that begins between `earliest` and `latest`, in seconds from now. Returns the
/// grant and the number of writes that it took.
async fn take(
    service: &Service,
    index: &str,
    between: (i64, i64),
    is_idle: bool,
) -> (Grant, usize) {
    let request = GrantRequest {
        time: TIME,
        earliest: at(service, between.0),
        latest: at(service, between.1),
        is_idle,
    };
    service.wire.calls();
    let grant = service.running.handlers.store.take_grant(index, request);
    (grant.await.unwrap(), service.wire.count(WRITE_TASK))
}

fn at(service: &Service, seconds: i64) -> DateTime<Utc> {
    service.now() + TimeDelta::seconds(seconds)
}

/// The grant of [`TIME`] that begins then, in seconds from now.
fn given(service: &Service, begins: i64) -> Grant {
    let begins = at(service, begins);
    Grant::Given(begins..begins + TIME)
}

#[tokio::test]
async fn grants_of_one_index_follow_each_other_and_those_of_another_begin_anew() {
    let service = Service::start().await;
    let between = (-1, 10);
    for (begins, is_idle) in [(-1, true), (1, false), (3, false)] {
        let taken = take(&service, "one", between, is_idle).await;
        assert_eq!(taken, (given(&service, begins), 1));
    }
    let taken = take(&service, "other", between, true).await;
    assert_eq!(taken, (given(&service, -1), 1));
}

#[tokio::test]
async fn a_wrong_guess_costs_a_second_write() {
    // The index's time is taken until then, in seconds from now; `None` if it never was.
    for (taken_until, begins, is_idle) in [
        (None, -1, false),
        (Some(-2), -1, false),
        (Some(-1), -1, true),
        (Some(5), 5, true),
        (Some(10), 10, true),
    ] {
        let service = Service::start().await;
        if let Some(until) = taken_until {
            let begins = until - TIME.num_seconds();
            take(&service, "index", (begins, begins), true).await;
        }
        let taken = take(&service, "index", (-1, 10), is_idle).await;
        assert_eq!(taken, (given(&service, begins), 2), "{taken_until:?}");
    }
}

#[tokio::test]
async fn a_request_that_would_begin_too_late_is_told_until_when_the_time_is_taken() {
    let service = Service::start().await;
    take(&service, "index", (9, 9), true).await;
    for is_idle in [false, true] {
        let taken = take(&service, "index", (-1, 10), is_idle).await;
        let until = Grant::TakenUntil(at(&service, 11));
        assert_eq!(taken, (until, 1));
    }
}

#[tokio::test]
async fn what_is_known_of_an_index_is_kept_for_a_day() {
    let service = Service::start().await;
    take(&service, "index", (0, 10), true).await;
    let expires_at = at(&service, 10) + TimeDelta::days(1);
    let stored = service.stored_numbers("expires_at").await;
    assert_eq!(stored, [expires_at.timestamp()]);
}
