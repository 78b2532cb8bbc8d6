//! The certificates that the functions trust.

use super::*;
use tests::tls::{Certificate, Https};

/// A function whose services have a certificate from an authority that only `SSL_CERT_FILE` names.
async fn function_trusting(roots: &str, running: &Running, name: &str) -> (Function, Https) {
    let certificate = Certificate::of(&["localhost"]);
    let https = Https::before(running.dynamodb, &certificate).await;
    let file = certificate.authority_file(name, "");
    let changes = [
        ("AWS_ENDPOINT_URL_DYNAMODB", https.url()),
        ("SSL_CERT_FILE", file.to_str().unwrap().to_owned()),
        ("TLS_ROOTS", roots.to_owned()),
    ];
    let function = Function::start_changed("get-deletion-task", running, &changes).await;
    (function, https)
}

#[tokio::test]
async fn with_the_systems_roots_a_certificate_that_the_system_trusts_will_do() {
    let running = services().await;
    let (mut function, _https) = function_trusting("system", &running, "system").await;
    let reply = function.call(&event("get-deletion-task")).await;
    assert_eq!(reply.status, 404, "{}", reply.text);
}

#[tokio::test]
async fn with_amazons_roots_no_other_certificate_will_and_the_log_names_the_switch() {
    let running = services().await;
    let (mut function, _https) = function_trusting("amazon", &running, "amazon").await;
    let reply = function.call(&event("get-deletion-task")).await;
    assert_eq!(reply.status, 503, "{}", reply.text);
    let log = function.end().await.stdout;
    assert!(
        log.contains("certificate not trusted, see TLS_ROOTS"),
        "{log}"
    );
}
