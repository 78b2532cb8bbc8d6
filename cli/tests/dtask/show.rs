//! Waiting and showing: the output, and the exit status.

use crate::long_ids;
use crate::service::{Fault, Proxy, Service, dtask, finished, first_line, interrupt, spawn};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_example_ends_with_a_summary() {
    let service = Service::start().await;
    let run = service
        .dtask(&[
            "run",
            "embed-456",
            "obj-1",
            "obj-2",
            "--task-id",
            "delete-xyz",
            "--wait",
        ])
        .await;
    run.assert(0);
    assert!(run.out.starts_with("delete-xyz  done\n"), "{}", run.out);
    run.assert_out("objects   2: 1 deleted, 1 failed, 0 remaining");
    run.assert_out("failed    obj-2: Object not found in index");
    assert_eq!(run.err, "", "no terminal, no progress");

    let again = service
        .dtask(&[
            "run",
            "embed-456",
            "obj-1",
            "obj-2",
            "--task-id",
            "delete-xyz",
        ])
        .await;
    again.assert(0);
    assert_eq!(again.out, "delete-xyz existed already: 2 objects, done\n");

    let json = service.dtask(&["--json", "info", "delete-xyz"]).await;
    assert_eq!(json.json()[0]["progress"]["deleted"], 1);
    let list = service
        .dtask(&[
            "list",
            "--status",
            "done",
            "--model",
            "embed-456",
            "--since",
            "1h",
        ])
        .await;
    list.assert_out("done   delete-xyz embed-456");
    let csv = service.dtask(&["outcomes", "delete-xyz", "--csv"]).await;
    assert_eq!(
        csv.out,
        "task_id,object_id,outcome,detail\ndelete-xyz,obj-1,deleted,\ndelete-xyz,obj-2,failed,Object not found in index\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_status_says_how_it_ended() {
    let service = Service::start().await;
    let failed = service
        .dtask(&["run", "no-such-index", "a", "--task-id", "f", "--wait"])
        .await;
    failed.assert(1);
    assert!(
        failed.err.ends_with("error: f is failed\n"),
        "{}",
        failed.err
    );
    let unknown = service.dtask(&["wait", "unknown"]).await;
    unknown.assert(1);
    assert_eq!(unknown.err, "error: Task with ID `unknown` not found\n");
    let unknown = service.dtask(&["info", "f.1-of-3"]).await;
    unknown.assert(1);
    unknown.assert_err("Task with ID `f.1-of-3` not found");
    let api = service.url();
    drop(service);
    let unreachable = dtask(&api, &["list"]).await;
    unreachable.assert(3);
    unreachable.assert_err("Start the local runner with `cargo run`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_wait_leaves_the_task_running_and_says_how_to_go_on() {
    let service = Service::without_worker().await;
    service
        .dtask(&["run", "embed-456", "obj-1", "--task-id", "slow"])
        .await
        .assert(0);
    let proxy = Proxy::start(&service, Fault::None).await;
    let waiting = spawn(&proxy.url(), &["wait", "slow"]);
    proxy
        // The first one is the existence check of the task.
        .until_asked_times("GET /internal/deletion-tasks/info", 2)
        .await;
    interrupt(&waiting);
    let waited = finished(waiting).await;
    waited.assert(130);
    let expected = format!(
        "error: The task goes on. To wait for it again: dtask --api {} wait slow\n",
        proxy.url()
    );
    assert_eq!(waited.err, expected);
    assert_eq!(service.tasks().await[0]["status"], "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_enough_ends_the_output_quietly() {
    let service = Service::without_worker().await;
    let file = service.file("ids.txt", &long_ids(3_000));
    service
        .dtask(&["run", "embed-456", "--file", &file, "--task-id", "t"])
        .await
        .assert(0);
    let mut outcomes = service.spawn(&["outcomes", "t"]);
    assert!(first_line(&mut outcomes).await.contains("remaining"));
    drop(outcomes.stdout.take());
    let ended = tokio::time::timeout(Duration::from_secs(20), finished(outcomes))
        .await
        .unwrap();
    ended.assert(0);
    assert_eq!(ended.err, "");
}
#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_does_does_not_depend_on_who_reads_of_it() {
    let service = Service::without_worker().await;
    for number in 0..30 {
        let id = format!("t-{number}");
        service
            .dtask(&["run", "embed-456", "obj-1", "--task-id", &id])
            .await
            .assert(0);
    }
    let mut cancel = service.spawn(&["--json", "cancel", "--model", "embed-456", "--yes"]);
    drop(cancel.stdout.take());
    finished(cancel).await.assert(0);
    let tasks = service.tasks().await;
    assert!(
        tasks.iter().all(|task| task["status"] == "canceled"),
        "{tasks:?}"
    );

    let mut wait = service.spawn(&["wait", "t-0"]);
    drop(wait.stdout.take());
    finished(wait).await.assert(1);
}
