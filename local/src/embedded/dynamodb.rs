//! DynamoDB: dynoxide over SQLite, in memory or in a file.

use super::directory::Directory;
use super::dynamodb_calls::{SITE, respond};
use crate::error::StartError;
use crate::schedule;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableDescription, TimeToLiveSpecification,
    TimeToLiveStatus,
};
use dynoxide::storage_backend;
use dynoxide::{Database, DynoxideError};
use shared::clock::Clock;
use shared::store::{
    INDEX_ATTRIBUTES, INDEX_HASH_KEY, INDEX_NAME, INDEX_RANGE_KEY, KEY, TTL_ATTRIBUTE,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use web::stop::{self, Stopper};
use web::{Guard, Server};

const SERVICE: &str = "DynamoDB";
/// How often expired items are removed.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct DynamoDb {
    server: Server,
    /// Stops the removal of expired items.
    _expiry: Stopper,
    /// The directory of `--data`, locked while DynamoDB runs.
    directory: Option<Directory>,
}

impl DynamoDb {
    /// Starts DynamoDB with the tables of the directory `data`, or without tables.
    pub(crate) async fn start(
        listener: TcpListener,
        guard: Guard,
        data: Option<&Path>,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let directory = data.map(Directory::lock).transpose()?;
        let database = open(directory.as_ref(), clock)?;
        let (expiry, stop) = stop::signal();
        // A database in a file uses the system's clock, so with a manual clock it would remove the
        // wrong items.
        if data.is_none() || matches!(clock, Clock::System) {
            let database = database.clone();
            tokio::spawn(schedule::every(
                EXPIRY_INTERVAL,
                EXPIRY_INTERVAL,
                stop,
                move || expire(database.clone()),
            ));
        }
        let respond = move |request| {
            let database = database.clone();
            async move { respond(&database, &request) }
        };
        let server = Server::start(listener, guard, SITE, respond);
        Ok(Self {
            server: server.map_err(StartError::setup(SERVICE))?,
            _expiry: expiry,
            directory,
        })
    }

    /// Records that the table exists, so that the directory is complete from now on.
    pub(crate) fn mark_created(&self) -> Result<(), StartError> {
        self.directory
            .as_ref()
            .map_or(Ok(()), Directory::mark_created)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

fn open(directory: Option<&Directory>, clock: &Clock) -> Result<Database, StartError> {
    let Some(directory) = directory else {
        let clock = Arc::new(DatabaseClock(clock.clone()));
        return Database::memory_with_clock(clock).map_err(StartError::setup(SERVICE));
    };
    let file = directory.database()?;
    let data = directory.path();
    let path = file
        .to_str()
        .ok_or_else(|| StartError::data(data, "its name is not UTF-8"))?;
    Database::new(path).map_err(|error| match error {
        DynoxideError::InternalServerError(_) => {
            StartError::data(data, "its tasks.db is damaged, or not a database")
        }
        error => StartError::data(data, error),
    })
}

/// The runner's clock, for the database.
struct DatabaseClock(Clock);

impl storage_backend::Clock for DatabaseClock {
    fn now_unix_secs(&self) -> u64 {
        self.0.now().timestamp().try_into().unwrap_or(0)
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "a fraction of a second is precise enough"
    )]
    fn now_unix_secs_f64(&self) -> f64 {
        self.0.now().timestamp_millis() as f64 / 1000.0
    }
}

/// Removes expired items, as DynamoDB does in the background.
async fn expire(database: Database) {
    // The database blocks its thread.
    match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(removed)) => tracing::debug!(removed, "expired items were removed"),
        Ok(Err(error)) => tracing::warn!(%error, "expired items could not be removed"),
    }
}

/// Creates the table of `template.yaml` unless it exists.
pub(crate) async fn create_table(
    client: &Client,
    table: &str,
    data: Option<&Path>,
) -> Result<(), StartError> {
    let names = client
        .list_tables()
        .send()
        .await
        .map_err(StartError::setup(SERVICE))?;
    if !names.table_names().iter().any(|name| name == table) {
        create(client, table).await?;
    } else if let Some(data) = data
        && !has_current_index(client, table).await?
    {
        return Err(StartError::data(
            data,
            "it holds tasks of another version of this program",
        ));
    }
    enable_expiry(client, table).await
}

async fn create(client: &Client, table: &str) -> Result<(), StartError> {
    let mut call = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key(KEY, KeyType::Hash)?)
        .global_secondary_indexes(index()?);
    for name in [KEY, INDEX_HASH_KEY, INDEX_RANGE_KEY] {
        let attribute = AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build();
        call = call.attribute_definitions(attribute.map_err(StartError::setup(SERVICE))?);
    }
    call.send().await.map_err(StartError::setup(SERVICE))?;
    Ok(())
}

fn index() -> Result<GlobalSecondaryIndex, StartError> {
    let attributes = INDEX_ATTRIBUTES
        .iter()
        .map(|&name| name.to_owned())
        .collect();
    let projection = Projection::builder()
        .projection_type(ProjectionType::Include)
        .set_non_key_attributes(Some(attributes))
        .build();
    GlobalSecondaryIndex::builder()
        .index_name(INDEX_NAME)
        .key_schema(key(INDEX_HASH_KEY, KeyType::Hash)?)
        .key_schema(key(INDEX_RANGE_KEY, KeyType::Range)?)
        .projection(projection)
        .build()
        .map_err(StartError::setup(SERVICE))
}

fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, StartError> {
    let element = KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind);
    element.build().map_err(StartError::setup(SERVICE))
}

/// Whether an existing table has the index that this version reads.
async fn has_current_index(client: &Client, table: &str) -> Result<bool, StartError> {
    let description = client.describe_table().table_name(table).send().await;
    let description = description.map_err(StartError::setup(SERVICE))?.table;
    let indexes = description
        .as_ref()
        .map(TableDescription::global_secondary_indexes)
        .unwrap_or_default();
    let expected: BTreeSet<&str> = INDEX_ATTRIBUTES.iter().copied().collect();
    Ok(indexes.iter().any(|index| {
        let projection = index.projection();
        let found = projection
            .map(Projection::non_key_attributes)
            .unwrap_or_default();
        index.index_name() == Some(INDEX_NAME)
            && found.iter().map(String::as_str).collect::<BTreeSet<_>>() == expected
    }))
}

async fn enable_expiry(client: &Client, table: &str) -> Result<(), StartError> {
    let state = client
        .describe_time_to_live()
        .table_name(table)
        .send()
        .await;
    let state = state
        .map_err(StartError::setup(SERVICE))?
        .time_to_live_description;
    // Enabling Time to Live twice is an error.
    if state.and_then(|state| state.time_to_live_status) == Some(TimeToLiveStatus::Enabled) {
        return Ok(());
    }
    let specification = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name(TTL_ATTRIBUTE)
        .build()
        .map_err(StartError::setup(SERVICE))?;
    let enabled = client
        .update_time_to_live()
        .table_name(table)
        .time_to_live_specification(specification)
        .send()
        .await;
    enabled.map(drop).map_err(StartError::setup(SERVICE))
}

#[cfg(test)]
mod tests;
