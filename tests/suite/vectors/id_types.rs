//! The types of an id column in PostgreSQL: what each can hold, and that an index on it is used.

use super::embedding_studio::{Collection, MODEL, collection_of};
use super::postgres::{ROWS, insert, table};
use super::{no_services, of, open, shown};
use shared::vector::{AfterDelete, Presence, VectorErrorKind, VectorStore};
use std::time::Duration;
use tests::postgres::{Database, Postgres};

/// Domains, and domains over domains, of every type.
const DOMAINS: &str = "CREATE DOMAIN a_text AS text; CREATE DOMAIN a_name AS varchar(5) CHECK (VALUE <> ''); \
    CREATE DOMAIN a_uuid AS uuid; CREATE DOMAIN a_small AS smallint; CREATE DOMAIN a_number AS integer; \
    CREATE DOMAIN a_large AS bigint CHECK (VALUE > 0); CREATE DOMAIN a_text_2 AS a_text; \
    CREATE DOMAIN a_name_2 AS a_name; CREATE DOMAIN a_uuid_2 AS a_uuid; CREATE DOMAIN a_small_2 AS a_small; \
    CREATE DOMAIN a_number_2 AS a_number NOT NULL; CREATE DOMAIN a_number_3 AS a_number_2; \
    CREATE DOMAIN a_large_2 AS a_large";

/// What a type can hold.
struct Kind {
    /// The names of the type.
    types: &'static [&'static str],
    /// Two ids in the table. `absent` is an id that is not.
    present: [&'static str; 2],
    absent: &'static str,
    /// Ids that the type cannot hold, or not in this form. `why` is the reason.
    refused: &'static [&'static str],
    why: &'static str,
    /// The SQL that makes an id from the number `n`.
    filler: &'static str,
}

const KINDS: &[Kind] = &[
    Kind {
        types: &["text", "varchar", "a_text", "a_text_2"],
        present: ["007", "1e3"],
        absent: "7",
        refused: &[],
        why: "",
        filler: "'filler ' || n",
    },
    Kind {
        types: &["varchar(5)", "a_name", "a_name_2"],
        present: ["ключи", "0"],
        absent: "00",
        refused: &["ключик", "123456"],
        why: "The vector store's ids have at most 5 characters",
        filler: "'f' || to_hex(n)",
    },
    Kind {
        types: &["uuid", "a_uuid", "a_uuid_2"],
        present: [
            "0190a5f0-7b1c-7def-8a3b-000000000000",
            "0190a5f0-7b1c-7def-8a3b-000000000001",
        ],
        absent: "0190a5f0-7b1c-7def-8a3b-000000000002",
        refused: &[
            "0190A5F0-7B1C-7DEF-8A3B-000000000000",
            "{0190a5f0-7b1c-7def-8a3b-000000000000}",
            "0190a5f07b1c7def8a3b000000000000",
            "7",
        ],
        why: "The vector store's ids are UUIDs, in lower case and with hyphens",
        filler: "md5(n::text)::uuid::text",
    },
    Kind {
        types: &["smallint", "smallserial", "a_small", "a_small_2"],
        present: ["32767", "-32768"],
        absent: "-7",
        refused: &[
            "32768", "-32769", "007", "+7", "7.0", "1e3", "-0", "", "seven",
        ],
        why: "The vector store's ids are whole numbers of 16 bits, in plain digits",
        filler: "n::text",
    },
    Kind {
        types: &["integer", "serial", "a_number", "a_number_2", "a_number_3"],
        present: ["2147483647", "-2147483648"],
        absent: "-7",
        refused: &["2147483648", "-2147483649", "007", "+7", " 7", "7 ", "0x7"],
        why: "The vector store's ids are whole numbers of 32 bits, in plain digits",
        filler: "n::text",
    },
    Kind {
        types: &["bigint", "bigserial", "a_large", "a_large_2"],
        present: ["9223372036854775807", "20000"],
        absent: "-7",
        refused: &["9223372036854775808", "-9223372036854775809", "007", "7_0"],
        why: "The vector store's ids are whole numbers of 64 bits, in plain digits",
        filler: "n::text",
    },
];

/// How often a table was read by a sequential scan, and how often by an index. The function first
/// ends the service's sessions, so that their counts are included.
async fn scans(database: &Database, table: &str) -> (i64, i64) {
    database.cut_connections().await;
    let role = &database.name;
    let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'");
    while database.number(&sessions).await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    database.run("SELECT pg_stat_force_next_flush()").await;
    let scans = async |what: &str| {
        database
            .number(&format!(
                "SELECT {what} FROM pg_stat_user_tables WHERE relid = to_regclass('{table}')"
            ))
            .await
    };
    (scans("seq_scan").await, scans("idx_scan").await)
}

/// Fails the test unless the store refuses each of these ids, together with an id that it can hold.
async fn assert_refused(store: &dyn VectorStore, good: &str, refused: &[&str], why: &str) {
    for id in refused {
        let presence = store.present(&[good, id]).await.unwrap();
        let [Presence::Present, Presence::InvalidId(said)] = presence.as_slice() else {
            panic!("{id}: {presence:?}");
        };
        assert_eq!(said, why, "{id}");
        let error = store.delete(&[good, id]).await.unwrap_err();
        assert_eq!(error.kind, VectorErrorKind::InvalidId, "{id}: {error:?}");
        assert_eq!(error.detail, why, "{id}");
    }
}

#[tokio::test]
async fn every_type_is_read_and_deleted_by_its_index_and_refuses_what_it_cannot_hold() {
    let database = Postgres::shared().await.database().await;
    database.run(DOMAINS).await;
    let stores = open(&database.url(ROWS), &no_services());
    let role = &database.name;
    let types = KINDS.iter().flat_map(|kind| {
        let numbered = kind.types.iter().enumerate();
        numbered.map(move |(number, id_type)| (kind, number, *id_type))
    });
    for (kind, number, id_type) in types {
        let table = format!("of_{number}_{}", kind.types[0].replace(['(', ')'], "_"));
        let Kind {
            present, filler, ..
        } = kind;
        // The kind's first type is the base type and not a domain.
        let base = kind.types[0];
        database
            .run(&format!(
                "CREATE TABLE {table} (object_id {id_type}); CREATE INDEX ON {table} (object_id); \
                 INSERT INTO {table} SELECT id::{base} FROM \
                     (SELECT {filler} AS id FROM generate_series(1, 10000) AS n \
                      UNION ALL SELECT unnest(ARRAY['{}', '{}'])) AS ids; \
                 ANALYZE {table}; GRANT SELECT, DELETE ON {table} TO {role}",
                present[0], present[1],
            ))
            .await;
        let store = of(&stores, &table);
        let before = scans(&database, &table).await;
        let ids = [present[0], kind.absent, present[1]];
        assert_eq!(shown(&*store, &ids).await, [true, false, true], "{id_type}");
        assert_refused(&*store, present[0], kind.refused, kind.why).await;
        let rows = format!("SELECT count(*) FROM {table}");
        let after = store.delete(&ids[..2]).await.unwrap();
        assert!(after.iter().all(|after| matches!(after, AfterDelete::Gone)));
        let after = scans(&database, &table).await;
        assert_eq!(after.0, before.0, "{id_type}: read as a whole");
        assert!(after.1 > before.1, "{id_type}: {before:?} {after:?}");
        assert_eq!(
            shown(&*store, &ids).await,
            [false, false, true],
            "{id_type}"
        );
        assert_eq!(database.number(&rows).await, 10_001, "{id_type}");
    }
}

#[tokio::test]
async fn a_column_of_another_type_is_refused_and_its_type_is_named() {
    let database = Postgres::shared().await.database().await;
    database
        .run("CREATE DOMAIN amount AS numeric(9); CREATE DOMAIN amounts AS integer[]")
        .await;
    let stores = open(&database.url(ROWS), &no_services());
    for (number, (id_type, named)) in [
        ("numeric", "numeric"),
        ("double precision", "double precision"),
        ("char(8)", "character(8)"),
        ("json", "json"),
        ("timestamptz", "timestamp with time zone"),
        ("integer[]", "integer[]"),
        ("oid", "oid"),
        ("amount", "amount"),
        ("amounts", "amounts"),
        ("vector(3)", "vector(3)"),
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("table_{number}");
        let make =
            format!("CREATE TABLE {table} (object_id {id_type}); GRANT ALL ON {table} TO PUBLIC");
        database.run(&make).await;
        let error = of(&stores, &table).present(&["7"]).await.unwrap_err();
        assert_eq!(error.kind, VectorErrorKind::Denied, "{error:?}");
        let detail = format!(
            "Column `object_id` of table `{table}` cannot be used for ids: its type is {named}, and not text, varchar, uuid, \
             smallint, integer or bigint, or a domain over one of these"
        );
        assert_eq!(error.detail, detail);
    }
}

#[tokio::test]
async fn a_column_that_gets_a_wider_type_is_learned_again() {
    let fixture = table("smallint").await;
    insert(&fixture.database, "items", "smallint", &["7".to_owned()]).await;
    let store = of(&fixture.stores, "items");
    assert_eq!(shown(&*store, &["7"]).await, [true]);
    fixture
        .database
        .run("ALTER TABLE items ALTER object_id TYPE bigint")
        .await;
    insert(&fixture.database, "items", "bigint", &["70000".to_owned()]).await;
    let presence = store.present(&["7", "70000"]).await.unwrap();
    assert!(
        presence
            .iter()
            .all(|presence| *presence == Presence::Present)
    );
    store.delete(&["7", "70000"]).await.unwrap();
    assert_eq!(
        fixture.database.number("SELECT count(*) FROM items").await,
        0
    );
}

/// A collection with these types of `object_id`, `original_id` and the parts' `object_id`.
async fn studio(types: [&'static str; 3]) -> Collection {
    let database = Postgres::shared().await.database().await;
    database.run(DOMAINS).await;
    collection_of(database, types).await
}

#[tokio::test]
async fn the_objects_of_embedding_studio_may_have_any_of_these_types() {
    for (types, why) in [
        (["uuid"; 3], "UUIDs"),
        (["a_uuid_2", "uuid", "a_uuid"], "UUIDs"),
        (["bigint"; 3], "64 bits"),
        (["integer"; 3], "32 bits"),
        (["integer", "bigint", "a_large"], "32 bits"),
        (["smallint", "integer", "smallint"], "16 bits"),
        (["text", "varchar(128)", "a_text"], ""),
    ] {
        let id = |number: u8| match why {
            "UUIDs" => format!("0190a5f0-7b1c-7def-8a3b-{number:012}"),
            _ => number.to_string(),
        };
        let fixture = studio(types).await;
        let ids: Vec<String> = (1..8).map(id).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        fixture.insert(&ids[..6]).await;
        // The second and the third were derived from the first, and the fifth from the fourth.
        fixture
            .derive(&[(ids[1], ids[0]), (ids[2], ids[0]), (ids[4], ids[3])])
            .await;
        let store = of(&fixture.stores, MODEL);
        let present = shown(&*store, &[ids[0], ids[6]]).await;
        assert_eq!(present, [true, false], "{types:?}");
        if !why.is_empty() {
            let presence = store.present(&["x"]).await.unwrap();
            let [Presence::InvalidId(said)] = presence.as_slice() else {
                panic!("{types:?}: {presence:?}");
            };
            assert!(said.contains(why), "{said}");
            let error = store.delete(&["x"]).await.unwrap_err();
            assert_eq!(error.kind, VectorErrorKind::InvalidId, "{types:?}");
        }
        store.delete(&[ids[0], ids[4], ids[6]]).await.unwrap();
        fixture.assert_left(&[ids[5]]).await;
    }
}

#[tokio::test]
async fn tables_of_embedding_studio_whose_ids_cannot_be_compared_are_refused_and_their_types_named()
{
    for (types, change, detail) in [
        (
            ["uuid", "varchar(128)", "uuid"],
            "",
            "Column `original_id` of table `dbo_model-1` cannot be used for ids: its type is character varying(128), and that \
             of `object_id` in table `dbo_model-1` is uuid",
        ),
        (
            ["bigint", "bigint", "bigint"],
            r#"ALTER TABLE "dbop_model-1" DROP CONSTRAINT "dbop_model-1_object_id_fkey", ALTER object_id TYPE text"#,
            "Column `object_id` of table `dbop_model-1` cannot be used for ids: its type is text, and that of `object_id` in \
             table `dbo_model-1` is bigint",
        ),
        (
            ["text", "numeric", "text"],
            "",
            "Column `original_id` of table `dbo_model-1` cannot be used for ids: its type is numeric, and not text",
        ),
    ] {
        let fixture = studio(types).await;
        fixture.database.run(change).await;
        let store = of(&fixture.stores, MODEL);
        for error in [
            store.present(&["7"]).await.unwrap_err(),
            store.delete(&["7"]).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, VectorErrorKind::Denied, "{error:?}");
            assert!(error.detail.starts_with(detail), "{}", error.detail);
        }
    }
}

#[tokio::test]
async fn the_objects_of_embedding_studio_are_found_by_their_indexes() {
    for (id_type, filler) in [
        ("varchar(128)", "'filler ' || n"),
        ("uuid", "md5(n::text)::uuid"),
        ("integer", "n"),
        ("a_large_2", "n"),
    ] {
        let fixture = studio([id_type; 3]).await;
        let database = &fixture.database;
        database
            .run(&format!(
                r#"INSERT INTO "dbo_{MODEL}" (object_id) SELECT {filler} FROM generate_series(1, 10000) AS n;
                   INSERT INTO "dbop_{MODEL}" (part_id, object_id) SELECT object_id::text, object_id FROM "dbo_{MODEL}";
                   CREATE INDEX ON "dbo_{MODEL}" (original_id); ANALYZE "dbo_{MODEL}", "dbop_{MODEL}""#
            ))
            .await;
        let id = format!(r#"SELECT object_id::text FROM "dbo_{MODEL}" LIMIT 1"#);
        let id: String = database.admin.query_one(&id, &[]).await.unwrap().get(0);
        let tables = [r#""dbo_model-1""#, r#""dbop_model-1""#];
        let before = [
            scans(database, tables[0]).await,
            scans(database, tables[1]).await,
        ];
        let store = of(&fixture.stores, MODEL);
        assert_eq!(shown(&*store, &[&id]).await, [true]);
        store.delete(&[&id]).await.unwrap();
        for (table, before) in tables.into_iter().zip(before) {
            let after = scans(database, table).await;
            assert_eq!(after.0, before.0, "{id_type}: {table} is read as a whole");
            assert!(after.1 > before.1, "{id_type}: {before:?} {after:?}");
        }
    }
}
