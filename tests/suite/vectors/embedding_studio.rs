//! EmbeddingStudio's tables, created and filled in the same way as by EmbeddingStudio.

use super::connections::LATENCY;
use super::contract::{Breakable, Cut, Fixture};
use super::postgres::{delete_and_cut, delete_late, keep};
use super::{no_services, of, open, shown};
use shared::vector::{AfterDelete, VectorError, VectorErrorKind, VectorStore, VectorStores};
use std::collections::BTreeSet;
use std::sync::Arc;
use tests::postgres::{Database, Front, Postgres};

const LAYOUT: &str = "layout=embedding-studio";
pub(super) const MODEL: &str = "model-1";

/// A collection of the model `model-1`.
pub(super) struct Collection {
    pub(super) database: Database,
    pub(super) stores: VectorStores,
    front: Front,
    types: [&'static str; 3],
}

pub(super) async fn collection() -> Collection {
    let database = Postgres::shared().await.database().await;
    collection_of(database, ["varchar(128)"; 3]).await
}

/// A collection with these types of `object_id`, `original_id` and the parts' `object_id`.
pub(super) async fn collection_of(database: Database, types: [&'static str; 3]) -> Collection {
    let newer = format!(
        "original_id {}, user_id varchar(128), session_id varchar(128),",
        types[1]
    );
    made(database, types, &newer).await
}

/// Creates the tables, with these columns of later versions.
async fn made(database: Database, types: [&'static str; 3], newer_columns: &str) -> Collection {
    let role = &database.name;
    let [object_id, _, of_parts] = types;
    database
        .run(&format!(
            r#"CREATE TABLE "dbo_{MODEL}" (object_id {object_id} PRIMARY KEY, {newer_columns}
                   payload jsonb, storage_meta jsonb);
               CREATE TABLE "dbop_{MODEL}" (part_id varchar(128) PRIMARY KEY,
                   object_id {of_parts} REFERENCES "dbo_{MODEL}", vector vector(3));
               CREATE INDEX ON "dbop_{MODEL}" (object_id);
               CREATE INDEX ON "dbop_{MODEL}" USING hnsw (vector vector_cosine_ops);
               GRANT SELECT, UPDATE, DELETE ON "dbo_{MODEL}", "dbop_{MODEL}" TO {role}"#
        ))
        .await;
    let front = Front::before(database.server, None).await;
    let url = database.url_at(&front.address.to_string(), LAYOUT);
    Collection {
        stores: open(&url, &no_services()),
        database,
        front,
        types,
    }
}

impl Collection {
    /// Inserts objects, each with two parts.
    pub(super) async fn insert(&self, ids: &[&str]) {
        let [object_id, _, of_parts] = self.types;
        for statement in [
            format!(
                r#"INSERT INTO "dbo_{MODEL}" (object_id) SELECT id::{object_id} FROM unnest($1::text[]) AS id"#
            ),
            format!(
                r#"INSERT INTO "dbop_{MODEL}" SELECT copy || ':' || left(md5(id), 20), id::{of_parts}, ARRAY[random(), random(), copy]::vector
                   FROM unnest($1::text[]) AS id, generate_series(1, 2) AS copy"#
            ),
        ] {
            self.database
                .admin
                .execute(&statement, &[&ids])
                .await
                .unwrap();
        }
    }

    /// Records for each of these objects which object it was derived from.
    pub(super) async fn derive(&self, from: &[(&str, &str)]) {
        let [object_id, original_id, _] = self.types;
        for (id, original) in from {
            let statement = format!(
                r#"UPDATE "dbo_{MODEL}" SET original_id = $2::text::{original_id} WHERE object_id = $1::text::{object_id}"#
            );
            self.database
                .admin
                .execute(&statement, &[id, original])
                .await
                .unwrap();
        }
    }

    async fn ids_in(&self, table: &str) -> BTreeSet<String> {
        let statement = format!(r#"SELECT DISTINCT object_id::text FROM "{table}_{MODEL}""#);
        let rows = self.database.admin.query(&statement, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub(super) async fn assert_left(&self, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(self.left().await, expected);
    }
}

impl Fixture for Collection {
    fn store(&self) -> Arc<dyn VectorStore> {
        of(&self.stores, MODEL)
    }

    fn missing(&self) -> Arc<dyn VectorStore> {
        of(&self.stores, "no-such-model")
    }

    fn can_hold(&self, id: &str) -> bool {
        id.chars().count() <= 128
    }

    fn longest(&self) -> String {
        "日".repeat(128)
    }

    async fn seed(&self, ids: &[String]) {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        self.insert(&ids).await;
    }

    async fn left(&self) -> BTreeSet<String> {
        let objects = self.ids_in("dbo").await;
        assert_eq!(self.ids_in("dbop").await, objects, "each with its parts");
        objects
    }

    async fn delete_late(&self, ids: &[&str]) -> Result<Vec<AfterDelete>, VectorError> {
        let parts = format!(r#""dbop_{MODEL}""#);
        delete_late(&self.database, &self.front, &parts, &*self.store(), ids).await
    }
}

impl Breakable for Collection {
    async fn deny(&self) {
        let role = &self.database.name;
        let deny = format!(r#"REVOKE ALL ON "dbo_{MODEL}", "dbop_{MODEL}" FROM {role}"#);
        self.database.run(&deny).await;
    }

    async fn throttle(&self) {
        let role = &self.database.name;
        self.database
            .run(&format!("ALTER ROLE {role} CONNECTION LIMIT 0"))
            .await;
        self.database.cut_connections().await;
    }

    async fn heal(&self) {
        let role = &self.database.name;
        self.database
            .run(&format!(
                r#"GRANT SELECT, UPDATE, DELETE ON "dbo_{MODEL}", "dbop_{MODEL}" TO {role};
                   ALTER ROLE {role} CONNECTION LIMIT -1;
                   DROP TRIGGER IF EXISTS keep ON "dbo_{MODEL}";
                   DROP TRIGGER IF EXISTS keep ON "dbop_{MODEL}""#
            ))
            .await;
    }

    async fn keep(&self, ids: &[&str]) {
        for table in ["dbo", "dbop"] {
            let table = format!(r#""{table}_{MODEL}""#);
            keep(&self.database, &table, ids).await;
        }
    }

    async fn delete_and_cut(
        &self,
        ids: &[&str],
        cut: Cut,
    ) -> Result<Vec<AfterDelete>, VectorError> {
        // The cut comes after the objects were found and before their parts are gone.
        let parts = format!(r#""dbop_{MODEL}""#);
        let store = self.store();
        delete_and_cut(&self.database, &self.front, &parts, &*store, ids, cut).await
    }
}

#[tokio::test]
async fn originals_and_derived_objects_go_with_a_listed_one_and_no_others() {
    for (listed, left) in [
        // With an original, the objects derived from it are deleted.
        (vec!["a"], vec!["b", "b1", "c"]),
        // With a derived object, its original is deleted, but not the other objects derived from
        // that original.
        (vec!["a1"], vec!["a2", "b", "b1", "c"]),
        (vec!["a1", "b1"], vec!["a2", "c"]),
        (vec!["c"], vec!["a", "a1", "a2", "b", "b1"]),
        // With an object that does not exist, the objects recorded as derived from it are deleted.
        (vec!["gone"], vec!["a", "a1", "a2", "b", "b1"]),
        (vec!["nothing"], vec!["a", "a1", "a2", "b", "b1", "c"]),
    ] {
        let fixture = collection().await;
        fixture.insert(&["a", "a1", "a2", "b", "b1", "c"]).await;
        fixture
            .derive(&[("a1", "a"), ("a2", "a"), ("b1", "b"), ("c", "gone")])
            .await;
        fixture.store().delete(&listed).await.unwrap();
        fixture.assert_left(&left).await;
    }
}

#[tokio::test]
async fn a_delete_is_one_transaction_in_two_round_trips_on_one_connection() {
    let fixture = collection().await;
    fixture.insert(&["a", "b", "c"]).await;
    let front = Front::before(fixture.database.server, None).await;
    front.delay_answers(LATENCY);
    let url = fixture.database.url_at(&front.address.to_string(), LAYOUT);
    let store = of(&open(&url, &no_services()), MODEL);
    shown(&*store, &["a"]).await;
    front.round_trips();
    store.delete(&["a", "b"]).await.unwrap();
    // The first round trip is BEGIN and the search for the objects to delete. The second is a time
    // limit, the deletes of parts and objects, COMMIT and the read.
    assert_eq!(front.round_trips(), 2);
    assert_eq!(front.connections(), 1);
    fixture.assert_left(&["c"]).await;
}

#[tokio::test]
async fn a_part_that_is_added_meanwhile_keeps_nothing_half_deleted() {
    let fixture = collection().await;
    fixture.insert(&["a", "b"]).await;
    let adder = fixture.database.lock_rows(r#"(SELECT) AS nothing"#).await;
    let add = format!(r#"INSERT INTO "dbop_{MODEL}" VALUES ('late', 'a', '[1,2,3]')"#);
    adder.batch_execute(&add).await.unwrap();
    let commit = async {
        fixture.database.until_locked_out().await;
        adder.batch_execute("COMMIT").await.unwrap();
    };
    let store = fixture.store();
    let (deleted, ()) = futures_util::join!(store.delete(&["a"]), commit);
    deleted.unwrap();
    fixture.assert_left(&["b"]).await;
}

#[tokio::test]
async fn an_older_database_has_no_originals_until_the_column_is_added() {
    let database = Postgres::shared().await.database().await;
    let fixture = made(database, ["varchar(128)"; 3], "").await;
    fixture.insert(&["a", "a1", "b"]).await;
    let store = fixture.store();
    assert_eq!(shown(&*store, &["a", "x"]).await, [true, false]);
    store.delete(&["b"]).await.unwrap();
    fixture.assert_left(&["a", "a1"]).await;
    let add = format!(r#"ALTER TABLE "dbo_{MODEL}" ADD original_id varchar(128)"#);
    fixture.database.run(&add).await;
    fixture.derive(&[("a1", "a")]).await;
    store.delete(&["a"]).await.unwrap();
    fixture.assert_left(&[]).await;
}

#[tokio::test]
async fn a_model_whose_tables_cannot_be_named_has_no_index() {
    let fixture = collection().await;
    let store = of(&fixture.stores, &"m".repeat(59)); // dbo_ would fit, dbop_ would not
    let error = store.present(&["a"]).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::IndexMissing);
    assert!(error.detail.contains("63 bytes"), "{}", error.detail);
    let odd = of(&fixture.stores, r#"x"; DROP TABLE "dbo_model-1"; --"#);
    let error = odd.delete(&["a"]).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::IndexMissing);
    fixture.assert_left(&[]).await;
}
