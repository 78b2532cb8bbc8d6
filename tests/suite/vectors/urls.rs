//! The URL of a PostgreSQL database in libpq's form: sockets, addresses, and settings for the
//! server.

use super::postgres::{Table, insert, table};
use super::{no_services, of, open, shown};
use shared::vector::{Password, Services, VectorErrorKind};
use std::process::Command;
use tests::postgres::Front;
use tests::tls::Certificate;

const ROWS: &str = "table=items&id_column=object_id";

/// A table with the object `7`.
async fn with_an_object() -> Table {
    let fixture = table("integer").await;
    insert(&fixture.database, "items", "integer", &["7".to_owned()]).await;
    fixture
}

/// Deletes the object through a store with this URL, and inserts it again.
async fn assert_deletes(fixture: &Table, url: &str) {
    let store = of(&open(url, &no_services()), "any");
    assert_eq!(shown(&*store, &["7", "8"]).await, [true, false], "{url}");
    store.delete(&["7"]).await.unwrap();
    assert_eq!(shown(&*store, &["7"]).await, [false], "{url}");
    insert(&fixture.database, "items", "integer", &["7".to_owned()]).await;
}

#[tokio::test]
async fn a_socket_is_named_in_each_way_that_libpq_knows() {
    let fixture = with_an_object().await;
    let database = &fixture.database;
    let (user, password, name) = (&database.name, &database.password, &database.database);
    let (port, sockets) = (
        database.server.port(),
        database.sockets.display().to_string(),
    );
    let encoded = sockets.replace('/', "%2F");
    for scheme in ["postgres", "postgresql"] {
        for url in [
            format!("///{name}?host={sockets}&port={port}&user={user}&password={password}&"),
            format!("//{user}:{password}@/{name}?host={sockets}&port={port}&"),
            format!("//{user}:{password}@{encoded}:{port}/{name}?sslmode=disable&"),
            format!("//{encoded}:{port}?user={user}&password={password}&dbname={name}&"),
        ] {
            assert_deletes(&fixture, &format!("{scheme}:{url}{ROWS}")).await;
        }
    }
    // There is no server in another directory.
    let elsewhere = format!("postgres://{user}@/{name}?host={sockets}/data&port={port}&{ROWS}");
    let store = of(&open(&elsewhere, &no_services()), "any");
    let error = store.present(&["7"]).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::Temporary, "{error:?}");
}

#[tokio::test]
async fn over_a_socket_the_user_is_by_default_that_of_the_system() {
    let fixture = with_an_object().await;
    let database = &fixture.database;
    let whoami = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(whoami.stdout).unwrap();
    let (user, schema, password) = (user.trim(), &database.name, &database.password);
    database
        .run(&format!(
            r#"CREATE ROLE "{user}" LOGIN PASSWORD '{password}'; GRANT USAGE ON SCHEMA {schema} TO "{user}";
               GRANT SELECT, DELETE ON items TO "{user}""#
        ))
        .await;
    let url = format!(
        "postgres:///{}?host={}&port={}&schema={schema}&{ROWS}",
        database.database,
        database.sockets.display(),
        database.server.port()
    );
    let services = Services {
        password: Some(Password::new(password.as_str())),
        ..no_services()
    };
    let store = of(&open(&url, &services), "any");
    assert_eq!(shown(&*store, &["7", "8"]).await, [true, false]);
    drop(store);
    database
        .run(&format!(r#"DROP OWNED BY "{user}"; DROP ROLE "{user}""#))
        .await;
}

#[tokio::test]
async fn an_address_is_connected_to_and_the_host_is_the_name_that_is_verified() {
    let fixture = with_an_object().await;
    let certificate = Certificate::of(&["db.example.com"]);
    let front = Front::before(fixture.database.server, Some(&certificate)).await;
    let roots = certificate.authority_file("named", "");
    let roots = format!("hostaddr=127.0.0.1&sslrootcert={}&{ROWS}", roots.display());
    let at = |host: &str| {
        let address = format!("{host}:{}", front.address.port());
        fixture.database.url_at(&address, &roots)
    };
    assert_deletes(&fixture, &at("db.example.com")).await;
    let store = of(&open(&at("other.example.com"), &no_services()), "any");
    let error = store.present(&["7"]).await.unwrap_err();
    assert!(error.detail.contains("is for another host"), "{error:?}");
    // Without a host name no name is resolved.
    let database = &fixture.database;
    let url = format!(
        "postgres://{}:{}@/{}?hostaddr=127.0.0.1&port={}&{ROWS}",
        database.name,
        database.password,
        database.database,
        database.server.port()
    );
    assert_deletes(&fixture, &url).await;
}

#[tokio::test]
async fn the_server_is_told_the_application_s_name_and_the_options() {
    let fixture = with_an_object().await;
    let database = &fixture.database;
    // Another schema has another table of this name.
    let (role, other) = (&database.name, format!("{}_other", database.name));
    database
        .run(&format!(
            "CREATE SCHEMA {other}; GRANT USAGE ON SCHEMA {other} TO {role}; \
             CREATE TABLE {other}.items (object_id integer); INSERT INTO {other}.items VALUES (8); \
             GRANT SELECT, DELETE ON {other}.items TO {role}"
        ))
        .await;
    let named = async |parameters: &str| {
        database.cut_connections().await;
        let stores = open(
            &database.url(&format!("{ROWS}&{parameters}")),
            &no_services(),
        );
        let found = shown(&*of(&stores, "any"), &["7", "8"]).await;
        let name = format!(
            "SELECT application_name FROM pg_stat_activity WHERE usename = '{role}' AND state = 'idle'"
        );
        let row = database.admin.query_one(&name, &[]).await.unwrap();
        (row.get::<_, String>(0), found)
    };
    let none = named("").await;
    assert_eq!(none, ("deletion-tasks".to_owned(), vec![true, false]));
    let options = format!("application_name=an%20eraser&options=-csearch_path%3D{other}");
    let both = named(&options).await;
    assert_eq!(both, ("an eraser".to_owned(), vec![false, true]));
    let fallback = named("fallback_application_name=another").await;
    assert_eq!(fallback.0, "another");
}
