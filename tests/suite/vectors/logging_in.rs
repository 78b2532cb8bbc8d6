//! TLS, passwords, and secrets.
//!
//! The server of the tests is built without TLS, so a proxy in front of it terminates TLS.

use super::postgres::{Table, table};
use super::secrets::{ARN, Secrets};
use super::{no_services, of, open};
use serde_json::json;
use shared::vector::VectorErrorKind::{Denied, Temporary};
use shared::vector::{Password, Presence, Services, VectorError, VectorErrorKind};
use tests::postgres::Front;
use tests::tls::Certificate;
use tokio::net::TcpListener;

const ROWS: &str = "table=items&id_column=object_id";

async fn check(url: &str, services: &Services) -> Result<Vec<Presence>, VectorError> {
    of(&open(url, services), "any").present(&["a"]).await
}

/// Makes an existence check through the proxy, by the name `host`, with these parameters.
async fn check_at(
    fixture: &Table,
    host: &str,
    front: &Front,
    parameters: &str,
) -> Result<(), (VectorErrorKind, String)> {
    let address = format!("{host}:{}", front.address.port());
    let parameters = format!("{ROWS}&{parameters}");
    let url = fixture.database.url_at(&address, &parameters);
    let result = check(&url, &no_services()).await;
    result.map(drop).map_err(|error| (error.kind, error.detail))
}

#[tokio::test]
async fn tls_is_verified_in_full_against_the_authority_that_the_url_names() {
    let fixture = table("text").await;
    let (ours, another) = (
        Certificate::of(&["localhost"]),
        Certificate::of(&["localhost"]),
    );
    let front = Front::before(fixture.database.server, Some(&ours)).await;
    let roots = |authority: &Certificate, name| {
        let file = authority.authority_file(name, "");
        format!("sslrootcert={}", file.display())
    };
    let (ours, another) = (roots(&ours, "ours"), roots(&another, "another"));
    // With an authority, verify-full is the default even on loopback.
    assert_eq!(check_at(&fixture, "localhost", &front, &ours).await, Ok(()));
    let full = format!("{ours}&sslmode=verify-full");
    assert_eq!(check_at(&fixture, "localhost", &front, &full).await, Ok(()));

    let of_an_unknown_authority = "The vector store's certificate is signed by an authority that is not trusted: add sslrootcert to the store's URL, with a file of the authority's certificate";
    let of_another_host = "The vector store's certificate is for another host: write a host that it names in the store's URL";
    for (host, parameters, why) in [
        ("localhost", another.as_str(), of_an_unknown_authority),
        ("127.0.0.1", ours.as_str(), of_another_host),
        // The system does not trust this authority.
        ("localhost", "sslmode=verify-full", of_an_unknown_authority),
    ] {
        let refused = check_at(&fixture, host, &front, parameters).await;
        assert_eq!(
            refused,
            Err((Denied, why.to_owned())),
            "{host} {parameters}"
        );
    }
    let expired = Certificate::that_has_expired(&["localhost"]);
    let roots = roots(&expired, "expired");
    let front_of_the_expired = Front::before(fixture.database.server, Some(&expired)).await;
    let refused = check_at(&fixture, "localhost", &front_of_the_expired, &roots).await;
    let why =
        "The vector store's certificate has expired or is not valid yet: renew it at the server";
    assert_eq!(refused, Err((Denied, why.to_owned())));
    let unverified = check_at(&fixture, "127.0.0.1", &front, "sslmode=require").await;
    assert_eq!(unverified, Ok(()));
}

#[tokio::test]
async fn a_server_without_tls_is_not_talked_to_in_clear_unless_the_url_says_so() {
    let fixture = table("text").await;
    let front = Front::before(fixture.database.server, None).await;
    let why = "The vector store does not offer TLS".to_owned();
    for mode in ["require", "verify-full"] {
        let refused = check_at(&fixture, "127.0.0.1", &front, &format!("sslmode={mode}")).await;
        assert_eq!(refused, Err((Denied, why.clone())), "{mode}");
    }
    let clear = check_at(&fixture, "127.0.0.1", &front, "sslmode=disable").await;
    assert_eq!(clear, Ok(()));
}

#[tokio::test]
async fn a_server_that_is_out_of_reach_is_a_temporary_error() {
    let fixture = table("text").await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let url = fixture.database.url_at(&address, ROWS);
    let error = check(&url, &no_services()).await.unwrap_err();
    assert_eq!(error.kind, Temporary, "{error:?}");
}

#[tokio::test]
async fn a_password_comes_from_the_url_or_from_the_environment() {
    let fixture = table("text").await;
    let database = &fixture.database;
    let url = |user: &str| {
        let (server, database) = (database.server, &database.database);
        format!("postgres://{user}@{server}/{database}?{ROWS}")
    };
    let with = |password: &str| Services {
        password: Some(Password::new(password)),
        ..no_services()
    };
    let name = &database.name;
    assert!(check(&url(name), &with(&database.password)).await.is_ok());
    // A password in the URL takes precedence.
    let given = format!("{name}:{}", database.password);
    assert!(check(&url(&given), &with("wrong")).await.is_ok());

    let wrong = "The vector store does not accept the user or the password";
    let none = "The vector store requires a password, and none is configured";
    for (user, services, detail) in [
        (name.clone(), with("wrong"), wrong),
        (format!("{name}:wrong"), no_services(), wrong),
        ("nobody".to_owned(), with("wrong"), wrong),
        (name.clone(), no_services(), none),
    ] {
        let error = check(&url(&user), &services).await.unwrap_err();
        assert_eq!(
            (error.kind, error.detail.as_str()),
            (Denied, detail),
            "{user}"
        );
        assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
    }
    let other = url(&given).replace(&format!("/{}?", database.database), "/no_such_database?");
    let error = check(&other, &no_services()).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::IndexMissing, "{error:?}");
}

#[tokio::test]
async fn a_password_comes_from_a_secret_and_is_fetched_again_when_it_was_changed() {
    let fixture = table("text").await;
    let (database, secrets) = (&fixture.database, Secrets::default());
    let services = secrets.start().await;
    let (name, server) = (&database.name, database.server);
    // The URL has no user, because the secret names it.
    let url = format!(
        "postgres://{server}/{}?{ROWS}&password_secret={ARN}",
        database.database
    );
    let store = of(&open(&url, &services), "any");
    secrets.hold(&json!({"username": name, "password": database.password}).to_string());
    for _ in 0..3 {
        store.present(&["a"]).await.unwrap();
    }
    assert_eq!(secrets.calls(), 1);
    database.cut_connections().await;
    store.present(&["a"]).await.unwrap();
    assert_eq!(secrets.calls(), 1, "what is known is used");

    database
        .run(&format!("ALTER ROLE {name} PASSWORD 'changed'"))
        .await;
    secrets.hold(&json!({"username": name, "password": "changed"}).to_string());
    database.cut_connections().await;
    store.present(&["a"]).await.unwrap();
    assert_eq!(secrets.calls(), 2);

    secrets.hold("not it"); // it names no user either
    database
        .run(&format!("ALTER ROLE {name} PASSWORD 'changed again'"))
        .await;
    database.cut_connections().await;
    let error = store.present(&["a"]).await.unwrap_err();
    assert_eq!(error.kind, Denied, "{error:?}");
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_sorted_by_meaning_and_its_arn_is_not_shown() {
    let fixture = table("text").await;
    let (database, secrets) = (&fixture.database, Secrets::default());
    let services = secrets.start().await;
    let (name, server) = (&database.name, database.server);
    let url = format!(
        "postgres://{name}@{server}/{}?{ROWS}&password_secret={ARN}",
        database.database
    );
    for (status, kind, expected) in [
        (400, "AccessDeniedException", Denied),
        (400, "ResourceNotFoundException", Denied),
        (400, "DecryptionFailure", Temporary),
        (500, "InternalServiceError", Temporary),
    ] {
        secrets.set(
            status,
            json!({"__type": kind, "Message": format!("{ARN} is not for you")}),
        );
        let error = check(&url, &services).await.unwrap_err();
        assert_eq!(error.kind, expected, "{kind}");
        assert!(!error.detail.contains("arn:"), "{}", error.detail);
        assert_eq!(error.code, kind);
    }
    secrets.hold(&database.password);
    assert!(
        check(&url, &services).await.is_ok(),
        "a bare password will do"
    );
}
