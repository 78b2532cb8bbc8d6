//! `dtask console`.

use crate::service::{Fault, Proxy, Service, finished, first_line, interrupt, spawn_with};

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

#[tokio::test(flavor = "multi_thread")]
async fn the_console_signs_with_the_new_key_once_the_old_one_is_refused() {
    let service = Service::start().await;
    let keys = |key: &str| {
        let profile = format!("[default]\naws_access_key_id={key}\naws_secret_access_key=secret");
        service.file("credentials", &[profile])
    };
    let file = keys("AKIAOLD");
    let variables = [
        ("AWS_SHARED_CREDENTIALS_FILE", file.as_str()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let refused =
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let proxy = Proxy::start(&service, Fault::Respond(refused)).await;
    let arguments = ["--sign", "--region", "eu-west-1", "console"];
    let mut console = spawn_with(&proxy.url(), &arguments, &variables);
    let address = first_line(&mut console).await;
    let address = address.strip_prefix("Console http://").unwrap();
    let (address, token) = address.split_once("/#token=").unwrap();
    let address = address.parse().unwrap();
    let token = format!("Bearer {token}");
    let list = async || {
        let headers = [("authorization", token.as_str())];
        let path = "/internal/deletion-tasks/list";
        tests::http::send_with(address, "GET", path, &headers, "").await
    };
    assert_eq!(list().await.status, 403);
    keys("AKIANEW");
    list().await.ok();
    assert!(proxy.was_asked("Credential=AKIANEW/"));
    interrupt(&console);
    finished(console).await.assert(0);
}
