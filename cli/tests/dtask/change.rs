//! Restarting and cancelling, one task or many.

use crate::service::{Fault, Proxy, Service, finished, interrupt, spawn};
use serde_json::Value;
use tests::seed;

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_command_shows_what_it_would_do_and_asks() {
    let service = Service::without_worker().await;
    for id in ["a", "b", "c"] {
        service
            .dtask(&["run", "embed-456", "obj-1", "obj-2", "--task-id", id])
            .await
            .assert(0);
    }
    let asked = service.dtask(&["cancel", "--status", "pending"]).await;
    asked.assert(2);
    assert!(
        asked
            .err
            .starts_with("To cancel 3 tasks. Objects that stay in the index: 6 of 6.\n"),
        "{}",
        asked.err
    );
    assert!(
        asked
            .err
            .ends_with("To do it without being asked, add --yes\n"),
        "{}",
        asked.err
    );
    assert!(
        service
            .tasks()
            .await
            .iter()
            .all(|task| task["status"] == "pending")
    );

    let canceled = service
        .dtask(&["cancel", "--model", "embed-456", "--yes"])
        .await;
    canceled.assert(0);
    assert_eq!(canceled.out, "3 of 3 tasks were canceled\n");
    // Safe to repeat: there is nothing left to do.
    let again = service
        .dtask(&["cancel", "--model", "embed-456", "--yes"])
        .await;
    again.assert(0);
    assert!(
        again.err.contains("There is nothing to cancel."),
        "{}",
        again.err
    );

    let first = service.dtask(&["restart", "a", "--attempt", "7"]).await;
    first.assert(1);
    assert!(
        first.err.contains("the request named attempt 7"),
        "{}",
        first.err
    );
    let restarted = service
        .dtask(&[
            "--json",
            "restart",
            "--since",
            "1h",
            "--attempt",
            "1",
            "--yes",
        ])
        .await;
    restarted.assert(0);
    assert!(
        restarted
            .json()
            .iter()
            .all(|task| task["attempt"] == 2 && task["status"] == "pending")
    );
    let again = service
        .dtask(&["restart", "--since", "1h", "--attempt", "1", "--yes"])
        .await;
    assert!(
        again.err.contains("There is nothing to restart."),
        "{}",
        again.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn erasures_are_carried_out_again_after_the_store_was_restored() {
    let service = Service::start().await;
    let ids: Vec<_> = (0..600).map(|number| format!("person-{number}")).collect();
    service.index("restored", &ids).await;
    for (task, ids) in ids.chunks(200).enumerate() {
        let file = service.file("ids.txt", ids);
        let run = [
            "run",
            "restored",
            "--file",
            &file,
            "--task-id",
            &format!("erase-{task}"),
            "--wait",
        ];
        service.dtask(&run).await.assert(0);
    }
    assert!(service.present("restored", &ids).await.is_empty());

    // The backup brings all of them back.
    seed::insert(&service.running.clients.s3vectors, "restored", &ids).await;
    let restart = [
        "restart", "--since", "1h", "--status", "done", "--scope", "all", "--yes",
    ];
    let restarted = service.dtask(&restart).await;
    restarted.assert(0);
    assert_eq!(restarted.out, "3 of 3 tasks were restarted\n");
    for task in 0..3 {
        let waited = service
            .dtask(&["--json", "wait", &format!("erase-{task}")])
            .await;
        waited.assert(0);
        let progress = &waited.json()[0]["progress"];
        assert_eq!(
            (&progress["deleted"], &progress["total"]),
            (&Value::from(200), &Value::from(200))
        );
    }
    assert!(service.present("restored", &ids).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restart_says_how_to_go_on_from_the_first_ones_start() {
    let service = Service::without_worker().await;
    for id in ["a", "b"] {
        service
            .dtask(&["run", "embed-456", "obj-1", "--task-id", id])
            .await
            .assert(0);
        service.dtask(&["cancel", id]).await.assert(0);
    }
    let arguments = [
        "restart",
        "--since",
        "1h",
        "--changed-before",
        "2999-01-01",
        "--yes",
    ];
    for (arguments, advised) in [
        (&arguments[..], "--changed-before 2999-01-01T00:00:00Z"),
        // By the service's clock.
        (
            &["restart", "--since", "1h", "--yes"],
            "--changed-before 20",
        ),
    ] {
        let proxy = Proxy::start(
            &service,
            Fault::Hold("PUT /internal/deletion-tasks/restart"),
        )
        .await;
        let restarting = spawn(&proxy.url(), arguments);
        proxy
            .until_asked("PUT /internal/deletion-tasks/restart")
            .await;
        interrupt(&restarting);
        let ended = finished(restarting).await;
        ended.assert(130);
        let expected = format!(
            "error: At least 0 of 2 tasks were restarted. To go on, run the same command with {advised}"
        );
        assert!(ended.err.starts_with(&expected), "{}", ended.err);
    }
    // What has changed since is left alone.
    let past = service
        .dtask(&[
            "restart",
            "--since",
            "1h",
            "--changed-before",
            "1h",
            "--yes",
        ])
        .await;
    past.assert(0);
    assert!(
        past.err.contains("There is nothing to restart."),
        "{}",
        past.err
    );
}
