//! PostgreSQL with pgvector: the object id is a column's value, and every row with it goes.
//!
//! `address.rs` reads the URL, `pool.rs` keeps the connections, `connect.rs` makes them over `tls.rs` with what `secret.rs` says, `names.rs` quotes
//! identifiers, `column.rs` knows what ids a column holds, `errors.rs` sorts errors. Here: the URL's layouts, and the store
//! over one table.

mod address;
pub(super) mod column;
mod connect;
pub(super) mod errors;
pub(super) mod names;
pub(super) mod pool;
#[cfg(feature = "secrets-manager")]
mod secret;
mod tls;

use super::parameters::Parameters;
use super::schemes::{StoreOf, Target, Template};
use super::{Services, VectorError, VectorErrorKind, VectorStore};
use crate::task::ModelId;
use address::Address;
use column::{Columns, IdType};
use errors::Failure;
use futures_util::future::BoxFuture;
use names::{Identifier, Table};
use pool::{CALL_TIMEOUT, Pool};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Instant, timeout};
use tokio_postgres::types::Type;
use url::Url;

/// The most ids of one delete: as many as a chunk of a task has. It is one statement, and must end in time.
pub(super) const MAX_DELETE: usize = 500;

/// Reads `postgres://user@host/database?…`.
pub(super) fn parse(url: &Url) -> Result<Arc<dyn Target>, Vec<String>> {
    let mut parameters = Parameters::of(url);
    let address = Address::read(url, &mut parameters);
    let schema = parameters.name("schema");
    let layout = match parameters.take("layout").as_deref() {
        None => Layout::of_rows(&mut parameters),
        #[cfg(feature = "embedding-studio")]
        Some("embedding-studio") => Some(Layout::EmbeddingStudio),
        Some(other) => {
            parameters.faults.push(format!(
                "layout `{other}` is not known, or was left out of this build: use `embedding-studio`, or none"
            ));
            None
        }
    };
    let faults = parameters.finish();
    match (address, layout) {
        (Some(address), Some(layout)) if faults.is_empty() => Ok(Arc::new(Database {
            address,
            schema,
            layout,
        })),
        _ => Err(faults),
    }
}

/// A database, and how it holds vectors.
#[derive(Debug)]
struct Database {
    address: Address,
    schema: Option<Template>,
    layout: Layout,
}

#[derive(Clone, Debug)]
enum Layout {
    /// One table, with the ids in this column.
    Rows {
        table: Template,
        id_column: Identifier,
    },
    /// EmbeddingStudio's two tables a model.
    #[cfg(feature = "embedding-studio")]
    EmbeddingStudio,
}

impl Layout {
    fn of_rows(parameters: &mut Parameters) -> Option<Self> {
        for name in ["table", "id_column"] {
            parameters.require(name, parameters.has(name));
        }
        let (table, id_column) = (parameters.name("table"), parameters.fixed_name("id_column"));
        Some(Self::Rows {
            table: table?,
            id_column: id_column?,
        })
    }
}

impl Target for Database {
    fn open(&self, services: &Services) -> StoreOf {
        let pool = Arc::new(Pool::new(self.address.clone(), services));
        let schema = self.schema.clone();
        match self.layout.clone() {
            Layout::Rows { table, id_column } => {
                let types = Arc::default();
                Box::new(move |model| {
                    Arc::new(Rows {
                        pool: Arc::clone(&pool),
                        types: Arc::clone(&types),
                        table: table_named(schema.as_ref(), &table.fill(model), model),
                        id_column: id_column.clone(),
                    })
                })
            }
            #[cfg(feature = "embedding-studio")]
            Layout::EmbeddingStudio => super::embedding_studio::open(pool, schema),
        }
    }
}

/// A table that may not exist, since no table can have its name; then why.
pub(super) type MaybeTable = Result<Table, String>;

/// The table of this name, in the schema that the model has.
pub(super) fn table_named(schema: Option<&Template>, name: &str, model: &ModelId) -> MaybeTable {
    let schema = schema.map(|schema| Identifier::new(&schema.fill(model)));
    Ok(Table {
        schema: schema.transpose()?,
        name: Identifier::new(name)?,
    })
}

/// Makes a call about a table in bounded time, and sorts its errors.
pub(super) async fn call<'a, T, F>(
    table: &'a MaybeTable,
    call: impl FnOnce(&'a Table) -> F,
) -> Result<T, VectorError>
where
    F: Future<Output = Result<T, Failure>>,
{
    let table = table.as_ref().map_err(|why| VectorError {
        kind: VectorErrorKind::IndexMissing,
        detail: format!("There can be no such table: {why}"),
        code: "no such name".to_owned(),
        source: None,
    })?;
    match timeout(CALL_TIMEOUT, call(table)).await {
        Ok(answer) => answer.map_err(|failure| failure.about(table)),
        Err(_) => Err(VectorError {
            kind: VectorErrorKind::Unanswered,
            detail: "The vector store did not answer in time".to_owned(),
            code: "timeout".to_owned(),
            source: None,
        }),
    }
}

/// What was learned about tables, from the catalog. It is kept as long as it proves right.
pub(super) type Learned<T> = Arc<Mutex<HashMap<Table, T>>>;

/// What is known of a table.
pub(super) fn known<T: Copy>(learned: &Learned<T>, table: &Table) -> Option<T> {
    let learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
    learned.get(table).copied()
}

/// Keeps what was learned of a table, or forgets it.
pub(super) fn learn<T>(learned: &Learned<T>, table: &Table, what: Option<T>) {
    let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
    match what {
        Some(what) => learned.insert(table.clone(), what),
        None => learned.remove(table),
    };
}

/// Which of `ids` are among the rows' first column, position by position.
pub(super) fn among(rows: &[tokio_postgres::Row], ids: &[&str]) -> Result<Vec<bool>, Failure> {
    let found = rows.iter().map(|row| row.try_get(0));
    let found: HashSet<&str> = found.collect::<Result<_, _>>()?;
    Ok(ids.iter().map(|id| found.contains(id)).collect())
}

/// One table, whose rows are deleted by the value of a column.
struct Rows {
    pool: Arc<Pool>,
    types: Learned<IdType>,
    table: MaybeTable,
    id_column: Identifier,
}

impl Rows {
    /// The id column's type. It is looked up once, so that a batch is one round trip.
    async fn id_type(&self, table: &Table) -> Result<IdType, Failure> {
        if let Some(known) = known(&self.types, table) {
            return Ok(known);
        }
        let columns = Columns::look_up(&self.pool, table, &[self.id_column.as_str()]).await?;
        let found = columns.id_type(table, self.id_column.as_str())?;
        learn(&self.types, table, Some(found));
        Ok(found)
    }

    /// A table may be made anew with another type: then what was known of it is wrong.
    fn forget_if_changed(&self, table: &Table, failure: Failure) -> Failure {
        if failure.is_other_type() {
            learn(&self.types, table, None);
        }
        failure
    }
}

impl VectorStore for Rows {
    fn present<'a>(&'a self, ids: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<bool>, VectorError>> {
        Box::pin(call(&self.table, async move |table| {
            let id_type = self.id_type(table).await?;
            id_type.check(ids)?;
            let (column, wanted) = (self.id_column.quoted(), id_type.parameter());
            let statement = format!(
                "SELECT DISTINCT {column}::text FROM {} WHERE {column} = ANY({wanted})",
                table.quoted()
            );
            let rows = self
                .pool
                .query(&statement, &[(&ids, Type::TEXT_ARRAY)])
                .await
                .map_err(|failure| self.forget_if_changed(table, failure))?;
            among(&rows, ids)
        }))
    }

    fn delete<'a>(&'a self, ids: &'a [&'a str]) -> BoxFuture<'a, Result<(), VectorError>> {
        let began = Instant::now();
        Box::pin(call(&self.table, async move |table| {
            let id_type = self.id_type(table).await?;
            id_type.check(ids)?;
            let (column, wanted) = (self.id_column.quoted(), id_type.parameter());
            let statement = format!(
                "DELETE FROM {} WHERE {column} = ANY({wanted})",
                table.quoted()
            );
            self.pool
                .execute(began, &statement, &[(&ids, Type::TEXT_ARRAY)])
                .await
                .map_err(|failure| self.forget_if_changed(table, failure))
        }))
    }

    fn max_delete(&self) -> usize {
        MAX_DELETE
    }
}

#[cfg(test)]
mod tests;
