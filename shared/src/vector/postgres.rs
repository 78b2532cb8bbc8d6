//! PostgreSQL with pgvector: the object id is the value of a column, and every row with that value
//! is deleted.
//!
//! `address.rs` parses the URL, and `key_words.rs` rejects the parameters that are not supported.
//! `connect.rs` logs in over `tls.rs` with the password of `../secret.rs`, and `pool.rs` keeps the
//! connections. `relation.rs` has the tables of a model and the statements over them, `names.rs`
//! quotes identifiers, `catalog.rs` reads the catalog about a table, `id_type.rs` knows which ids a
//! column can hold, and `embedding_studio.rs` deletes from EmbeddingStudio's tables. `errors.rs`
//! sorts errors, and `denial.rs` asks the catalog about some of them.
//!
//! This file is the store. What it reports of an id after a delete rests on a read in a transaction
//! of its own, after the delete's commit.

mod address;
mod catalog;
mod connect;
mod denial;
#[cfg(feature = "embedding-studio")]
mod embedding_studio;
mod errors;
mod id_type;
mod key_words;
mod names;
mod pool;
mod relation;
mod tls;

use super::pace::Quota;
use super::port::{
    AfterDelete, Presence, Services, StoreFactory, VectorError, VectorErrorKind, VectorStore,
};
use super::url_parts::Parameters;
use crate::task::ModelId;
use address::Address;
use catalog::{Columns, Facts};
use connect::STATEMENT_TIMEOUT;
use errors::Failure;
use futures_util::future::BoxFuture;
use names::Table;
use pool::{CALL_TIMEOUT, Parameter, Pool, Statement};
use relation::{Layout, Relation};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_postgres::Row;
use tokio_postgres::types::{Oid, Type};
use url::Url;

/// The most ids of one delete: as many as a chunk of a task has. A delete is one statement, which
/// has a time limit.
const MAX_DELETE: usize = 500;

/// How long the facts about a table are used before the catalog is read again.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// Opens the tables that one URL names.
pub(super) struct Factory {
    address: Address,
    layout: Layout,
    /// Whether rows that row security hides count as absent.
    may_hide: bool,
    limit: Option<Quota>,
    pool: OnceLock<Arc<Pool>>,
    known: Arc<Mutex<HashMap<Table, Known>>>,
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factory")
            .field("address", &self.address)
            .field("layout", &self.layout)
            .field("may_hide", &self.may_hide)
            .finish_non_exhaustive()
    }
}

/// Parses the text of a URL that has a user or a port but no host: `user@/database?host=…`. libpq
/// accepts such a URL, and the URL standard does not. The parts before the `?` become parameters.
pub(super) fn url_without_host(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (user, port) = authority.split_once('@').unwrap_or(("", authority));
    let has_no_host = port.is_empty() || port.starts_with(':');
    if !["postgres", "postgresql"].contains(&scheme) || !has_no_host {
        return None;
    }
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let port = port.trim_start_matches(':');
    let mut url = Url::parse(&format!("{scheme}://{rest}")).ok()?;
    let mut query = url.query().unwrap_or_default().to_owned();
    for (name, value) in [("user", user), ("password", password), ("port", port)] {
        if !value.is_empty() {
            query = format!("{query}&{name}={}", value.replace('&', "%26"));
        }
    }
    url.set_query(Some(&query));
    Some(url)
}

impl Factory {
    /// Parses `postgres://user@host/database?…`, as libpq does.
    ///
    /// # Errors
    /// All errors in the URL, one sentence each.
    pub(super) fn parse(url: &Url) -> Result<Self, Vec<String>> {
        // libpq reads a plus sign literally, not as a space.
        let mut literal = url.clone();
        literal.set_query(
            url.query()
                .map(|query| query.replace('+', "%2B"))
                .as_deref(),
        );
        let mut parameters = Parameters::of(&literal);
        let address = Address::read(url, &mut parameters);
        let schema = parameters.name("schema");
        let may_hide = parameters.flag("row_security", "on");
        // One call can have many objects, so calls are not limited.
        let limit = parameters.per_second("objects_per_second");
        let limit = limit.map(|objects| Quota::new(objects, u32::MAX));
        let layout = match parameters.take("layout").as_deref() {
            None => Layout::of_rows(schema, &mut parameters),
            #[cfg(feature = "embedding-studio")]
            Some("embedding-studio") => embedding_studio::layout(schema),
            Some(other) => {
                parameters.errors.push(format!(
                    "layout `{other}` is not known, or was left out of this build: use `embedding-studio`, or none"
                ));
                None
            }
        };
        let errors = parameters.finish();
        let (Some(address), Some(layout), true) = (address, layout, errors.is_empty()) else {
            return Err(errors);
        };
        Ok(Self {
            address,
            layout,
            may_hide,
            limit,
            pool: OnceLock::new(),
            known: Arc::default(),
        })
    }
}

impl Factory {
    /// Returns the pool. It is made by the first call, which logs if the server will not be
    /// verified.
    fn pool(&self, services: &Services) -> &Arc<Pool> {
        self.pool.get_or_init(|| {
            if let Some(why) = self.address.why_unverified() {
                tracing::warn!(
                    store = self.address.host,
                    outcome = "not verified",
                    why = why
                );
            }
            Arc::new(Pool::new(self.address.clone(), self.may_hide, services))
        })
    }
}

impl StoreFactory for Factory {
    fn prepare(&self, services: &Services) {
        self.pool(services);
    }

    fn open(&self, services: &Services, model: &ModelId) -> Arc<dyn VectorStore> {
        Arc::new(Store {
            pool: Arc::clone(self.pool(services)),
            known: Arc::clone(&self.known),
            relation: self.layout.of_model(model),
            may_hide: self.may_hide,
        })
    }

    fn limit(&self, model: &ModelId) -> Option<(String, Quota)> {
        let table = self.layout.of_model(model).ok()?.table.quoted();
        let Address {
            host,
            port,
            database,
            ..
        } = &self.address;
        let address = format!("postgres://{host}:{port}/{database}/{table}");
        Some((address, self.limit?))
    }
}

/// What is known about a table. The stores of a URL share it.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The catalog's facts, forgotten when a statement shows that the table has changed.
    facts: Option<Facts>,
    /// The most ids of one delete, after one was too slow. `None`: [`MAX_DELETE`].
    most: Option<usize>,
}

/// The objects of one model.
struct Store {
    pool: Arc<Pool>,
    known: Arc<Mutex<HashMap<Table, Known>>>,
    /// The model's tables, or why no tables can have these names.
    relation: Result<Relation, String>,
    may_hide: bool,
}

impl Store {
    fn known<T>(&self, table: &Table, act: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        act(known.entry(table.clone()).or_default())
    }

    /// The facts about the table. They are read from the catalog if they are not known, after a
    /// minute, and before an id is refused because of them. Otherwise a batch takes one round trip.
    async fn facts(&self, relation: &Relation, ids: &[&str]) -> Result<Facts, Failure> {
        let table = &relation.table;
        let known = self.known(table, |known| known.facts);
        let still_serves = |facts: &Facts| {
            facts.at.elapsed() < KNOWN_FOR && ids.iter().all(|id| facts.id_type.can_be(id))
        };
        if let Some(known) = known.filter(still_serves) {
            return Ok(known);
        }
        let columns = Columns::look_up(&self.pool, relation).await?;
        let facts = columns.facts(relation)?;
        // The column of originals may be added to an older database at any time. Until it is there,
        // the catalog is read for each batch.
        let stays = relation.parts.is_none() || facts.has_originals;
        self.known(table, |known| known.facts = stays.then_some(facts));
        Ok(facts)
    }

    /// Reads which of `ids` are in the table now.
    async fn read(&self, relation: &Relation, ids: &[&str]) -> Result<Vec<Presence>, Failure> {
        let mut has_retried = false;
        loop {
            let facts = self.facts(relation, ids).await?;
            let holds = |id: &&str| facts.id_type.can_be(id);
            let good: Vec<&str> = ids.iter().copied().filter(holds).collect();
            let tables = relation.quoted();
            let parameters: [Parameter<'_>; 2] =
                [(&good, Type::TEXT_ARRAY), (&tables, Type::TEXT_ARRAY)];
            let read = relation.read(facts.id_type);
            let rows = self.pool.query(&read, &parameters).await;
            let has_changed = match &rows {
                Ok(rows) => has_another_type(rows, facts)?,
                Err(failure) => failure.is_of_a_changed_table(),
            };
            if has_changed {
                self.known(&relation.table, |known| known.facts = None);
                if !has_retried {
                    has_retried = true;
                    continue;
                }
            }
            let rows = rows?;
            let found = self.current(relation, &rows)?;
            let presence = |id: &&str| {
                if facts.id_type.can_be(id) {
                    Presence::of(found.contains(id))
                } else {
                    Presence::InvalidId(facts.id_type.refusal())
                }
            };
            return Ok(ids.iter().map(presence).collect());
        }
    }

    /// Returns the ids that a read found.
    ///
    /// # Errors
    /// The read is not reliable: the server is a replica, or row security may have hidden rows.
    fn current<'r>(
        &self,
        relation: &Relation,
        rows: &'r [Row],
    ) -> Result<HashSet<&'r str>, Failure> {
        let denied = |detail: String, code: &str| VectorError {
            kind: VectorErrorKind::Denied,
            detail,
            code: code.to_owned(),
            source: None,
        };
        let row = rows.first().ok_or_else(|| VectorError {
            kind: VectorErrorKind::Temporary,
            detail: "The vector store sent an unexpected response".to_owned(),
            code: "no row".to_owned(),
            source: None,
        })?;
        if row.try_get(0)? {
            return Err(denied(errors::READ_ONLY.to_owned(), "a replica").into());
        }
        let hidden: Vec<bool> = row.try_get(1)?;
        let hidden = relation.tables().zip(hidden).find(|(_, hides)| *hides);
        if let Some((table, _)) = hidden.filter(|_| !self.may_hide) {
            let detail = errors::hidden(&table.shown());
            return Err(denied(detail, "row security").into());
        }
        let ids: Vec<&str> = row.try_get(2)?;
        Ok(ids.into_iter().collect())
    }

    /// Deletes, and returns what became of each id, by a read after the commit.
    async fn delete(
        &self,
        relation: &Relation,
        ids: &[&str],
        began: Instant,
    ) -> Result<Vec<AfterDelete>, Failure> {
        let table = &relation.table;
        let facts = self.facts(relation, ids).await?;
        facts.id_type.check(ids)?;
        let tables = relation.quoted();
        let listed: Parameter<'_> = (&ids, Type::TEXT_ARRAY);
        let read = Statement {
            text: &relation.read(facts.id_type),
            parameters: &[listed.clone(), (&tables, Type::TEXT_ARRAY)],
        };
        let deleted = match &relation.parts {
            None => {
                let delete = Statement {
                    text: &relation.delete(facts.id_type),
                    parameters: &[listed],
                };
                self.pool.delete(began, delete, read, facts.is_plain).await
            }
            #[cfg(feature = "embedding-studio")]
            Some(parts) => {
                let objects = embedding_studio::Objects { relation, parts };
                objects.delete(&self.pool, facts, ids, read, began).await
            }
            #[cfg(not(feature = "embedding-studio"))]
            Some(_) => Ok(Vec::new()),
        };
        self.learn_from(table, ids.len(), began, &deleted);
        let rows = match deleted {
            Err(failure) if failure.is_of_a_changed_table() => return Err(changed(table).into()),
            rows => rows?,
        };
        if has_another_type(&rows, facts)? {
            self.known(table, |known| known.facts = None);
            return Err(changed(table).into());
        }
        let found = self.current(relation, &rows)?;
        let after = |id: &&str| {
            if found.contains(id) {
                AfterDelete::Kept(format!(
                    "Table {} still has the object after a delete: a trigger, a rule or a policy keeps it, or it was inserted again",
                    relation.shown()
                ))
            } else {
                AfterDelete::Gone
            }
        };
        Ok(ids.iter().map(after).collect())
    }

    /// Makes the next deletes smaller after one that was too slow, and larger again after one that
    /// was quick. Forgets the facts about the table if the table has changed.
    fn learn_from(
        &self,
        table: &Table,
        ids: usize,
        began: Instant,
        deleted: &Result<Vec<Row>, Failure>,
    ) {
        let was_quick = began.elapsed() < STATEMENT_TIMEOUT / 4;
        self.known(table, |known| match (deleted, known.most) {
            (Err(failure), most) if failure.is_too_slow() => {
                let half = (ids / 2).max(1);
                known.most = Some(most.map_or(half, |most| most.min(half)));
            }
            (Err(failure), _) if failure.is_of_a_changed_table() => known.facts = None,
            (Ok(_), Some(most)) if was_quick && ids >= most => {
                known.most = Some(most * 2).filter(|most| *most < MAX_DELETE);
            }
            _ => {}
        });
    }

    /// Makes a call to the model's tables within the time limit, and sorts its errors.
    async fn call<'a, T, F>(
        &'a self,
        call: impl FnOnce(&'a Relation) -> F,
    ) -> Result<T, VectorError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let relation = self.relation.as_ref().map_err(|why| VectorError {
            kind: VectorErrorKind::IndexMissing,
            detail: format!("No table can have this name: {why}"),
            code: "no such name".to_owned(),
            source: None,
        })?;
        let call = async {
            let failure = match call(relation).await {
                Ok(result) => return Ok(result),
                Err(failure) => failure,
            };
            let catalog_knows = failure.is_told_by_the_catalog();
            let deletes = matches!(failure, Failure::Deleting(_));
            let mut error = failure.about(&relation.shown());
            if catalog_knows {
                denial::explain(&self.pool, relation, deletes, &mut error).await;
            }
            Err(error)
        };
        timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| {
            Err(VectorError {
                kind: VectorErrorKind::Unanswered,
                detail: "The vector store did not respond in time".to_owned(),
                code: "timeout".to_owned(),
                source: None,
            })
        })
    }
}

/// Whether the type of the ids is no longer the known one.
fn has_another_type(rows: &[Row], facts: Facts) -> Result<bool, Failure> {
    let oid = rows
        .first()
        .map(|row| row.try_get::<_, Oid>(3))
        .transpose()?;
    Ok(oid != Some(facts.oid))
}

/// The error of a table that has changed since its facts were read. The next call reads them again.
fn changed(table: &Table) -> VectorError {
    VectorError {
        kind: VectorErrorKind::Temporary,
        detail: format!("Table {} changed during the call", table.shown()),
        code: "changed".to_owned(),
        source: None,
    }
}

impl VectorStore for Store {
    fn present<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Presence>, VectorError>> {
        Box::pin(self.call(async move |relation| self.read(relation, ids).await))
    }

    fn delete<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<AfterDelete>, VectorError>> {
        let began = Instant::now();
        Box::pin(self.call(async move |relation| self.delete(relation, ids, began).await))
    }

    fn max_delete(&self) -> usize {
        let most = self.relation.as_ref().ok().and_then(|relation| {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&relation.table)?.most
        });
        most.unwrap_or(MAX_DELETE)
    }
}

#[cfg(test)]
mod tests;
