//! Calls that are lost, throttled or signed, or that reach something else.

use crate::service::{Fault, Proxy, Service, dtask, finished, spawn_with};

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
    let restarted = dtask(&proxy.url(), &["--json", "restart", "t"]).await;
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
    dtask(&proxy.url(), &["run", "embed-456", "obj-1"])
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
    dtask(&proxy.url(), &["list"]).await.assert(0);
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
        let list = dtask(&proxy.url(), &["list"]).await;
        list.assert(3);
        list.assert_err("is not Deletion Tasks");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_gives_up_says_why_and_how_to_go_on() {
    let service = Service::without_worker().await;
    service
        .dtask(&["run", "embed-456", "obj-1", "--task-id", "t"])
        .await
        .assert(0);
    let throttled =
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 5000\r\ncontent-length: 0\r\n\r\n";
    let proxy = Proxy::start(&service, Fault::Respond(throttled)).await;
    let waited = dtask(&proxy.url(), &["list"]).await;
    waited.assert(1);
    assert_eq!(
        waited.err,
        "error: The service is throttling. It asks to wait 5000 s.\n"
    );

    let proxy = Proxy::start(&service, Fault::Respond(throttled)).await;
    let run = dtask(&proxy.url(), &["run", "embed-456", "obj-1"]).await;
    run.assert(1);
    let expected = "The task may have been created. To make sure, run the same command again, with --task-id 0";
    run.assert_err(expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_signed_with_the_credentials_that_the_aws_cli_would_use() {
    let service = Service::start().await;
    let keys = |name: &str, key: &str| {
        format!("[{name}]\naws_access_key_id={key}\naws_secret_access_key=secret")
    };
    let profiles = [keys("default", "AKIADEFAULT"), keys("prod", "AKIAPROD")];
    let file = service.file("credentials", &profiles);
    let file = ("AWS_SHARED_CREDENTIALS_FILE", file.as_str());
    let environment = [
        ("AWS_ACCESS_KEY_ID", "AKIAENV"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let off = ("AWS_EC2_METADATA_DISABLED", "true");
    let list = ["--sign", "--region", "eu-west-1", "list"];
    let prod = [
        "--profile",
        "prod",
        "--sign",
        "--region",
        "eu-west-1",
        "list",
    ];
    for (arguments, variables, signer) in [
        (&list[..], vec![file, off], "AKIADEFAULT"),
        (
            &list[..],
            vec![file, off, ("AWS_PROFILE", "prod")],
            "AKIAPROD",
        ),
        (
            &list[..],
            vec![file, off, ("AWS_PROFILE", "")],
            "AKIADEFAULT",
        ),
        (
            &list[..],
            [
                vec![file, off, ("AWS_PROFILE", "prod")],
                environment.to_vec(),
            ]
            .concat(),
            "AKIAENV",
        ),
        (
            &prod[..],
            [vec![file, off], environment.to_vec()].concat(),
            "AKIAPROD",
        ),
    ] {
        let proxy = Proxy::start(&service, Fault::None).await;
        let ran = finished(spawn_with(&proxy.url(), arguments, &variables)).await;
        ran.assert(0);
        let scope = format!("Credential={signer}/");
        assert!(proxy.was_asked(&scope), "{arguments:?} {variables:?}");
        assert!(proxy.was_asked("/eu-west-1/execute-api/aws4_request"));
    }
    let unknown = [
        "--profile",
        "nobody",
        "--sign",
        "--region",
        "eu-west-1",
        "list",
    ];
    for (arguments, variables) in [(&unknown[..], vec![file, off]), (&list[..], vec![off])] {
        let ran = finished(spawn_with(&service.url(), arguments, &variables)).await;
        ran.assert(2);
        ran.assert_err("There are no AWS credentials to sign with");
    }
    let keys = [environment.to_vec(), vec![off, ("AWS_REGION", "")]].concat();
    let ran = finished(spawn_with(&service.url(), &["--sign", "list"], &keys)).await;
    ran.assert(2);
    ran.assert_err("region to sign for is not known");
}
