//! The built command line against the whole service in this process: its output, its exit status, and what it leaves behind.
#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails there"
)]

mod service;

use serde_json::Value;
use service::{Fault, Proxy, Service};
use std::time::Duration;
use tests::seed;

/// Ids so long that 5,714 of them fill a request.
fn long_ids(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{number:0>1024}"))
        .collect()
}

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
    assert!(
        run.out
            .contains("objects   2: 1 deleted, 1 failed, 0 remaining"),
        "{}",
        run.out
    );
    assert!(
        run.out
            .contains("failed    obj-2: Object not found in index"),
        "{}",
        run.out
    );
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
    assert!(
        list.out.contains("done   delete-xyz embed-456"),
        "{}",
        list.out
    );
    let csv = service.dtask(&["outcomes", "delete-xyz", "--csv"]).await;
    assert_eq!(
        csv.out,
        "task_id,object_id,outcome,detail\ndelete-xyz,obj-1,deleted,\ndelete-xyz,obj-2,failed,Object not found in index\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_one_request_cannot_take_become_parts_and_each_id_has_one_outcome() {
    let service = Service::start().await;
    let ids = long_ids(12_000);
    service.index("long", &ids[..2_000]).await;
    // A repeat in another part counts once.
    let file = service.file("ids.txt", ids.iter().chain(&ids[..10]));
    let run = service
        .dtask(&[
            "run",
            "long",
            "--file",
            &file,
            "--task-id",
            "erase",
            "--reason",
            "Ticket 7",
            "--wait",
        ])
        .await;
    run.assert(0);
    assert!(
        run.out
            .contains("objects   12,000: 2,000 deleted, 10,000 failed, 0 remaining"),
        "{}",
        run.out
    );
    assert!(run.out.contains("parts     3: 3 done"), "{}", run.out);
    assert_eq!(run.err, "10 repeated ids were left out.\n");

    // Every name of it stands for all of it.
    for name in ["erase", "erase.2-of-3"] {
        let outcomes = service.dtask(&["outcomes", name]).await.json();
        let found: Vec<_> = outcomes
            .iter()
            .map(|line| line["object_id"].as_str().unwrap())
            .collect();
        assert!(found == ids, "{name}: {} outcomes", found.len());
        assert!(
            outcomes[..2_000]
                .iter()
                .all(|line| line["outcome"] == "deleted")
        );
    }
    let tasks = service.dtask(&["--json", "info", "erase"]).await.json();
    assert!(
        tasks
            .iter()
            .all(|task| task["reason"] == "Ticket 7" && task["attempt"] == 1)
    );
    // What was printed is read again.
    let failed = service
        .dtask(&["outcomes", "erase", "--outcome", "failed"])
        .await
        .out;
    let again = service
        .dtask_with(
            &[
                "run",
                "long",
                "-",
                "--format",
                "jsonl",
                "--task-id",
                "again",
            ],
            failed,
        )
        .await;
    again.assert(0);
    assert_eq!(again.out, "again was created in 2 parts: 10,000 objects\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_goes_on_without_a_second_task() {
    let service = Service::without_worker().await;
    let file = service.file("ids.txt", &long_ids(40_000));
    let arguments = ["run", "embed-456", "--file", &file, "--task-id", "erase"];
    let mut killed = service.spawn(&arguments);
    service.until(|tasks| !tasks.is_empty()).await;
    killed.kill().await.unwrap();
    let before = service.tasks().await;
    assert!(before.len() < 8, "it was killed half-way");
    assert!(
        before.iter().any(|task| task["id"] == "erase.8-of-8"),
        "the last part comes first: {before:?}"
    );

    service.dtask(&arguments).await.assert(0);
    let mut ids: Vec<_> = service
        .tasks()
        .await
        .iter()
        .map(|task| task["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    assert_eq!(
        ids,
        (1..=8)
            .map(|number| format!("erase.{number}-of-8"))
            .collect::<Vec<_>>()
    );
    let again = service.dtask(&arguments).await;
    assert_eq!(
        again.out,
        "erase has 8 parts, of which 8 existed already: 40,000 objects\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_changed_is_refused_and_changes_nothing() {
    let service = Service::without_worker().await;
    let ids = long_ids(12_000);
    let first = service.file("ids.txt", &ids);
    let run = async |file: &str| {
        service
            .dtask(&["run", "embed-456", "--file", file, "--task-id", "erase"])
            .await
    };
    run(&first).await.assert(0);
    let before = service.tasks().await;

    let other_end = service.file("end.txt", ids[..11_999].iter().chain([&"other".to_owned()]));
    let refused = run(&other_end).await;
    refused.assert(1);
    assert!(
        refused
            .err
            .contains("`erase.3-of-3` exists already, with other objects"),
        "{}",
        refused.err
    );

    for (lines, parts) in [(1_000, 1), (6_000, 2)] {
        let shorter = service.file("shorter.txt", &ids[..lines]);
        let refused = run(&shorter).await;
        refused.assert(1);
        let expected = format!(
            "`erase.3-of-3` exists already, but these ids need another number of parts ({parts})"
        );
        assert!(refused.err.contains(&expected), "{}", refused.err);
    }
    let longer = service.file("longer.txt", &long_ids(20_000));
    run(&longer).await.assert(1);
    assert_eq!(service.tasks().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_input_is_named_whole_before_anything_is_sent() {
    let service = Service::start().await;
    let file = service.file("ids.txt", &["good".to_owned(), "x".repeat(1025)]);
    let run = service.dtask(&["run", "embed-456", "--file", &file]).await;
    run.assert(2);
    assert!(
        run.err
            .contains("line 2: an id must be at most 1024 bytes of UTF-8, got 1025"),
        "{}",
        run.err
    );
    let run = service
        .dtask(&["run", "", "a", "--task-id", "a b", "--reason", ""])
        .await;
    run.assert(2);
    for expected in [
        "MODEL must not be empty",
        "--task-id must not contain white space",
        "--reason must not be empty",
    ] {
        assert!(run.err.contains(expected), "{}", run.err);
    }
    service
        .dtask(&["run", "embed-456", "--file", "/does/not/exist"])
        .await
        .assert(2);
    service.dtask(&["run", "embed-456"]).await.assert(2);
    service
        .dtask(&["list", "--since", "yesterday"])
        .await
        .assert(2);
    service.dtask(&["cancel"]).await.assert(2);
    assert!(service.tasks().await.is_empty());
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
    assert!(
        unknown
            .err
            .contains("Not found: f.1-of-3, f.2-of-3, f.3-of-3"),
        "{}",
        unknown.err
    );
    let api = service.url();
    drop(service);
    let unreachable = service::dtask(&api, &["list"]).await;
    unreachable.assert(3);
    assert!(
        unreachable
            .err
            .contains("Start the local runner with `cargo run`"),
        "{}",
        unreachable.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_wait_leaves_the_task_running_and_says_how_to_go_on() {
    let service = Service::without_worker().await;
    service
        .dtask(&["run", "embed-456", "obj-1", "--task-id", "slow"])
        .await
        .assert(0);
    let proxy = Proxy::start(&service, Fault::None).await;
    let waiting = service::spawn(&proxy.url(), &["wait", "slow"]);
    proxy.until_asked("GET /internal/deletion-tasks/info").await;
    service::interrupt(&waiting);
    let waited = service::finished(waiting).await;
    waited.assert(130);
    let expected = format!(
        "error: The task goes on. To wait for it again: dtask --api {} wait slow\n",
        proxy.url()
    );
    assert_eq!(waited.err, expected);
    assert_eq!(service.tasks().await[0]["status"], "pending");
}

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
        asked.err.starts_with(
            "To cancel 3 tasks: of 6 objects, the 6 that remain are left in the index.\n"
        ),
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
async fn a_restart_whose_response_is_lost_restarts_once() {
    let service = Service::without_worker().await;
    service
        .dtask(&["run", "embed-456", "obj-1", "--task-id", "t"])
        .await
        .assert(0);
    service.dtask(&["cancel", "t"]).await.assert(0);
    let proxy = Proxy::start(
        &service,
        Fault::LoseResponse("PUT /internal/deletion-tasks/restart"),
    )
    .await;
    let restarted = service::dtask(&proxy.url(), &["--json", "restart", "t"]).await;
    restarted.assert(0);
    assert_eq!(proxy.faults(), 1);
    assert_eq!(restarted.json()[0]["attempt"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_response_is_lost_creates_once_without_a_name_too() {
    let service = Service::without_worker().await;
    let proxy = Proxy::start(
        &service,
        Fault::LoseResponse("POST /internal/deletion-tasks/run"),
    )
    .await;
    service::dtask(&proxy.url(), &["run", "embed-456", "obj-1"])
        .await
        .assert(0);
    assert_eq!(proxy.faults(), 1);
    assert_eq!(service.tasks().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_call_is_made_again_by_itself() {
    let service = Service::start().await;
    let throttled = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-type: application/problem+json\r\ncontent-length: 2\r\n\r\n{}";
    let proxy = Proxy::start(&service, Fault::Respond(throttled)).await;
    service::dtask(&proxy.url(), &["list"]).await.assert(0);
    assert_eq!(proxy.faults(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_is_not_taken_for_the_service() {
    let service = Service::start().await;
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\n<html",
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: 43\r\n\r\n{\"message\":\"Missing Authentication Token\"}\n",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    ] {
        let proxy = Proxy::start(&service, Fault::Respond(response)).await;
        let list = service::dtask(&proxy.url(), &["list"]).await;
        list.assert(3);
        assert!(list.err.contains("is not Deletion Tasks"), "{}", list.err);
    }
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
async fn the_console_makes_only_its_own_calls_and_only_for_who_knows_its_address() {
    let service = Service::start().await;
    service
        .dtask(&["run", "embed-456", "obj-1", "--task-id", "t", "--wait"])
        .await
        .assert(0);
    let mut console = service.spawn(&["console"]);
    let address = service::first_line(&mut console).await;
    let (address, token) = address
        .strip_prefix("Console http://")
        .unwrap()
        .split_once("/#token=")
        .unwrap();
    let address = address.parse().unwrap();
    let token = format!("Bearer {token}");
    let call = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        tests::http::send_with(address, method, path, headers, "").await
    };
    let page = call("GET", "/", &[]).await;
    assert!(
        page.status == 200 && page.text.starts_with("<!doctype html>"),
        "{}",
        page.text
    );
    let list = "/internal/deletion-tasks/list?limit=5";
    call("GET", list, &[]).await.problem(401);
    let right = [("authorization", token.as_str())];
    assert_eq!(call("GET", list, &right).await.ok()["tasks"][0]["id"], "t");
    call("GET", "/internal/deletion-tasks/info?task_id=none", &right)
        .await
        .problem(404);
    call("POST", "/internal/deletion-tasks/run", &right)
        .await
        .problem(404);
    call("GET", "/internal/deletion-tasks/restart?task_id=t", &right)
        .await
        .problem(405);
    let restarted = call(
        "PUT",
        "/internal/deletion-tasks/restart?task_id=t&attempt=1",
        &right,
    )
    .await;
    assert_eq!(restarted.ok()["attempt"], 2);
    service::interrupt(&console);
    service::finished(console).await.assert(0);
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
    service::finished(cancel).await.assert(0);
    let tasks = service.tasks().await;
    assert!(
        tasks.iter().all(|task| task["status"] == "canceled"),
        "{tasks:?}"
    );

    let mut wait = service.spawn(&["wait", "t-0"]);
    drop(wait.stdout.take());
    service::finished(wait).await.assert(1);
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
    assert!(
        service::first_line(&mut outcomes)
            .await
            .contains("remaining")
    );
    drop(outcomes.stdout.take());
    let ended = tokio::time::timeout(Duration::from_secs(20), service::finished(outcomes))
        .await
        .unwrap();
    ended.assert(0);
    assert_eq!(ended.err, "");
}
