//! Restarting and cancelling, one task or many.

use crate::service::{Fault, Proxy, Service, dtask, finished, interrupt, spawn};
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
    service.assert_every_task("status", "pending").await;

    let canceled = service
        .dtask(&["cancel", "--model", "embed-456", "--yes"])
        .await;
    canceled.assert(0);
    assert_eq!(canceled.out, "3 of 3 tasks were canceled\n");
    // It is safe to repeat: there is nothing left to do.
    let again = service
        .dtask(&["cancel", "--model", "embed-456", "--yes"])
        .await;
    again.assert(0);
    again.assert_err("There is nothing to cancel.");

    let first = service.dtask(&["restart", "a", "--attempt", "7"]).await;
    first.assert(1);
    first.assert_err("the request named attempt 7");
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
    again.assert_err("There is nothing to restart.");
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

    // The backup inserts all of them again.
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
async fn an_interrupted_restart_prints_the_command_that_goes_on_and_misses_nothing() {
    let service = Service::without_worker().await;
    for id in ["a", "b"] {
        service.create(id, &["obj-1".to_owned()]).await;
        service.dtask(&["cancel", id]).await.assert(0);
    }
    let restart = [
        "restart", "--since", "1h", "--status", "canceled", "--scope", "all", "--yes",
    ];
    let mut advised = restart.map(str::to_owned).to_vec();
    // Interrupt the command, run what it prints, and interrupt that too: it prints the same command
    // again.
    for _ in 0..2 {
        let fault = Fault::Hold("PUT /internal/deletion-tasks/restart");
        let proxy = Proxy::start(&service, fault).await;
        let arguments: Vec<_> = advised.iter().map(String::as_str).collect();
        let restarting = spawn(&proxy.url(), &arguments);
        proxy
            .until_asked("PUT /internal/deletion-tasks/restart")
            .await;
        interrupt(&restarting);
        let ended = finished(restarting).await;
        ended.assert(130);
        let told = ended
            .err
            .strip_prefix("error: At least 0 of 2 tasks were restarted. To go on: dtask --api ");
        let told = told.unwrap_or_else(|| panic!("{}", ended.err)).trim_end();
        let command: Vec<_> = told.split(' ').skip(1).map(str::to_owned).collect();
        assert_eq!(
            command[..4],
            ["restart", "--status", "canceled", "--since"],
            "{told}"
        );
        assert!(
            command[4].ends_with('Z'),
            "a time that stays the same: {told}"
        );
        let mut next = command.clone();
        next.push("--yes".to_owned());
        if advised.contains(&"--changed-before".to_owned()) {
            assert_eq!(next, advised);
        }
        advised = next;
    }
    let arguments: Vec<_> = advised.iter().map(String::as_str).collect();
    let restarted = service.dtask(&arguments).await;
    restarted.assert(0);
    assert_eq!(restarted.out, "2 of 2 tasks were restarted\n");
    // Repeated once more, nothing is restarted, since the tasks have changed.
    let again = service.dtask(&arguments).await;
    again.assert(0);
    again.assert_err("There is nothing to restart.");
    let one = service
        .dtask(&["restart", "a", "--changed-before", "1h"])
        .await;
    one.assert_err("There is nothing to restart.");
    service.assert_every_task("attempt", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_also_finds_what_its_first_list_did_not_have() {
    let service = Service::without_worker().await;
    for id in ["a", "b", "c"] {
        service.create(id, &["obj-1".to_owned()]).await;
    }
    // The first list is empty, like one that lags.
    let empty = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 31\r\n\r\n{\"tasks\":[],\"next_cursor\":null}";
    let proxy = Proxy::start(&service, Fault::Respond(empty)).await;
    let canceled = dtask(&proxy.url(), &["cancel", "--model", "embed-456", "--yes"]).await;
    canceled.assert(0);
    assert_eq!(canceled.out, "3 of 3 tasks were canceled\n");
    service.assert_every_task("status", "canceled").await;
    let other = service
        .dtask(&["cancel", "--status", "done", "--yes"])
        .await;
    other.assert(2);
    other.assert_err("A task that is done cannot be canceled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_rights_stops_and_says_how_far_it_came() {
    let service = Service::without_worker().await;
    for id in ["a", "b", "c"] {
        service.create(id, &["obj-1".to_owned()]).await;
    }
    let denied = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/problem+json\r\ncontent-length: 51\r\n\r\n{\"status\":403,\"detail\":\"The signature has expired\"}";
    let fault = Fault::RespondTo("PUT /internal/deletion-tasks/cancel", denied);
    let proxy = Proxy::start(&service, fault).await;
    let canceled = dtask(&proxy.url(), &["cancel", "--model", "embed-456", "--yes"]).await;
    canceled.assert(1);
    let expected = "error: The signature has expired\nAt least 0 of 3 tasks were canceled.\n";
    assert_eq!(canceled.err, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restart_has_changed_can_be_told_from_what_it_chose() {
    let service = Service::without_worker().await;
    for id in ["a", "b"] {
        service.create(id, &["obj-1".to_owned()]).await;
        service.dtask(&["cancel", id]).await.assert(0);
    }
    let last = |tasks: &[Value]| {
        tasks
            .iter()
            .map(|task| task["updated_at"].to_string())
            .max()
    };
    let before = last(&service.tasks().await);
    // Restart in the same second, faster than a person can. The first response is a proxy's, which
    // does not tell the service's time.
    let busy = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
    let proxy = Proxy::start(&service, Fault::Respond(busy)).await;
    let restart = ["--json", "restart", "--since", "1h", "--yes"];
    let restarted = dtask(&proxy.url(), &restart).await.json();
    let changed = restarted
        .iter()
        .map(|task| Some(task["updated_at"].to_string()));
    assert!(changed.min().unwrap() > before, "{before:?} {restarted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_that_goes_on_leaves_out_exactly_what_has_changed() {
    let service = Service::without_worker().await;
    let model = "-it's";
    for id in ["a", "b"] {
        let run = ["run", "--task-id", id, "--", model, "obj-1"];
        service.dtask(&run).await.assert(0);
        service.dtask(&["cancel", id]).await.assert(0);
    }
    let changed = service.tasks().await;
    let changed = changed
        .iter()
        .filter_map(|task| task["updated_at"].as_str())
        .max();
    let newest: chrono::DateTime<chrono::Utc> = changed.unwrap().parse().unwrap();
    let boundary = newest + chrono::TimeDelta::seconds(1);
    let boundary = boundary.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    // A time between two seconds, and one that is still to come.
    let between = changed.unwrap().replace('Z', ".5Z");
    for before in [between.as_str(), "2999-01-01"] {
        let fault = Fault::Hold("PUT /internal/deletion-tasks/restart");
        let proxy = Proxy::start(&service, fault).await;
        let model = format!("--model={model}");
        let restart = ["restart", &model, "--changed-before", before, "--yes"];
        let restarting = spawn(&proxy.url(), &restart);
        proxy
            .until_asked("PUT /internal/deletion-tasks/restart")
            .await;
        interrupt(&restarting);
        let ended = finished(restarting).await;
        ended.assert(130);
        let told = format!("restart --model='-it'\\''s' --changed-before {boundary}\n");
        assert!(ended.err.ends_with(&told), "{before}: {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_in_two_lists_is_canceled_once() {
    let service = Service::without_worker().await;
    for id in ["a", "b"] {
        service.create(id, &["obj-1".to_owned()]).await;
    }
    // A worker takes the task between the list of the pending and that of the processing ones.
    let mut task = service.tasks().await[0].clone();
    task["status"] = "processing".into();
    let page = serde_json::json!({"tasks": [task], "next_cursor": null}).to_string();
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{page}",
        page.len()
    );
    let fault = Fault::RespondTo(
        "GET /internal/deletion-tasks/list?status=processing",
        response.leak(),
    );
    let proxy = Proxy::start(&service, fault).await;
    let canceled = dtask(&proxy.url(), &["cancel", "--model", "embed-456", "--yes"]).await;
    canceled.assert(0);
    assert_eq!(canceled.out, "2 of 2 tasks were canceled\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_asks_before_it_cancels_what_its_first_list_did_not_have() {
    let service = Service::without_worker().await;
    service.create("a", &["obj-1".to_owned()]).await;
    let empty = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 31\r\n\r\n{\"tasks\":[],\"next_cursor\":null}";
    let proxy = Proxy::start(&service, Fault::Respond(empty)).await;
    let asked = dtask(&proxy.url(), &["cancel", "--status", "pending"]).await;
    asked.assert(2);
    assert!(asked.err.starts_with("To cancel 1 task."), "{}", asked.err);
    let end = "error: Nothing was canceled. To do it without being asked, add --yes\n";
    assert!(asked.err.ends_with(end), "{}", asked.err);
    assert_eq!(service.tasks().await[0]["status"], "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_cannot_be_true_does_not_crash_the_command() {
    let service = Service::without_worker().await;
    let task = serde_json::json!({
        "id": "a", "embedding_model_id": "m", "status": "failed", "attempt": 1, "detail": null,
        "created_at": "2026-11-29T10:00:00Z", "updated_at": "+262142-12-31T23:59:59Z",
        "failed_item_ids": [],
        "progress": {"total": 0, "deleted": 7, "failed": 0, "remaining": u64::MAX},
    });
    let respond = |body: &Value| {
        let body = body.to_string();
        let head =
            "HTTP/1.1 200 OK\r\ndate: 31 Dec 262142 23:59:59 GMT\r\ncontent-type: application/json";
        let response = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        Fault::RespondTo("GET ", response.leak())
    };
    let page = serde_json::json!({"tasks": [task], "next_cursor": null});
    for (body, arguments, status) in [
        (&page, &["restart", "--model", "m"][..], 2),
        (&page, &["cancel", "--model", "m", "--yes"][..], 1),
        (&task, &["wait", "a"][..], 1),
    ] {
        let proxy = Proxy::start(&service, respond(body)).await;
        dtask(&proxy.url(), arguments).await.assert(status);
    }
}
