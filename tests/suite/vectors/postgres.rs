//! PostgreSQL with pgvector: a table with an HNSW index, for each type of id.

use super::contract::{Breakable, Cut, Fixture, delete_held_up};
use super::{no_services, of, open, shown};
use shared::vector::{
    AfterDelete, Presence, VectorError, VectorErrorKind, VectorStore, VectorStores,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use tests::postgres::{Database, Front, Postgres};

/// The URL parameters for the tables that [`make_table`] makes.
pub(super) const ROWS: &str = "table={embedding_model_id}&id_column=object_id";

/// Creates a table like an application's. The service may read and delete its rows.
pub(super) async fn make_table(database: &Database, table: &str, id_type: &str) {
    let role = &database.name;
    database
        .run(&format!(
            "CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
                object_id {id_type} NOT NULL, embedding vector(3)); \
             CREATE INDEX ON {table} (object_id); \
             CREATE INDEX ON {table} USING hnsw (embedding vector_l2_ops); \
             GRANT SELECT, DELETE ON {table} TO {role}"
        ))
        .await;
}

/// Inserts two rows for each id into a table.
pub(super) async fn insert(database: &Database, table: &str, id_type: &str, ids: &[String]) {
    let statement = format!(
        "INSERT INTO {table} (object_id, embedding) \
         SELECT id::{id_type}, ARRAY[random(), random(), copy]::vector \
         FROM unnest($1::text[]) AS id, generate_series(1, 2) AS copy"
    );
    let done = database.admin.execute(&statement, &[&ids]).await;
    done.unwrap_or_else(|error| panic!("{error:?}"));
}

/// Creates a trigger that keeps the rows with these ids. The server still acknowledges their
/// deletes.
pub(super) async fn keep(database: &Database, table: &str, ids: &[&str]) {
    let ids = ids.iter().map(|id| format!("'{id}'"));
    let ids = ids.collect::<Vec<_>>().join(", ");
    database
        .run(&format!(
            "CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                IF OLD.object_id::text IN ({ids}) THEN RETURN NULL; END IF; RETURN OLD; END $$; \
             CREATE TRIGGER keep BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION keep()"
        ))
        .await;
}

async fn ids_in(database: &Database, table: &str) -> BTreeSet<String> {
    let statement = format!("SELECT DISTINCT object_id::text FROM {table}");
    let rows = database.admin.query(&statement, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// A table `items` with ids of one type.
pub(super) struct Table {
    pub(super) database: Database,
    pub(super) stores: VectorStores,
    front: Front,
    id_type: &'static str,
}

pub(super) async fn table(id_type: &'static str) -> Table {
    let database = Postgres::shared().await.database().await;
    make_table(&database, "items", id_type).await;
    let front = Front::before(database.server, None).await;
    let url = database.url_at(&front.address.to_string(), ROWS);
    Table {
        stores: open(&url, &no_services()),
        database,
        front,
        id_type,
    }
}

impl Table {
    /// The same table behind another store.
    pub(super) fn behind<S: VectorStore + 'static>(
        self,
        other: impl Fn(Arc<dyn VectorStore>) -> S + Send + Sync + 'static,
    ) -> Self {
        let stores = self.stores.wrapped(move |store| Arc::new(other(store)));
        Self { stores, ..self }
    }
}

impl Fixture for Table {
    fn store(&self) -> Arc<dyn VectorStore> {
        of(&self.stores, "items")
    }

    fn missing(&self) -> Arc<dyn VectorStore> {
        of(&self.stores, "no such table")
    }

    fn id(&self, number: usize) -> String {
        match self.id_type {
            "uuid" => format!("0190a5f0-7b1c-7def-8a3b-{number:012x}"),
            "bigint" => format!("{}", number * 1_000_000_007),
            "smallint" => format!("{}", 10_000 + number * 4),
            _ => format!("object-{number}"),
        }
    }

    fn can_hold(&self, id: &str) -> bool {
        match self.id_type {
            "varchar(12)" => id.chars().count() <= 12,
            "uuid" => id.len() == 36 && id.starts_with("0190a5f0-"),
            "bigint" => id
                .parse::<i64>()
                .is_ok_and(|number| number.to_string() == id),
            "smallint" => id
                .parse::<i16>()
                .is_ok_and(|number| number.to_string() == id),
            _ => true,
        }
    }

    fn longest(&self) -> String {
        match self.id_type {
            "varchar(12)" => "日".repeat(12),
            "uuid" => self.id(0),
            "bigint" => i64::MAX.to_string(),
            "smallint" => i16::MAX.to_string(),
            _ => "k".repeat(1024),
        }
    }

    async fn seed(&self, ids: &[String]) {
        insert(&self.database, "items", self.id_type, ids).await;
    }

    async fn left(&self) -> BTreeSet<String> {
        ids_in(&self.database, "items").await
    }

    async fn delete_late(&self, ids: &[&str]) -> Result<Vec<AfterDelete>, VectorError> {
        delete_late(&self.database, &self.front, "items", &*self.store(), ids).await
    }
}

impl Breakable for Table {
    async fn deny(&self) {
        let role = &self.database.name;
        self.database
            .run(&format!("REVOKE ALL ON items FROM {role}"))
            .await;
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
        let heal = format!(
            "GRANT SELECT, DELETE ON items TO {role}; ALTER ROLE {role} CONNECTION LIMIT -1; \
             DROP TRIGGER IF EXISTS keep ON items"
        );
        self.database.run(&heal).await;
    }

    async fn keep(&self, ids: &[&str]) {
        keep(&self.database, "items", ids).await;
    }

    async fn delete_and_cut(
        &self,
        ids: &[&str],
        cut: Cut,
    ) -> Result<Vec<AfterDelete>, VectorError> {
        delete_and_cut(
            &self.database,
            &self.front,
            "items",
            &*self.store(),
            ids,
            cut,
        )
        .await
    }
}

/// Deletes over a connection that is cut, either while the delete waits for a lock on the rows of
/// `table`, or once the delete has been carried out.
pub(super) async fn delete_and_cut(
    database: &Database,
    front: &Front,
    table: &str,
    store: &dyn VectorStore,
    ids: &[&str],
    cut: Cut,
) -> Result<Vec<AfterDelete>, VectorError> {
    let lock = database.lock_rows(table).await;
    let cutting = async {
        database.until_locked_out().await;
        if cut == Cut::Before {
            assert!(database.cut_connections().await > 0);
            drop(lock);
            return;
        }
        front.go_silent();
        drop(lock);
        database.until_nothing_runs().await;
        front.cut();
    };
    let delete = async {
        let mut ended = store.delete(ids).await;
        // A store in front of the table's may delete nothing at first.
        while matches!(&ended, Ok(after) if after.contains(&AfterDelete::More)) {
            ended = store.delete(ids).await;
        }
        ended
    };
    let (ended, ()) = futures_util::join!(delete, cutting);
    ended
}

/// Deletes while the rows of `table` are locked and no response comes through, until the time for
/// the delete is over.
pub(super) async fn delete_late(
    database: &Database,
    front: &Front,
    table: &str,
    store: &dyn VectorStore,
    ids: &[&str],
) -> Result<Vec<AfterDelete>, VectorError> {
    // Otherwise the delete would also have to wait for what a first call learns.
    store.present(ids).await?;
    let lock = database.lock_rows(table).await;
    let silence = async {
        database.until_locked_out().await;
        front.go_silent();
    };
    let delete = delete_held_up(store, ids, || drop(lock));
    let (ended, ()) = futures_util::join!(delete, silence);
    front.cut();
    ended
}

pub(super) fn some_ids(count: usize) -> Vec<String> {
    tests::ids("object", count)
}

#[tokio::test]
async fn every_row_with_a_listed_id_goes_and_the_hnsw_index_finds_the_rest() {
    let fixture = table("text").await;
    let ids = some_ids(100);
    fixture.seed(&ids).await;
    let listed: Vec<&str> = ids[..90].iter().map(String::as_str).collect();
    fixture.store().delete(&listed).await.unwrap();
    assert_eq!(
        fixture.database.number("SELECT count(*) FROM items").await,
        20
    );
    fixture
        .database
        .run("SET enable_seqscan = off; SET hnsw.ef_search = 200")
        .await;
    let nearest = "SELECT count(*) FROM (SELECT id FROM items ORDER BY embedding <-> '[0,0,0]' LIMIT 20) AS found";
    assert_eq!(fixture.database.number(nearest).await, 20);
}

#[tokio::test]
async fn names_are_taken_as_they_are_and_never_as_sql() {
    let fixture = table("text").await;
    let odd = r#""Odd"" name; DROP TABLE items; --""#;
    fixture.database.run("CREATE SCHEMA \"my schema\"").await;
    let role = &fixture.database.name;
    fixture
        .database
        .run(&format!("GRANT USAGE ON SCHEMA \"my schema\" TO {role}"))
        .await;
    let table = format!("\"my schema\".{odd}");
    make_table(&fixture.database, &table, "text").await;
    insert(&fixture.database, &table, "text", &some_ids(2)).await;
    let url = fixture.database.url(&format!("{ROWS}&schema=my%20schema"));
    let store = of(
        &open(&url, &no_services()),
        r#"Odd" name; DROP TABLE items; --"#,
    );
    assert_eq!(shown(&*store, &["object-0", "x"]).await, [true, false]);
    store.delete(&["object-0"]).await.unwrap();
    assert_eq!(
        ids_in(&fixture.database, &table).await,
        BTreeSet::from(["object-1".to_owned()])
    );
    assert_eq!(
        fixture.database.number("SELECT count(*) FROM items").await,
        0
    );
}

#[tokio::test]
async fn what_is_no_table_of_ids_is_refused_with_a_reason() {
    let fixture = table("text").await;
    let url = fixture
        .database
        .url("table={embedding_model_id}&id_column=no_such_column");
    let other_column = open(&url, &no_services());
    let too_long = "m".repeat(64);
    for (stores, model, kind, detail) in [
        (
            &fixture.stores,
            "x",
            VectorErrorKind::IndexMissing,
            "Table `x` does not exist",
        ),
        (
            &other_column,
            "items",
            VectorErrorKind::IndexMissing,
            "Table `items` has no column `no_such_column`",
        ),
        (
            &fixture.stores,
            too_long.as_str(),
            VectorErrorKind::IndexMissing,
            "No table can have this name: a name has at most 63 bytes in PostgreSQL, and",
        ),
    ] {
        let error = of(stores, model).present(&["a"]).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.detail.starts_with(detail), "{}", error.detail);
    }
}

#[tokio::test]
async fn a_table_that_is_made_anew_with_another_type_is_learned_again() {
    let fixture = table("text").await;
    let store = fixture.store();
    assert_eq!(shown(&*store, &["a"]).await, [false]);
    fixture.database.run("DROP TABLE items").await;
    make_table(&fixture.database, "items", "bigint").await;
    insert(&fixture.database, "items", "bigint", &["7".to_owned()]).await;
    assert_eq!(shown(&*store, &["7"]).await, [true]);
    let presence = store.present(&["7", "a"]).await.unwrap();
    assert!(matches!(
        presence.as_slice(),
        [Presence::Present, Presence::InvalidId(_)]
    ));
}

#[tokio::test]
async fn a_character_that_the_database_cannot_write_makes_its_id_invalid() {
    let server = Postgres::shared().await;
    let latin = "ENCODING 'LATIN1' TEMPLATE template0";
    let database = server.database_with(latin).await;
    database.run("CREATE EXTENSION vector").await;
    make_table(&database, "items", "text").await;
    insert(&database, "items", "text", &["naïve".to_owned()]).await;
    let store = of(&open(&database.url(ROWS), &no_services()), "items");
    assert_eq!(shown(&*store, &["naïve"]).await, [true]);
    let error = store.present(&["naïve", "日本語"]).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::InvalidId, "{error:?}");
}

#[tokio::test]
async fn rows_that_others_refer_to_stay_and_the_task_is_told_why() {
    let fixture = table("text").await;
    fixture.seed(&some_ids(1)).await;
    let refer =
        "CREATE TABLE notes (item bigint REFERENCES items); INSERT INTO notes SELECT id FROM items";
    fixture.database.run(refer).await;
    let error = fixture.store().delete(&["object-0"]).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::KeptObject, "{error:?}");
    let detail = "Foreign key `notes_item_fkey` of table `notes` keeps the object in table `items`";
    assert_eq!(error.detail, detail);
}
