//! What a task says about its objects, compared with the database.
//!
//! The tables keep rows, hide them, change during the work, or are slow. These tests run the whole
//! service over a real PostgreSQL. The role is not the owner and may read and delete.

use super::contract::Fixture;
use super::embedding_studio::{Collection, MODEL, collection};
use super::postgres::{ROWS, insert, make_table, table};
use super::shown;
use serde_json::{Value, json};
use shared::vector::VectorErrorKind;
use std::collections::BTreeSet;
use tests::postgres::{Database, PgBouncer, Postgres};
use tests::{Service, ids, run_body};

/// The detail of an object that a table still has after the delete.
const KEPT: &str = "Table `items` still has the object after a delete: a trigger, a rule or a policy keeps it, or it was inserted again";

/// The service over one database, with these parameters in its URL.
pub(super) async fn over(database: &Database, parameters: &str) -> Service {
    at(&database.url(parameters)).await
}

async fn at(url: &str) -> Service {
    let stores = json!({ "*": url }).to_string();
    Service::start_with(vec![("VECTOR_STORES", &stores)]).await
}

/// Creates a task, carries it out, and returns it.
pub(super) async fn carried_out(
    service: &Service,
    model: &str,
    id: &str,
    objects: &[String],
) -> Value {
    service.run(&run_body(model, id, objects)).await.ok();
    service.work().await;
    service.task(id).await
}

/// Restarts a task, carries it out, and returns it.
pub(super) async fn restarted(service: &Service, id: &str) -> Value {
    service.restart(&format!("task_id={id}")).await.ok();
    service.work().await;
    service.task(id).await
}

/// Fails the test unless the task ended in this status with this many objects deleted, and these
/// objects failed for this reason.
pub(super) fn assert_ended(
    task: &Value,
    status: &str,
    deleted: usize,
    failed: &[&str],
    detail: &str,
) {
    assert_eq!(task["status"], status, "{task}");
    assert_eq!(task["progress"]["deleted"], deleted, "{task}");
    let expected = failed
        .iter()
        .map(|id| json!({"object_id": id, "detail": detail}));
    let expected: Vec<Value> = expected.collect();
    assert_eq!(task["failed_item_ids"], json!(expected), "{task}");
}

pub(super) fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Tests a task of three objects in `items`. `keep` is SQL that keeps `object-1`, and `end` is SQL
/// that ends this. `{role}` in them is the service's role.
async fn keeps_the_second(keep: &str, end: &str, parameters: &str) {
    let fixture = table("text").await;
    let objects = ids("object", 3);
    fixture.seed(&objects).await;
    let database = &fixture.database;
    let run = async |sql: &str| database.run(&sql.replace("{role}", &database.name)).await;
    run(keep).await;
    let service = over(database, &format!("{ROWS}{parameters}")).await;
    let task = carried_out(&service, "items", "t", &objects).await;
    assert_ended(&task, "failed", 2, &["object-1"], KEPT);
    assert_eq!(task["detail"], KEPT);
    assert_eq!(fixture.left().await, set(&["object-1"]), "{keep}");

    // The object is still kept, so the task must still say so.
    let task = restarted(&service, "t").await;
    assert_ended(&task, "failed", 2, &["object-1"], KEPT);
    run(end).await;
    let task = restarted(&service, "t").await;
    assert_ended(&task, "done", 3, &[], "");
    assert_eq!(fixture.left().await, BTreeSet::new(), "{keep}");
}

const VETO: &str = "CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    IF OLD.object_id = 'object-1' THEN RETURN NULL; END IF; RETURN OLD; END $$;";

const INSERT_AGAIN: &str = "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
        IF OLD.object_id = 'object-1' THEN \
            INSERT INTO items (object_id, embedding) VALUES (OLD.object_id, OLD.embedding); \
        END IF; RETURN NULL; END $$; \
    ALTER FUNCTION again() SET search_path FROM CURRENT; \
    CREATE TRIGGER again AFTER DELETE ON items FOR EACH ROW EXECUTE FUNCTION again()";

#[tokio::test]
async fn a_row_that_a_trigger_keeps_is_not_deleted() {
    keeps_the_second(
        &format!(
            "{VETO} CREATE TRIGGER veto BEFORE DELETE ON items FOR EACH ROW EXECUTE FUNCTION veto()"
        ),
        "DROP TRIGGER veto ON items",
        "",
    )
    .await;
}

#[tokio::test]
async fn a_row_that_a_deferred_trigger_inserts_again_at_the_commit_is_not_deleted() {
    keeps_the_second(
        &INSERT_AGAIN.replace(
            "TRIGGER again AFTER DELETE ON items",
            "CONSTRAINT TRIGGER again AFTER DELETE ON items DEFERRABLE INITIALLY DEFERRED",
        ),
        "DROP TRIGGER again ON items",
        "",
    )
    .await;
}

#[tokio::test]
async fn a_row_that_a_trigger_inserts_again_is_not_deleted_whatever_the_default_isolation() {
    for isolation in ["read committed", "repeatable read", "serializable"] {
        keeps_the_second(
            &format!("ALTER ROLE {{role}} SET default_transaction_isolation = '{isolation}'; {INSERT_AGAIN}"),
            "DROP TRIGGER again ON items",
            "",
        )
        .await;
    }
}

#[tokio::test]
async fn a_row_that_a_trigger_inserts_again_is_not_deleted_through_pgbouncer_either() {
    // The delete and its read may run on different connections to the server.
    for pool_mode in ["session", "transaction", "statement"] {
        let fixture = table("text").await;
        let database = &fixture.database;
        let Some(pooler) = PgBouncer::before(database, pool_mode).await else {
            return;
        };
        let objects = ids("object", 3_000);
        fixture.seed(&objects).await;
        database.run(INSERT_AGAIN).await;
        let url = database.url_at(&pooler.address.to_string(), ROWS);
        let service = at(&url).await;
        let task = carried_out(&service, "items", "t", &objects).await;
        assert_ended(&task, "failed", 2_999, &["object-1"], KEPT);
        assert_eq!(fixture.left().await, set(&["object-1"]), "{pool_mode}");
    }
}

#[tokio::test]
async fn a_row_that_a_rule_keeps_is_not_deleted() {
    for rule in [
        "ON DELETE TO items WHERE OLD.object_id = 'object-1' DO INSTEAD NOTHING",
        "ON DELETE TO items WHERE OLD.object_id = 'object-1' \
            DO INSTEAD UPDATE items SET embedding = '[0,0,0]' WHERE id = OLD.id",
    ] {
        let keep = format!("CREATE RULE keep AS {rule}");
        keeps_the_second(&keep, "DROP RULE keep ON items", "").await;
    }
}

#[tokio::test]
async fn a_row_that_a_policy_lets_nobody_delete_is_not_deleted() {
    for policy in [
        "CREATE POLICY d ON items FOR DELETE USING (object_id <> 'object-1')",
        // Only one of the object's two rows may be deleted.
        "CREATE POLICY d ON items FOR DELETE USING (object_id <> 'object-1' OR id % 2 = 0)",
    ] {
        keeps_the_second(
            &format!(
                "ALTER TABLE items ENABLE ROW LEVEL SECURITY; \
                 CREATE POLICY s ON items FOR SELECT USING (true); {policy}"
            ),
            "DROP POLICY d ON items; CREATE POLICY d ON items FOR DELETE USING (true)",
            "&row_security=on",
        )
        .await;
    }
}

#[tokio::test]
async fn a_table_that_deletes_nothing_has_nothing_deleted() {
    for keep in [
        "CREATE RULE keep AS ON DELETE TO items DO INSTEAD NOTHING",
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY s ON items FOR SELECT USING (true)",
    ] {
        let fixture = table("text").await;
        let objects = ids("object", 30);
        fixture.seed(&objects).await;
        fixture.database.run(keep).await;
        let parameters = format!("{ROWS}&row_security=on");
        let service = over(&fixture.database, &parameters).await;
        let task = carried_out(&service, "items", "t", &objects).await;
        let failed: Vec<&str> = objects.iter().map(String::as_str).collect();
        assert_ended(&task, "failed", 0, &failed, KEPT);
        assert_eq!(fixture.left().await.len(), 30);
    }
}

#[tokio::test]
async fn a_view_and_a_partition_that_keep_rows_are_told_from_those_that_do_not() {
    let fixture = table("text").await;
    let (database, role) = (&fixture.database, &fixture.database.name);
    let objects = ids("object", 3);
    fixture.seed(&objects).await;
    database
        .run(&format!(
            "{VETO} CREATE VIEW shown AS SELECT * FROM items; GRANT SELECT, DELETE ON shown TO {role}; \
             CREATE FUNCTION through() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
                IF OLD.object_id = 'object-1' THEN RETURN NULL; END IF; \
                DELETE FROM items WHERE id = OLD.id; RETURN OLD; END $$; \
             ALTER FUNCTION through() SET search_path FROM CURRENT; \
             CREATE TRIGGER through INSTEAD OF DELETE ON shown FOR EACH ROW EXECUTE FUNCTION through(); \
             CREATE TABLE parted (object_id text) PARTITION BY LIST (object_id); \
             CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN ('object-1'); \
             CREATE TABLE parted_rest PARTITION OF parted DEFAULT; \
             INSERT INTO parted SELECT object_id FROM items; GRANT SELECT, DELETE ON parted TO {role}; \
             CREATE TRIGGER veto BEFORE DELETE ON parted_1 FOR EACH ROW EXECUTE FUNCTION veto()"
        ))
        .await;
    let service = over(database, ROWS).await;
    for model in ["shown", "parted"] {
        let task = carried_out(&service, model, model, &objects).await;
        let detail = KEPT.replace("items", model);
        assert_ended(&task, "failed", 2, &["object-1"], &detail);
    }
    assert_eq!(fixture.left().await, set(&["object-1"]));
    assert_eq!(database.number("SELECT count(*) FROM parted").await, 2);
}

#[tokio::test]
async fn row_security_that_may_hide_rows_is_refused_with_both_ways_out() {
    let fixture = table("text").await;
    let (database, role) = (&fixture.database, &fixture.database.name);
    let objects = ids("object", 2);
    fixture.seed(&objects).await;
    database
        .run("ALTER TABLE items ENABLE ROW LEVEL SECURITY")
        .await;
    let service = over(database, ROWS).await;
    let denied = "Row security of table `items`, or of a table behind it, may hide rows from the role: \
        give the role BYPASSRLS, or add row_security=on to the store's URL to treat hidden rows as absent";
    // With the role's own setting a statement would fail with another message.
    for setting in ["on", "off"] {
        database
            .run(&format!("ALTER ROLE {role} SET row_security = {setting}"))
            .await;
        database.cut_connections().await;
        let task = carried_out(&service, "items", setting, &objects).await;
        assert_ended(&task, "failed", 0, &["object-0", "object-1"], denied);
    }
    let hidden = over(database, &format!("{ROWS}&row_security=on")).await;
    let task = carried_out(&hidden, "items", "hidden", &objects).await;
    let absent = "Object not found in index";
    assert_ended(&task, "done", 0, &["object-0", "object-1"], absent);

    database.run(&format!("ALTER ROLE {role} BYPASSRLS")).await;
    let task = restarted(&service, "on").await;
    assert_ended(&task, "done", 2, &[], "");
    assert_eq!(fixture.left().await, BTreeSet::new());
}

/// What the adapter has learned about the table says that it has no row security.
#[tokio::test]
async fn row_security_that_is_switched_on_before_the_delete_is_named_too() {
    let fixture = table("text").await;
    fixture.seed(&ids("object", 1)).await;
    let store = fixture.store();
    assert_eq!(shown(&*store, &["object-0"]).await, [true]);
    fixture
        .database
        .run("ALTER TABLE items ENABLE ROW LEVEL SECURITY")
        .await;
    let error = store.delete(&["object-0"]).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::Denied, "{error:?}");
    assert!(
        error.detail.starts_with("Row security of table `items`"),
        "{error:?}"
    );
}

#[tokio::test]
async fn row_security_beneath_a_view_is_refused_too() {
    let fixture = table("text").await;
    let (database, role) = (&fixture.database, &fixture.database.name);
    let objects = ids("object", 3);
    fixture.seed(&objects).await;
    database
        .run(&format!(
            "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON items USING (object_id <> 'object-1'); \
             CREATE VIEW inner_view WITH (security_invoker) AS SELECT * FROM items; \
             CREATE VIEW shown WITH (security_invoker) AS SELECT * FROM inner_view; \
             GRANT SELECT, DELETE ON inner_view, shown TO {role}"
        ))
        .await;
    let service = over(database, ROWS).await;
    let task = carried_out(&service, "shown", "t", &objects).await;
    let denied = "Row security of table `shown`, or of a table behind it, may hide rows from the role: give the role \
        BYPASSRLS, or add row_security=on to the store's URL to treat hidden rows as absent";
    assert_ended(
        &task,
        "failed",
        0,
        &["object-0", "object-1", "object-2"],
        denied,
    );
    database.run(&format!("ALTER ROLE {role} BYPASSRLS")).await;
    assert_ended(&restarted(&service, "t").await, "done", 3, &[], "");
}

/// What a trigger changes in the session does not affect the read or the next task.
#[tokio::test]
async fn what_a_trigger_sets_in_the_session_changes_no_outcome() {
    let fixture = table("text").await;
    let (database, role) = (&fixture.database, &fixture.database.name);
    let objects = ids("object", 3);
    fixture.seed(&objects).await;
    let other = format!("audit_of_{role}");
    for (number, sets) in [
        format!("SET search_path = {other}"),
        format!("SET search_path = {other}; INSERT INTO items VALUES (OLD.object_id)"),
        format!("SET ROLE helper_of_{role}"),
        "SET default_transaction_read_only = on".to_owned(),
        "SET row_security = off; SET statement_timeout = 1".to_owned(),
        "CREATE TEMP TABLE IF NOT EXISTS items (object_id text); INSERT INTO pg_temp.items VALUES (OLD.object_id)".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        if number == 0 {
            database
                .run(&format!(
                    "CREATE SCHEMA {other}; CREATE TABLE {other}.items (object_id text); CREATE ROLE helper_of_{role}; \
                     GRANT ALL ON SCHEMA {other} TO {role}; GRANT ALL ON {other}.items TO {role}; \
                     GRANT helper_of_{role} TO {role}; GRANT TEMP ON DATABASE postgres TO {role}"
                ))
                .await;
        }
        database
            .run(&format!(
                "CREATE OR REPLACE FUNCTION sets() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {sets}; RETURN OLD; END $$; \
                 DROP TRIGGER IF EXISTS sets ON items; \
                 CREATE TRIGGER sets BEFORE DELETE ON items FOR EACH ROW EXECUTE FUNCTION sets()"
            ))
            .await;
        database.run(&format!("TRUNCATE {other}.items")).await;
        let service = over(database, ROWS).await;
        fixture.seed(&objects).await;
        for round in ["first", "second"] {
            let task = carried_out(&service, "items", round, &objects).await;
            assert_ended(&task, "done", 3, &[], "");
            assert_eq!(fixture.left().await, BTreeSet::new(), "{sets}");
            fixture.seed(&objects).await;
        }
        let copies = database.number(&format!("SELECT count(*) FROM {other}.items")).await;
        assert_eq!(copies > 0, sets.contains("INTO items"), "{sets}");
        database.run("DROP TRIGGER sets ON items; DELETE FROM items").await;
    }
}

#[tokio::test]
async fn a_replica_is_refused_as_one() {
    let server = Postgres::start().await;
    let database = server.database().await;
    make_table(&database, "items", "text").await;
    let objects = ids("object", 2);
    insert(&database, "items", "text", &objects[..1]).await;
    let service = over(&database, ROWS).await;
    server.restart_as_replica().await;
    let task = carried_out(&service, "items", "t", &objects).await;
    let read_only = "The vector store's database is read-only: connect to the primary instead of a read \
        replica, or turn default_transaction_read_only off";
    assert_ended(&task, "failed", 0, &["object-0", "object-1"], read_only);
}

#[tokio::test]
async fn what_was_learned_of_a_table_refuses_no_id_that_it_can_hold_by_now() {
    for (before, first, change, then) in [
        (
            "varchar(5)",
            "short",
            "ALTER TABLE items ALTER object_id TYPE varchar(64)",
            "longer than five",
        ),
        (
            "bigint",
            "7",
            "ALTER TABLE items ALTER object_id TYPE text",
            "seven",
        ),
        (
            "uuid",
            "0190a5f0-7b1c-7def-8a3b-000000000000",
            "ALTER TABLE items ALTER object_id TYPE text",
            "seven",
        ),
        (
            "text",
            "7",
            "DELETE FROM items; ALTER TABLE items ALTER object_id TYPE bigint USING object_id::bigint",
            "8",
        ),
    ] {
        let fixture = table(before).await;
        let service = over(&fixture.database, ROWS).await;
        fixture.seed(&[first.to_owned()]).await;
        let task = carried_out(&service, "items", "before", &[first.to_owned()]).await;
        assert_ended(&task, "done", 1, &[], "");
        fixture.database.run(change).await;
        let id_type = if before == "text" { "bigint" } else { "text" };
        insert(&fixture.database, "items", id_type, &[then.to_owned()]).await;
        let task = carried_out(&service, "items", "after", &[then.to_owned()]).await;
        assert_ended(&task, "done", 1, &[], "");
        assert_eq!(fixture.left().await, BTreeSet::new(), "{change}");
    }
}

#[tokio::test]
async fn a_column_that_became_of_a_type_that_is_no_id_s_is_refused_and_nothing_is_said_of_its_objects()
 {
    for (change, id_type) in [
        (
            "ALTER TABLE items ALTER object_id TYPE numeric(10, 2)",
            "numeric(10,2)",
        ),
        (
            "ALTER TABLE items ALTER object_id TYPE float8",
            "double precision",
        ),
        (
            "CREATE DOMAIN number AS numeric; ALTER TABLE items ALTER object_id TYPE number",
            "number",
        ),
    ] {
        let fixture = table("bigint").await;
        let service = over(&fixture.database, ROWS).await;
        let task = carried_out(&service, "items", "before", &["7".to_owned()]).await;
        assert_ended(&task, "done", 0, &["7"], "Object not found in index");
        fixture.seed(&["8".to_owned()]).await;
        fixture.database.run(change).await;
        let task = carried_out(&service, "items", "after", &["8".to_owned()]).await;
        let detail = format!(
            "Column `object_id` of table `items` cannot be used for ids: its type is {id_type}, and not text, varchar, uuid, \
             smallint, integer or bigint, or a domain over one of these"
        );
        assert_ended(&task, "failed", 0, &["8"], &detail);
    }
}

#[tokio::test]
async fn a_table_that_is_gone_or_renamed_is_missing_and_refuses_no_id() {
    for (before, change) in [
        ("varchar(5)", "DROP TABLE items"),
        ("bigint", "ALTER TABLE items RENAME TO things"),
        ("text", "DROP TABLE items"),
    ] {
        let fixture = table(before).await;
        let service = over(&fixture.database, ROWS).await;
        let task = carried_out(&service, "items", "before", &["7".to_owned()]).await;
        assert_ended(&task, "done", 0, &["7"], "Object not found in index");
        fixture.database.run(change).await;
        let task = carried_out(&service, "items", "after", &["no such id".to_owned()]).await;
        assert_ended(
            &task,
            "failed",
            0,
            &["no such id"],
            "Table `items` does not exist",
        );
    }
}

#[tokio::test]
async fn a_batch_that_is_too_slow_is_halved_and_the_size_that_worked_is_remembered() {
    let fixture = table("text").await;
    let objects = ids("object", 64);
    fixture.seed(&objects).await;
    fixture
        .database
        .run(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                PERFORM pg_sleep(0.06); RETURN OLD; END $$; \
             CREATE TRIGGER slow BEFORE DELETE ON items FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await;
    let store = fixture.store();
    let service = over(&fixture.database, ROWS).await;
    // A delete of 128 rows of 60 ms each is too long for one statement. A delete of 64 rows is not.
    let task = carried_out(&service, "items", "t", &objects).await;
    assert_ended(&task, "done", 64, &[], "");
    assert_eq!(fixture.left().await, BTreeSet::new());

    fixture.seed(&objects).await;
    let all: Vec<&str> = objects.iter().map(String::as_str).collect();
    assert_eq!(store.max_delete(), 500);
    store.delete(&all).await.unwrap_err();
    assert_eq!(store.max_delete(), 32);
}

#[tokio::test]
async fn one_row_that_somebody_keeps_locked_keeps_no_other() {
    let fixture = table("text").await;
    let objects = ids("object", 8);
    fixture.seed(&objects).await;
    let lock = fixture
        .database
        .lock_rows("items WHERE object_id = 'object-5'")
        .await;
    let service = over(&fixture.database, ROWS).await;
    let task = carried_out(&service, "items", "t", &objects).await;
    assert_eq!(task["status"], "processing", "{task}");
    assert_eq!(
        task["progress"],
        json!({"total": 8, "deleted": 7, "failed": 0, "remaining": 1})
    );
    drop(lock);
    service.pass(chrono::TimeDelta::hours(1));
    service.sweep().await;
    service.work().await;
    assert_ended(&service.task("t").await, "done", 8, &[], "");
}

#[tokio::test]
async fn objects_and_parts_that_are_kept_are_told_from_those_that_go() {
    let kept = format!(
        "Table `dbo_{MODEL}` or `dbop_{MODEL}` still has the object after a delete: a trigger, a rule or a policy keeps it, or it was inserted again"
    );
    let veto = VETO.replace("object-1", "b");
    let on = |table: &str| {
        format!(
            r#"{veto} CREATE TRIGGER veto BEFORE DELETE ON "{table}_{MODEL}" FOR EACH ROW EXECUTE FUNCTION veto()"#
        )
    };
    let secure = |table: &str, policies: &str| {
        format!(
            r#"ALTER TABLE "{table}_{MODEL}" ENABLE ROW LEVEL SECURITY;
               CREATE POLICY s ON "{table}_{MODEL}" FOR SELECT USING (true); {policies}"#
        )
    };
    let drop_foreign_key =
        format!(r#"ALTER TABLE "dbop_{MODEL}" DROP CONSTRAINT "dbop_{MODEL}_object_id_fkey";"#);
    for (keep, detail) in [
        // The object's parts are deleted, because nothing keeps them.
        (on("dbo"), kept.clone()),
        // Without the foreign key the object is deleted, and its parts are left.
        (format!("{drop_foreign_key} {}", on("dbop")), kept.clone()),
        (
            on("dbop"),
            format!(
                "Foreign key `dbop_{MODEL}_object_id_fkey` of table `dbop_{MODEL}` keeps the object in table `dbo_{MODEL}` or `dbop_{MODEL}`"
            ),
        ),
        (
            secure(
                "dbo",
                &format!(
                    r#"CREATE POLICY u ON "dbo_{MODEL}" FOR UPDATE USING (object_id <> 'b');
                       CREATE POLICY d ON "dbo_{MODEL}" FOR DELETE USING (true)"#
                ),
            ),
            kept.clone(),
        ),
    ] {
        let fixture: Collection = collection().await;
        fixture.insert(&["a", "b", "c"]).await;
        fixture.database.run(&keep).await;
        let parameters = "layout=embedding-studio&row_security=on";
        let service = over(&fixture.database, parameters).await;
        let objects = ["a", "b", "c"].map(str::to_owned);
        let task = carried_out(&service, MODEL, "t", &objects).await;
        assert_ended(&task, "failed", 2, &["b"], &detail);
        let task = restarted(&service, "t").await;
        assert_ended(&task, "failed", 2, &["b"], &detail);
    }
}
