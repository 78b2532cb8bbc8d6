//! Connections to PostgreSQL: how few there are, and what happens to them.

use super::contract::Fixture;
use super::postgres::{ROWS, insert, make_table, some_ids, table};
use super::{no_services, of, open, shown};
use shared::vector::{Presence, VectorErrorKind};
use std::time::Duration;
use tests::postgres::{Front, Postgres};

/// A delay that is long enough for a client that does not wait to send everything.
pub(super) const LATENCY: Duration = Duration::from_millis(50);

#[tokio::test]
async fn an_existence_check_and_a_delete_are_one_round_trip_each_and_share_a_connection() {
    let fixture = table("uuid").await;
    let front = Front::before(fixture.database.server, None).await;
    front.delay_answers(LATENCY);
    let url = fixture.database.url_at(&front.address.to_string(), ROWS);
    let stores = open(&url, &no_services());
    let ids: Vec<_> = (0..500).map(|number| fixture.id(number)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    of(&stores, "items").present(&ids).await.unwrap();
    // The first call also applied the session's settings and read the column's type.
    assert_eq!(front.round_trips(), 3);
    for _ in 0..3 {
        of(&stores, "items").present(&ids).await.unwrap();
        assert_eq!(front.round_trips(), 1);
        of(&stores, "items").delete(&ids).await.unwrap();
        assert_eq!(front.round_trips(), 1);
    }
    assert_eq!(front.connections(), 1);
}

#[tokio::test]
async fn many_calls_at_once_share_five_connections() {
    let fixture = table("text").await;
    let front = Front::before(fixture.database.server, None).await;
    let url = fixture.database.url_at(&front.address.to_string(), ROWS);
    let stores = open(&url, &no_services());
    let calls = (0..40).map(async |_| of(&stores, "items").present(&["a", "b"]).await);
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.unwrap(), [Presence::Absent, Presence::Absent]);
    }
    assert!(
        (1..=5).contains(&front.connections()),
        "{}",
        front.connections()
    );
}

#[tokio::test]
async fn connections_survive_a_restart_of_the_server() {
    let server = Postgres::start().await;
    let mut database = server.database().await;
    make_table(&database, "items", "text").await;
    insert(&database, "items", "text", &some_ids(3)).await;
    let store = of(&open(&database.url(ROWS), &no_services()), "items");
    let both = ["object-0", "object-1"];
    assert_eq!(shown(&*store, &both).await, [true, true]);
    server.restart().await;
    // The existence check is sent again on a new connection.
    assert_eq!(shown(&*store, &both).await, [true, true]);
    store.delete(&both).await.unwrap();
    server.restart().await;
    // A delete is not sent twice, since the first may have been carried out.
    if let Err(error) = store.delete(&["object-2"]).await {
        assert_eq!(error.kind, VectorErrorKind::Unanswered, "{error:?}");
        store.delete(&["object-2"]).await.unwrap();
    }
    database.reconnect().await;
    assert_eq!(database.number("SELECT count(*) FROM items").await, 0);
}

#[tokio::test]
async fn a_statement_that_waits_too_long_for_a_lock_is_ended_by_the_server() {
    let fixture = table("text").await;
    fixture.seed(&some_ids(1)).await;
    let lock = fixture.database.lock_rows("items").await;
    let error = fixture.store().delete(&["object-0"]).await.unwrap_err();
    assert_eq!(
        (error.kind, error.code.as_str()),
        (VectorErrorKind::TooSlow, "55P03")
    );
    drop(lock);
    fixture.store().delete(&["object-0"]).await.unwrap();
}

#[tokio::test]
async fn a_delete_that_begins_late_has_less_time_at_the_server() {
    let fixture = table("text").await;
    fixture.seed(&some_ids(1)).await;
    let front = Front::before(fixture.database.server, None).await;
    front.delay_connections(Duration::from_millis(2_500));
    let url = fixture.database.url_at(&front.address.to_string(), ROWS);
    let store = of(&open(&url, &no_services()), "items");
    let lock = fixture.database.lock_rows("items").await;
    let error = store.delete(&["object-0"]).await.unwrap_err();
    // The call ends sooner than the wait for the lock would have.
    assert_eq!(
        (error.kind, error.code.as_str()),
        (VectorErrorKind::TooSlow, "57014")
    );
    drop(lock);
    store.delete(&["object-0"]).await.unwrap();
    assert!(fixture.left().await.is_empty());
}

#[tokio::test]
async fn a_server_that_stops_responding_is_an_unanswered_call() {
    let fixture = table("text").await;
    let front = Front::before(fixture.database.server, None).await;
    let url = fixture.database.url_at(&front.address.to_string(), ROWS);
    let store = of(&open(&url, &no_services()), "items");
    shown(&*store, &["a"]).await;
    front.go_silent();
    let waited = tokio::time::timeout(Duration::from_secs(10), store.present(&["a"])).await;
    let error = waited
        .expect("the adapter's own timeout is shorter")
        .unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::Unanswered, "{error:?}");
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_is_canceled_at_the_server() {
    let fixture = table("text").await;
    fixture.seed(&some_ids(1)).await;
    let lock = fixture.database.lock_rows("items").await;
    let store = fixture.store();
    let call = tokio::spawn(async move { store.delete(&["object-0"]).await });
    fixture.database.until_locked_out().await;
    call.abort();
    let _ = call.await;
    let role = &fixture.database.name;
    let active = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND state = 'active'"
    );
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if fixture.database.number(&active).await == 0 {
            break;
        }
    }
    drop(lock);
    // This is well within the three seconds for which the server would have let the delete wait.
    assert_eq!(shown(&*fixture.store(), &["object-0"]).await, [true]);
}
