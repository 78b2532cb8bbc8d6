//! Objects that a store refuses. Only such an object fails, and its reason names what keeps it.
//! These tests run the whole service over a real PostgreSQL.

use super::contract::Fixture;
use super::outcomes::{assert_ended, carried_out, over, restarted, set};
use super::postgres::{ROWS, table};
use serde_json::json;
use tests::{ids, run_body};

/// Tests a delete of 600 objects. The SQL in `keep` keeps the object `kept`, and `detail` is the
/// expected reason.
async fn keeps_one_of_many(keep: &str, kept: &str, detail: &str) {
    let fixture = table("text").await;
    let objects = ids("object", 600);
    fixture.seed(&objects).await;
    let role = &fixture.database.name;
    fixture.database.run(&keep.replace("{role}", role)).await;
    let service = over(&fixture.database, ROWS).await;
    let task = carried_out(&service, "items", "t", &objects).await;
    assert_ended(&task, "failed", 599, &[kept], detail);
    assert_eq!(fixture.left().await, set(&[kept]));
}

#[tokio::test]
async fn one_row_that_a_foreign_key_protects_keeps_no_other() {
    let detail = "Foreign key `notes_item_fkey` of table `notes` keeps the object in table `items`";
    for deferred in ["", "DEFERRABLE INITIALLY DEFERRED", "ON DELETE RESTRICT"] {
        keeps_one_of_many(
            &format!(
                "CREATE TABLE notes (item bigint REFERENCES items {deferred}); \
                 INSERT INTO notes SELECT id FROM items WHERE object_id = 'object-333'"
            ),
            "object-333",
            detail,
        )
        .await;
    }
}

/// The SQL of a trigger of `items` that does something for one object.
fn trigger(does: &str) -> String {
    format!(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            IF OLD.object_id = 'object-7' THEN {does}; END IF; RETURN OLD; END $$; \
         CREATE TRIGGER guard BEFORE DELETE ON items FOR EACH ROW EXECUTE FUNCTION guard()"
    )
}

#[tokio::test]
async fn one_row_that_a_trigger_raises_an_error_for_keeps_no_other() {
    let guard = "Function `guard`, which a trigger, rule or policy of table `items` calls,";
    for (does, says) in [
        ("RAISE 'no'", "raises an error (SQLSTATE P0001)"),
        (
            "RAISE 'no' USING ERRCODE = '45000'",
            "fails (SQLSTATE 45000)",
        ),
        (
            "RAISE 'no' USING ERRCODE = '40001'",
            "fails (SQLSTATE 40001)",
        ),
        (
            "RAISE 'no' USING ERRCODE = '53400'",
            "fails (SQLSTATE 53400)",
        ),
        (
            "RAISE 'no' USING ERRCODE = '57P01'",
            "fails (SQLSTATE 57P01)",
        ),
        (
            "RAISE 'no' USING ERRCODE = '57014'",
            "fails (SQLSTATE 57014)",
        ),
        (
            "RAISE 'no' USING ERRCODE = '23505', CONSTRAINT = 'ann@example.com', TABLE = 'ann'",
            "breaks a constraint (SQLSTATE 23505)",
        ),
        (
            "RAISE 'no' USING ERRCODE = '55000'",
            "fails (SQLSTATE 55000)",
        ),
        (
            "PERFORM 1 / 0",
            "meets a value that it cannot use (SQLSTATE 22012)",
        ),
        (
            "PERFORM 'x'::integer",
            "meets a value that it cannot use (SQLSTATE 22P02)",
        ),
        (
            "PERFORM convert_from('\\xff', 'UTF8')",
            "meets a value that it cannot use (SQLSTATE 22021)",
        ),
    ] {
        keeps_one_of_many(&trigger(does), "object-7", &format!("{guard} {says}")).await;
    }
}

#[tokio::test]
async fn what_a_trigger_lacks_is_blamed_on_the_trigger() {
    let guard = "Function `guard`, which a trigger, rule or policy of table `items` calls,";
    for (before, does, says) in [
        (
            "CREATE TABLE audit (what text);",
            "INSERT INTO audit VALUES (OLD.object_id)",
            "is denied access to something that it uses (SQLSTATE 42501)",
        ),
        (
            "",
            "INSERT INTO no_such_table VALUES (1)",
            "uses a table that does not exist (SQLSTATE 42P01)",
        ),
        (
            "CREATE TABLE audit (what text); GRANT ALL ON audit TO {role};",
            "INSERT INTO audit (who) VALUES ('x')",
            "uses a column that does not exist (SQLSTATE 42703)",
        ),
        (
            "",
            "PERFORM no_such_function(1)",
            "uses a function or an operator that does not exist (SQLSTATE 42883)",
        ),
        (
            "CREATE TABLE audit (what text CONSTRAINT short CHECK (length(what) < 3)); GRANT ALL ON audit TO {role};",
            "INSERT INTO audit VALUES (OLD.object_id)",
            "breaks constraint `short` of table `audit`",
        ),
    ] {
        let keep = format!("{before} {}", trigger(does));
        keeps_one_of_many(&keep, "object-7", &format!("{guard} {says}")).await;
    }
}

#[tokio::test]
async fn what_a_foreign_key_sets_off_is_blamed_on_its_table() {
    let notes = "CREATE TABLE notes (item bigint REFERENCES items ON DELETE";
    for (sets_off, says) in [
        (
            format!("{notes} SET NULL, CHECK (item IS NOT NULL));"),
            "The foreign key of table `notes` that acts on a delete from table `items` breaks constraint `notes_item_check` of table `notes`",
        ),
        (
            format!(
                "{notes} CASCADE); CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE 'no'; END $$; \
                 CREATE TRIGGER guard BEFORE DELETE ON notes FOR EACH ROW EXECUTE FUNCTION guard();"
            ),
            "Function `guard`, which table `notes` calls when its foreign key acts on a delete from table `items`, \
             raises an error (SQLSTATE P0001)",
        ),
    ] {
        let keep = format!(
            "{sets_off} INSERT INTO notes SELECT id FROM items WHERE object_id = 'object-5'"
        );
        keeps_one_of_many(&keep, "object-5", says).await;
    }
}

#[tokio::test]
async fn an_error_that_says_nothing_of_where_it_comes_from_keeps_no_other_object_and_blames_no_table()
 {
    for (column, value, does, code) in [
        (
            "text",
            "'no_such_table'",
            "OLD.extra::regclass::text",
            "42P01",
        ),
        (
            "text",
            "'no_such_role'",
            "pg_has_role(OLD.extra, 'usage')::text",
            "42704",
        ),
        ("int", "2000000000", "repeat('x', OLD.extra)", "54000"),
    ] {
        let fixture = table("text").await;
        let database = &fixture.database;
        let objects = ids("object", 40);
        fixture.seed(&objects).await;
        let good = if column == "int" { "1" } else { "NULL" };
        database
            .run(&format!(
                "ALTER TABLE items ADD extra {column} DEFAULT {good}; CREATE TABLE audit (what text); \
                 UPDATE items SET extra = {value} WHERE object_id = 'object-7'; \
                 CREATE RULE log AS ON DELETE TO items DO ALSO INSERT INTO audit VALUES ({does})"
            ))
            .await;
        let service = over(database, ROWS).await;
        let task = carried_out(&service, "items", "t", &objects).await;
        let detail = format!(
            "PostgreSQL refuses to delete the object from table `items` (SQLSTATE {code}): \
             check the table's rules and triggers, and the server's log"
        );
        assert_ended(&task, "failed", 39, &["object-7"], &detail);
        assert_eq!(fixture.left().await, set(&["object-7"]));
    }
}

#[tokio::test]
async fn rows_of_a_table_that_refer_to_each_other_all_go_when_all_are_listed() {
    let fixture = table("text").await;
    let objects = ids("object", 60);
    fixture.seed(&objects).await;
    // The rows of every second object refer to those of the previous one. Another table keeps the
    // last object.
    fixture
        .database
        .run(
            "ALTER TABLE items ADD parent bigint REFERENCES items; \
             UPDATE items SET parent = before.id FROM items AS before WHERE substr(items.object_id, 8)::int % 2 = 1 \
                AND substr(before.object_id, 8)::int = substr(items.object_id, 8)::int - 1; \
             CREATE TABLE notes (item bigint REFERENCES items); \
             INSERT INTO notes SELECT id FROM items WHERE object_id = 'object-58'; \
             DELETE FROM items WHERE object_id = 'object-59'",
        )
        .await;
    let service = over(&fixture.database, ROWS).await;
    let task = carried_out(&service, "items", "t", &objects[..59]).await;
    let detail = "Foreign key `notes_item_fkey` of table `notes` keeps the object in table `items`";
    assert_ended(&task, "failed", 58, &["object-58"], detail);
}

#[tokio::test]
async fn one_row_that_cannot_be_read_keeps_no_other() {
    let fixture = table("text").await;
    let (database, role) = (&fixture.database, &fixture.database.name);
    let objects = ids("object", 100);
    fixture.seed(&objects).await;
    database
        .run(&format!(
            "ALTER TABLE items ADD n int DEFAULT 1; UPDATE items SET n = 0 WHERE object_id = 'object-7'; \
             CREATE VIEW shown AS SELECT * FROM items WHERE 1 / n = 1; GRANT SELECT, DELETE ON shown TO {role}"
        ))
        .await;
    let service = over(database, ROWS).await;
    let task = carried_out(&service, "shown", "t", &objects).await;
    let detail = "A view, a policy or a function behind table `shown` meets a value that it cannot use (SQLSTATE 22012)";
    assert_ended(&task, "failed", 99, &["object-7"], detail);
}

#[tokio::test]
async fn what_a_rule_does_is_blamed_on_the_rule() {
    let fixture = table("text").await;
    let (database, role) = (&fixture.database, &fixture.database.name);
    let objects = ids("object", 3);
    fixture.seed(&objects).await;
    // A rule acts with the rights of the table's owner.
    database
        .run(&format!(
            "CREATE TABLE audit (what text); CREATE ROLE owner_of_{role}; GRANT ALL ON SCHEMA {role} TO owner_of_{role}; \
             CREATE RULE log AS ON DELETE TO items DO ALSO INSERT INTO audit VALUES (OLD.object_id); \
             ALTER TABLE items OWNER TO owner_of_{role}"
        ))
        .await;
    let service = over(database, ROWS).await;
    let task = carried_out(&service, "items", "t", &objects).await;
    let all = ["object-0", "object-1", "object-2"];
    let detail = "A view, a rule or a function behind table `items` is denied access to something that it uses";
    assert_ended(&task, "failed", 0, &all, detail);
    database
        .run(&format!("GRANT INSERT ON audit TO owner_of_{role}"))
        .await;
    assert_ended(&restarted(&service, "t").await, "done", 3, &[], "");
}

#[tokio::test]
async fn where_all_objects_are_refused_alike_few_of_them_are_tried_alone() {
    let fixture = table("text").await;
    let objects = ids("object", 400);
    fixture.seed(&objects).await;
    fixture
        .database
        .run(
            "CREATE SEQUENCE calls; CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS \
             $$ BEGIN PERFORM nextval('calls'); RAISE 'no'; END $$; \
             ALTER FUNCTION guard() SET search_path FROM CURRENT; \
             CREATE TRIGGER guard BEFORE DELETE ON items FOR EACH ROW EXECUTE FUNCTION guard()",
        )
        .await;
    let service = over(&fixture.database, ROWS).await;
    let task = carried_out(&service, "items", "t", &objects).await;
    assert_eq!(
        (&task["status"], &task["progress"]["failed"]),
        (&json!("failed"), &json!(400))
    );
    let detail = "Function `guard`, which a trigger, rule or policy of table `items` calls, raises an error (SQLSTATE P0001)";
    assert_eq!(task["detail"], detail);
    // The calls are the batch and sixteen single objects. A sequence does not go back when a
    // statement is rolled back.
    assert_eq!(
        fixture
            .database
            .number("SELECT last_value FROM calls")
            .await,
        17
    );
}

#[tokio::test]
async fn many_objects_that_are_refused_among_good_ones_take_several_claims_of_one_invocation() {
    let fixture = table("text").await;
    let objects = ids("object", 200);
    fixture.seed(&objects).await;
    fixture
        .database
        .run(
            "CREATE TABLE notes (item bigint REFERENCES items); \
             INSERT INTO notes SELECT id FROM items WHERE substr(object_id, 8)::int % 3 = 0",
        )
        .await;
    let service = over(&fixture.database, ROWS).await;
    service.run(&run_body("items", "t", &objects)).await.ok();
    assert_eq!(service.work_once().await, 1);
    let task = service.task("t").await;
    assert_eq!(task["status"], "failed", "{task}");
    assert_eq!(
        task["progress"],
        json!({"total": 200, "deleted": 133, "failed": 67, "remaining": 0})
    );
    assert_eq!(fixture.left().await.len(), 67);
    // Each claim makes at most 64 extra calls, and the next claim begins at once.
    assert!(service.stored_numbers("fence").await[0] > 1);
}

#[tokio::test]
async fn a_table_that_takes_no_deletes_says_why_at_once() {
    let fixture = table("text").await;
    let (database, role) = (&fixture.database, &fixture.database.name);
    let objects = ids("object", 2);
    fixture.seed(&objects).await;
    database
        .run(&format!(
            "CREATE TABLE bare (object_id text); INSERT INTO bare SELECT object_id FROM items; \
             CREATE PUBLICATION p_{role} FOR TABLE bare; \
             CREATE VIEW counted AS SELECT object_id, count(*) FROM items GROUP BY object_id; \
             CREATE MATERIALIZED VIEW copied AS SELECT object_id FROM items; \
             GRANT SELECT, DELETE ON bare, counted, copied TO {role}"
        ))
        .await;
    let service = over(database, ROWS).await;
    for (model, detail) in [
        (
            "bare",
            "Table `bare`, or a partition of it, does not allow deletes: it is published for logical replication and has \
             no usable replica identity (set one with ALTER TABLE … REPLICA IDENTITY)",
        ),
        (
            "counted",
            "View `counted` does not allow deletes: name the table that holds its rows",
        ),
        (
            "copied",
            "Materialized view `copied` does not allow deletes: name the table that holds its rows",
        ),
    ] {
        let task = carried_out(&service, model, model, &objects).await;
        assert_ended(&task, "failed", 0, &["object-0", "object-1"], detail);
    }
    database
        .run(&format!(
            "ALTER ROLE {role} SET default_transaction_read_only = on"
        ))
        .await;
    database.cut_connections().await;
    let task = carried_out(&service, "items", "read-only", &objects).await;
    let read_only = "The vector store's database is read-only: connect to the primary instead of a read \
        replica, or turn default_transaction_read_only off";
    assert_ended(&task, "failed", 0, &["object-0", "object-1"], read_only);
}

#[tokio::test]
async fn what_the_role_lacks_is_named() {
    let fixture = table("text").await;
    let (database, role) = (&fixture.database, &fixture.database.name);
    fixture.seed(&ids("object", 1)).await;
    let service = over(database, ROWS).await;
    for (change, detail) in [
        (
            format!("REVOKE DELETE ON items FROM {role}"),
            "Access to table `items` is denied: the role lacks DELETE on `items`",
        ),
        (
            format!("GRANT DELETE ON items TO {role}; REVOKE SELECT ON items FROM {role}"),
            "Access to table `items` is denied: the role lacks SELECT on `items`",
        ),
    ] {
        database.run(&change).await;
        let task = carried_out(
            &service,
            "items",
            &change.replace(' ', "-"),
            &ids("object", 1),
        )
        .await;
        assert_ended(&task, "failed", 0, &["object-0"], detail);
    }
    // The right to read one column is enough to read the ids.
    database
        .run(&format!("GRANT SELECT (object_id) ON items TO {role}"))
        .await;
    let task = carried_out(&service, "items", "t", &ids("object", 1)).await;
    assert_ended(&task, "done", 1, &[], "");
}
