//! One task per `task_id`, however often and in whatever form the create is sent.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use tests::http::Reply;
use tests::wire::{
    Fault,
    call::{PUT_IDS, PUT_TASK, SEND},
};
use tests::{Begun, DEMO_INDEX, Service, Size, example, ids, run_body};

fn is_replay(reply: &Reply) -> bool {
    reply.header("idempotent-replayed") == Some("true")
}

fn is_mismatch(reply: &Reply) -> bool {
    reply.header("idempotent-mismatch") == Some("true")
}

/// Five requests for task `t`, each with a letter. Requests with the same letter count as the same:
/// the first three do.
fn ways() -> [(char, Value); 5] {
    let all = ids("o", 3);
    let reversed: Vec<_> = all.iter().rev().collect();
    let repeated = ["o-1", "o-0", "o-1", "o-2", "o-0"];
    [
        ('a', run_body("model", "t", &all)),
        ('a', run_body("model", "t", &reversed)),
        ('a', run_body("model", "t", &repeated)),
        ('b', run_body("another-model", "t", &all)),
        ('c', run_body("model", "t", &ids("o", 4))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_simultaneous_creates_one_wins_and_all_show_its_task() {
    let service = Arc::new(Service::start().await);
    // Every caller is about to write, and knows nothing of the others.
    let hold = service.wire.hold_times(200, PUT_TASK);
    let calls = (0..200).map(|number| {
        let service = Arc::clone(&service);
        let (request, body) = ways()[number % 5].clone();
        tokio::spawn(async move {
            service.pass(TimeDelta::seconds(1)); // so that each would be created at another time
            (request, service.run(&body).await)
        })
    });
    let calls: Vec<_> = calls.collect();
    for _ in 0..200 {
        hold.reached().await;
    }
    for _ in 0..200 {
        hold.release();
    }
    let replies: Vec<_> = join_all(calls)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();

    let winners: Vec<_> = replies
        .iter()
        .filter(|(_, reply)| !is_replay(reply))
        .collect();
    assert_eq!(winners.len(), 1, "only one call created the task");
    let (winning, winner) = winners[0];
    assert!(!is_mismatch(winner));
    let task = winner.clone().ok();
    for (request, reply) in &replies {
        assert_eq!(
            is_mismatch(reply),
            request != winning,
            "{request} against {winning}"
        );
        assert_eq!(reply.clone().ok(), task);
    }
    assert_eq!(service.stored_items().await, 1);
    assert_eq!(service.lose_messages().await, 1);
    assert_eq!(service.task("t").await, task);
}

#[tokio::test]
async fn whichever_request_wins_only_another_model_or_set_is_a_mismatch() {
    for (winning, first) in ways() {
        let service = Service::start().await;
        let task = service.run(&first).await.ok();
        for (request, body) in ways() {
            let reply = service.run(&body).await;
            assert!(is_replay(&reply), "{body}");
            assert_eq!(
                is_mismatch(&reply),
                request != winning,
                "{body} after {first}"
            );
            assert_eq!(reply.ok(), task);
        }
        assert_eq!(service.lose_messages().await, 1, "{first}");
    }
}

#[tokio::test]
async fn what_the_winner_stored_is_what_is_carried_out() {
    let service = Service::start().await;
    service
        .run(&run_body(DEMO_INDEX, "t", &["obj-4", "obj-3"]))
        .await
        .ok();
    service
        .run(&run_body("another-model", "t", &["obj-5"]))
        .await
        .ok();
    service
        .run(&run_body(DEMO_INDEX, "t", &["obj-3", "obj-4", "obj-3"]))
        .await
        .ok();
    service.work().await;
    let deleted = |id: &str| (id.to_owned(), "deleted".to_owned());
    assert_eq!(
        service.outcomes("t").await,
        [deleted("obj-4"), deleted("obj-3")]
    );
    let objects = ["obj-3", "obj-4", "obj-5"];
    assert_eq!(service.present(DEMO_INDEX, &objects).await, ["obj-5"]);
}

#[tokio::test]
async fn a_repeated_create_shows_the_task_as_it_is_and_starts_nothing() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.work().await;
    for status in ["done", "pending", "canceled"] {
        match status {
            "pending" => drop(service.restart("task_id=delete-xyz").await.ok()),
            "canceled" => drop(service.cancel("task_id=delete-xyz").await.ok()),
            _ => {}
        }
        service.lose_messages().await;
        service.pass(TimeDelta::hours(1));
        let task = service.task("delete-xyz").await;
        assert_eq!(task["status"], status);
        let reply = service.run(&example()).await;
        assert!(is_replay(&reply) && !is_mismatch(&reply), "{status}");
        assert_eq!(reply.ok(), task);
        assert_eq!(service.task("delete-xyz").await, task);
        assert_eq!(service.lose_messages().await, 0, "{status}");
    }
}

#[tokio::test]
async fn a_create_whose_response_was_lost_is_not_mistaken_for_a_repeated_one() {
    for (size, call) in [
        (Size::Small, PUT_TASK),
        (Size::Small, SEND),
        (Size::Large, PUT_IDS),
        (Size::Large, PUT_TASK),
        (Size::Large, SEND),
    ] {
        let begun = Begun::before_create(size).await;
        let service = &begun.service;
        service.wire.next(call, Fault::ResponseLost);
        let reply = service.run(&size.body()).await;
        assert!(
            !is_replay(&reply) && !is_mismatch(&reply),
            "{size:?} {call}"
        );
        reply.ok();
        assert_eq!(service.wire.count(call), 2, "{size:?} {call}");
        service.work().await;
        begun.assert_exact(call).await;
    }
}

#[tokio::test]
async fn where_reuse_is_rejected_a_mismatch_is_a_conflict_and_a_match_is_not() {
    let service = Service::start_with(vec![("TASK_ID_REUSE", "reject")]).await;
    let (winning, first) = ways()[0].clone();
    let task = service.run(&first).await.ok();
    for (request, body) in ways() {
        let reply = service.run(&body).await;
        if request == winning {
            assert!(is_replay(&reply) && !is_mismatch(&reply), "{body}");
            assert_eq!(reply.ok(), task);
        } else {
            let detail = reply.problem(409)["detail"].to_string();
            assert!(
                detail.contains("Task with ID `t` already exists"),
                "{detail}"
            );
        }
    }
    assert_eq!(service.task("t").await, task);
    assert_eq!(service.stored_items().await, 1);
    assert_eq!(service.lose_messages().await, 1);
}

#[tokio::test]
async fn made_ids_are_uuids_of_version_7_that_sort_by_the_time_they_were_made() {
    let service = Service::start().await;
    let mut made: Vec<String> = Vec::new();
    for number in 0..20 {
        let body = match number % 2 {
            0 => json!({"embedding_model_id": "m", "object_ids": ["a"]}),
            _ => json!({"embedding_model_id": "m", "object_ids": ["a"], "task_id": null}),
        };
        let reply = service.run(&body).await;
        assert!(!is_replay(&reply));
        let id = reply.ok()["id"].as_str().unwrap().to_owned();
        // RFC 9562, sections 4 and 5.7.
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert!(
            id.bytes()
                .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f' | b'-')),
            "{id}"
        );
        assert_eq!(&id[14..15], "7", "the version of {id}");
        assert!("89ab".contains(&id[19..20]), "the variant of {id}");
        let millis = i64::from_str_radix(&id.replace('-', "")[..12], 16);
        assert_eq!(millis, Ok(service.now().timestamp_millis()), "{id}");
        assert!(
            made.last().is_none_or(|last| *last < id),
            "{id} after {made:?}"
        );
        made.push(id);
        service.pass(TimeDelta::milliseconds(1));
    }
}

#[tokio::test]
async fn creates_without_an_id_are_different_tasks_even_within_a_millisecond() {
    let service = Service::start().await;
    let body = json!({"embedding_model_id": "m", "object_ids": ["a"]});
    let replies = join_all((0..50).map(|_| service.run(&body))).await;
    assert!(!replies.iter().any(is_replay));
    assert_eq!(service.stored_items().await, 50);
    assert_eq!(service.lose_messages().await, 50);
}

#[tokio::test]
async fn a_repeated_create_after_the_task_has_expired_creates_anew() {
    let service = Service::start().await;
    service
        .run(&run_body("no-such-index", "t", &["obj-7", "obj-8"]))
        .await
        .ok();
    service.work().await;
    service.pass(TimeDelta::days(90) - TimeDelta::seconds(1));
    let again = run_body(DEMO_INDEX, "t", &["obj-9"]);
    let reply = service.run(&again).await;
    assert!(is_replay(&reply) && is_mismatch(&reply));
    assert_eq!(reply.ok()["status"], "failed");

    service.pass(TimeDelta::days(1) + TimeDelta::seconds(1));
    let reply = service.run(&again).await;
    assert!(!is_replay(&reply) && !is_mismatch(&reply));
    let anew = json!({
        "id": "t",
        "embedding_model_id": DEMO_INDEX,
        "status": "pending",
        "created_at": "2024-08-20T12:00:00Z",
        "updated_at": "2024-08-20T12:00:00Z",
        "failed_item_ids": [],
        "detail": null,
        "attempt": 1,
        "progress": {"total": 1, "deleted": 0, "failed": 0, "remaining": 1},
        "reason": null,
        "created_by": null,
        "changed_by": null,
    });
    assert_eq!(reply.ok(), anew);
    assert_eq!(service.stored_items().await, 1);
    service.work().await;
    assert_eq!(service.task("t").await["progress"]["deleted"], 1);
}
