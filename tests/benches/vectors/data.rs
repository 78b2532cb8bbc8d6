//! What the statements of PostgreSQL's benchmark are made on: 200,000 rows with vectors of 128
//! numbers and an HNSW index.
//!
//! The index takes long to build. So it is built once, in a database that each measurement starts
//! with a copy of.

use tests::postgres::{Database, Postgres};
use tests::seed::object_ids;

/// Rows of each table.
pub(crate) const ROWS: usize = 200_000;
/// Numbers of each vector.
const DIMENSIONS: usize = 128;

/// The ids of the objects that are deleted: they are spread over the table, since ids are random.
pub(crate) fn ids(count: usize) -> Vec<String> {
    object_ids(1, ROWS).take(count).collect()
}

/// How the tables are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One table with the ids in a column.
    Rows,
    /// EmbeddingStudio's: objects, each with one part. Nothing was derived from anything.
    Studio,
    /// The same, with an index on what objects were derived from, which EmbeddingStudio does not
    /// make.
    StudioIndexed,
}

impl Layout {
    pub(crate) fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Rows => &["items"],
            Self::Studio | Self::StudioIndexed => &["dbo_items", "dbop_items"],
        }
    }
}

/// The databases to copy. Nobody is connected to them, or they could not be.
pub(crate) struct Data {
    server: Postgres,
    /// The schema in both.
    schema: String,
    rows: String,
    studio: String,
}

impl Data {
    /// Makes them, which takes some minutes.
    pub(crate) async fn make() -> Self {
        let server = Postgres::start().await;
        let rows = server.database_with("").await;
        eprintln!("PostgreSQL: {ROWS} rows and their HNSW index");
        rows.run("CREATE EXTENSION vector SCHEMA public; CREATE TABLE items (object_id text PRIMARY KEY, embedding vector(128) NOT NULL)")
            .await;
        let insert = format!(
            "INSERT INTO items SELECT id, (SELECT array_agg(random()) FROM generate_series(1, {DIMENSIONS}) AS n \
             WHERE n > 0 * length(id))::vector FROM unnest($1::text[]) AS id"
        );
        let inserted = rows.admin.execute(&insert, &[&ids(ROWS)]).await;
        inserted.expect("rows are inserted");
        rows.run(
            "SET maintenance_work_mem = '1GB'; CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)",
        )
        .await;

        rows.run("VACUUM ANALYZE").await;
        let (schema, rows) = end(rows);

        eprintln!("PostgreSQL: the same in EmbeddingStudio's tables");
        let studio = server.database_with(&copy_of(&rows)).await;
        studio
            .run(&format!(
                r#"CREATE TABLE {schema}."dbo_items" (object_id varchar(128) PRIMARY KEY, payload jsonb, storage_meta jsonb,
                       original_id varchar(128), user_id varchar(128), session_id varchar(128));
                   CREATE TABLE {schema}."dbop_items" (part_id varchar(128) PRIMARY KEY,
                       object_id varchar(128) REFERENCES {schema}."dbo_items", vector vector);
                   INSERT INTO {schema}."dbo_items" (object_id) SELECT object_id FROM {schema}.items;
                   INSERT INTO {schema}."dbop_items" SELECT object_id || ':0', object_id, embedding FROM {schema}.items;
                   DROP TABLE {schema}.items;
                   CREATE INDEX ON {schema}."dbop_items" (object_id);
                   SET maintenance_work_mem = '1GB';
                   CREATE INDEX ON {schema}."dbop_items" USING hnsw ((vector::vector({DIMENSIONS})) vector_cosine_ops)"#
            ))
            .await;
        studio.run("VACUUM ANALYZE").await;
        let (_, studio) = end(studio);
        Self {
            server,
            schema,
            rows,
            studio,
        }
    }

    /// A fresh copy, whose tables are in memory.
    pub(crate) async fn copy(&self, layout: Layout) -> Copy {
        let from = match layout {
            Layout::Rows => &self.rows,
            Layout::Studio | Layout::StudioIndexed => &self.studio,
        };
        let database = self.server.database_with(&copy_of(from)).await;
        let (schema, role) = (&self.schema, &database.name);
        for table in layout.tables() {
            let read = format!(
                "GRANT USAGE ON SCHEMA {schema} TO {role}; \
                 GRANT SELECT, UPDATE, DELETE ON {schema}.{table} TO {role}; \
                 SELECT count(*) FROM {schema}.{table} WHERE object_id > ''"
            );
            database.run(&read).await;
        }
        if layout == Layout::StudioIndexed {
            let index = format!("CREATE INDEX ON {schema}.dbo_items (original_id)");
            database.run(&index).await;
        }
        database.run("CHECKPOINT").await;
        Copy {
            database,
            schema: schema.clone(),
        }
    }

    /// Takes a copy away.
    pub(crate) async fn done_with(&self, copy: Copy) {
        self.server.drop_database(copy.database).await;
    }
}

fn copy_of(database: &str) -> String {
    format!("TEMPLATE {database} STRATEGY FILE_COPY")
}

/// Closes the connection. Returns the schema and the database.
fn end(database: Database) -> (String, String) {
    (database.name, database.database)
}

/// A database to delete from.
pub(crate) struct Copy {
    pub(crate) database: Database,
    pub(crate) schema: String,
}

impl Copy {
    /// Fails unless so many rows are left of a table.
    pub(crate) async fn assert_left(&self, table: &str, count: usize) {
        let left = format!("SELECT count(*) FROM {}.{table}", self.schema);
        let left = self.database.number(&left).await;
        assert_eq!(usize::try_from(left).expect("a count"), count, "{table}");
    }
}
