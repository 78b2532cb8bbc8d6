//! The data of the PostgreSQL benchmark: 200,000 rows with vectors of 128 numbers and an HNSW
//! index.
//!
//! The index takes long to build, so it is built once. Each measurement starts with a copy of that
//! database.

use tests::postgres::{Database, Postgres};
use tests::seed::object_ids;

/// Rows of each table.
pub(crate) const ROWS: usize = 200_000;
/// Numbers of each vector.
const DIMENSIONS: usize = 128;

/// The ids of the objects to delete. They are spread over the table, because ids are random.
pub(crate) fn ids(count: usize) -> Vec<String> {
    object_ids(1, ROWS).take(count).collect()
}

/// How the tables are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One table with the ids in a column.
    Rows,
    /// EmbeddingStudio's layout: objects, each with one part. No object is derived from another.
    Studio,
    /// The same, with an index on the original of a derived object. EmbeddingStudio does not create
    /// this index.
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

/// The databases to copy. A database can only be copied while nobody is connected to it.
pub(crate) struct Data {
    server: Postgres,
    /// The schema in all of them.
    schema: String,
    rows: String,
    studio: String,
}

impl Data {
    /// Creates the databases, which takes some minutes.
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

    /// Creates a fresh copy and reads its tables into memory.
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

    /// Drops a copy.
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
    /// Fails unless this many rows of a table are left.
    pub(crate) async fn assert_left(&self, table: &str, count: usize) {
        let left = format!("SELECT count(*) FROM {}.{table}", self.schema);
        let left = self.database.number(&left).await;
        assert_eq!(usize::try_from(left).expect("a count"), count, "{table}");
    }
}
