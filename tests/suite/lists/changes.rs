//! Walks while tasks are created and change. No task is repeated, and no task is skipped that
//! existed when the walk began and kept its status.

use super::{cancel, carry_out, page, store, walk_from};
use std::collections::BTreeSet;
use std::sync::Arc;
use tests::{DEMO_INDEX, Service};

/// What happens between two pages.
#[derive(Clone, Copy)]
enum Change {
    /// A task of this name is created this many seconds ago. It may be in the past, because a list
    /// may lag.
    Create(&'static str, i64),
    Cancel(&'static str),
    CancelAndRestart(&'static str),
    CarryOut(&'static str),
}
use Change::{Cancel, CancelAndRestart, CarryOut, Create};
use tests::wire::call::QUERY;

/// The tasks at the start of a walk, newest first. The first four are pending, two are done, and
/// two are canceled.
const ALL: [&str; 8] = ["t-7", "t-6", "t-5", "t-4", "t-3", "t-2", "t-1", "t-0"];

/// The service with [`ALL`]. Each two tasks are from the same second; `t-7` and `t-6` are 10
/// seconds old.
async fn with_eight_tasks(shards: &str) -> Service {
    let service = Service::start_with(vec![("LIST_SHARDS", shards)]).await;
    for (id, seconds_ago) in ALL.into_iter().zip([10, 10, 11, 11, 12, 12, 13, 13]) {
        store(&service, id, DEMO_INDEX, "obj-2", seconds_ago).await;
    }
    for id in ["t-0", "t-1"] {
        cancel(&service, id).await;
    }
    for id in ["t-2", "t-3"] {
        carry_out(&service, id).await;
    }
    service
}

impl Change {
    /// Makes the change. Returns the task whose status it changed.
    async fn make(self, service: &Service) -> Option<&'static str> {
        match self {
            Create(id, seconds_ago) => {
                store(service, id, DEMO_INDEX, "o", seconds_ago).await;
                None
            }
            Cancel(id) => {
                cancel(service, id).await;
                Some(id)
            }
            CancelAndRestart(id) => {
                service.cancel(&format!("task_id={id}")).await; // refused if it is already done
                service.restart(&format!("task_id={id}")).await.ok();
                Some(id)
            }
            CarryOut(id) => {
                carry_out(service, id).await;
                Some(id)
            }
        }
    }
}

/// The changes after the first page, the second page and so on.
fn stories() -> Vec<(&'static str, Vec<Vec<Change>>)> {
    vec![
        (
            "tasks are created before, at and after the place",
            vec![
                vec![
                    Create("new", 0),
                    Create("t-70", 10),
                    Create("a", 10),
                    Create("z", 11),
                ],
                vec![
                    Create("newer", 0),
                    Create("t-4a", 11),
                    Create("t-50", 11),
                    Create("older", 12),
                ],
                vec![Create("newest", 0), Create("zz", 13), Create("oldest", 99)],
            ],
        ),
        (
            "what was walked changes",
            vec![
                vec![Cancel("t-7")],
                vec![CarryOut("t-6")],
                vec![CancelAndRestart("t-5")],
            ],
        ),
        (
            "what is to come changes",
            vec![
                vec![Cancel("t-4")],
                vec![CancelAndRestart("t-2")],
                vec![CancelAndRestart("t-0")],
            ],
        ),
        (
            "what is next changes",
            vec![
                vec![CarryOut("t-6"), Cancel("t-5")],
                vec![CarryOut("t-4")],
                vec![CancelAndRestart("t-3")],
            ],
        ),
        (
            "what was walked changes, comes back and changes again",
            vec![
                vec![CancelAndRestart("t-7"), CarryOut("t-6")],
                vec![CancelAndRestart("t-7"), CancelAndRestart("t-6")],
                vec![Cancel("t-6"), CancelAndRestart("t-6")],
            ],
        ),
        (
            "all of it at once",
            vec![
                vec![
                    Create("new", 0),
                    Cancel("t-7"),
                    CancelAndRestart("t-1"),
                    Create("t-6a", 10),
                ],
                vec![CarryOut("t-4"), CancelAndRestart("t-7"), Create("b", 12)],
                vec![Cancel("t-1"), CancelAndRestart("t-3"), Create("c", 13)],
            ],
        ),
    ]
}

/// Fails the test unless the walk that saw `walked` is right. The tasks in `changed` changed
/// meanwhile.
fn assert_walked(walked: &[String], there: &[&str], changed: &BTreeSet<&str>, story: &str) {
    let once: BTreeSet<_> = walked.iter().collect();
    assert_eq!(once.len(), walked.len(), "{story}: repeated in {walked:?}");
    for id in there.iter().filter(|id| !changed.contains(**id)) {
        assert!(
            once.contains(&(*id).to_owned()),
            "{story}: no {id} in {walked:?}"
        );
    }
}

async fn assert_stories(filter: &str, there: &[&str], shards: &str, limits: &[usize]) {
    for (story, pages) in stories() {
        for limit in limits.iter().copied() {
            let service = with_eight_tasks(shards).await;
            let story = format!("{story}, `{filter}` in pages of {limit}");
            let (mut walked, mut changed) = (Vec::new(), BTreeSet::new());
            let (mut cursor, mut changes) = (None, pages.iter());
            loop {
                let (ids, next) = page(&service, filter, limit, cursor.as_deref()).await;
                walked.extend(ids);
                cursor = next;
                if cursor.is_none() {
                    break;
                }
                for change in changes.next().into_iter().flatten() {
                    changed.extend(change.make(&service).await);
                }
            }
            assert_walked(&walked, there, &changed, &story);
        }
    }
}

#[tokio::test]
async fn a_walk_of_all_tasks_survives_changes_between_its_pages() {
    assert_stories("", &ALL, "2", &[1, 3]).await;
}

#[tokio::test]
async fn a_walk_of_one_status_survives_changes_between_its_pages() {
    assert_stories("status=pending", &ALL[..4], "4", &[1, 2]).await;
    assert_stories("status=canceled", &ALL[6..], "1", &[1]).await;
}

#[tokio::test]
async fn a_walk_of_one_model_survives_changes_between_its_pages() {
    let filter = format!("embedding_model_id={DEMO_INDEX}");
    assert_stories(&filter, &ALL, "1", &[2]).await;
}

/// With one shard a page is read from five partitions. Each of them in turn is read only after a
/// task has moved.
#[tokio::test]
async fn a_task_that_moves_while_a_page_is_read_is_not_repeated() {
    for last in 0..5 {
        for limit in [1, 100] {
            let service = Arc::new(with_eight_tasks("1").await);
            let holds: Vec<_> = (0..5)
                .map(|number| {
                    if number == last {
                        service.wire.hold(QUERY)
                    } else {
                        service.wire.hold_response(QUERY)
                    }
                })
                .collect();
            let first = tokio::spawn({
                let service = Arc::clone(&service);
                async move { page(&service, "", limit, None).await }
            });
            for hold in &holds {
                hold.reached().await;
            }
            cancel(&service, "t-7").await;
            for hold in &holds {
                hold.release();
            }
            let (mut walked, next) = first.await.unwrap();
            if next.is_some() {
                walked.extend(walk_from(&service, "", limit, next).await.concat());
            }
            let story = format!("partition {last} is read last, pages of {limit}");
            assert_walked(&walked, &ALL, &BTreeSet::from(["t-7"]), &story);
        }
    }
}
