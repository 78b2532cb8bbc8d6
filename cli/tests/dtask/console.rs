//! `dtask console`.

use crate::service::{Service, finished, first_line, interrupt};

#[tokio::test(flavor = "multi_thread")]
async fn the_console_makes_only_its_own_calls_and_only_for_who_knows_its_address() {
    let service = Service::start().await;
    service
        .dtask(&["run", "embed-456", "obj-1", "--task-id", "t", "--wait"])
        .await
        .assert(0);
    let mut console = service.spawn(&["console"]);
    let address = first_line(&mut console).await;
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
    interrupt(&console);
    finished(console).await.assert(0);
}
