//! Passes records of the table's stream to the function that sends events, as Lambda's event source
//! mapping does.

use crate::error::StartError;
use aws_lambda_events::dynamodb::EventRecord;
use aws_sdk_dynamodb::types::{StreamSpecification, StreamViewType};
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::{Record, ShardIteratorType};
use shared::events::{StreamEvent, StreamResponse};
use std::time::Duration;
use tokio::time::timeout;
use web::stop::Stop;

const SERVICE: &str = "DynamoDB stream";
/// How often the stream is read.
const POLL: Duration = Duration::from_millis(200);
/// How long to wait after a read that failed, or after records whose events were not sent.
const PAUSE: Duration = Duration::from_secs(1);
/// The most records that are passed at once.
const MAX_RECORDS: i32 = 100;

/// The table's stream, from the moment of its opening.
#[derive(Debug)]
pub(crate) struct StreamSource {
    client: Client,
    arn: String,
    shard: String,
    iterator: Option<String>,
}

impl StreamSource {
    /// Turns the table's stream on if it is off, and begins at its end.
    pub(crate) async fn begin(
        table: &str,
        dynamodb: &aws_sdk_dynamodb::Client,
        client: Client,
    ) -> Result<Self, StartError> {
        let described = dynamodb.describe_table().table_name(table).send().await;
        let described = described.map_err(StartError::setup(SERVICE))?.table;
        let enabled = described.filter(|table| {
            let stream = table.stream_specification.as_ref();
            stream.is_some_and(|stream| stream.stream_enabled)
        });
        let arn = match enabled.and_then(|table| table.latest_stream_arn) {
            Some(arn) => Some(arn),
            None => {
                let specification = StreamSpecification::builder()
                    .stream_enabled(true)
                    .stream_view_type(StreamViewType::NewImage)
                    .build();
                let update = dynamodb
                    .update_table()
                    .table_name(table)
                    .stream_specification(specification.map_err(StartError::setup(SERVICE))?);
                let updated = update.send().await.map_err(StartError::setup(SERVICE))?;
                updated
                    .table_description
                    .and_then(|table| table.latest_stream_arn)
            }
        };
        let arn = arn.ok_or_else(|| StartError::setup(SERVICE)("it has no name"))?;
        let described = client.describe_stream().stream_arn(&arn).send().await;
        let described = described.map_err(StartError::setup(SERVICE))?;
        let shards = described
            .stream_description
            .and_then(|stream| stream.shards);
        let shard = shards
            .into_iter()
            .flatten()
            .find_map(|shard| shard.shard_id);
        let mut source = Self {
            client,
            arn,
            shard: shard.ok_or_else(|| StartError::setup(SERVICE)("it has no shard"))?,
            iterator: None,
        };
        source
            .go_to(ShardIteratorType::Latest, None)
            .await
            .map_err(StartError::setup(SERVICE))?;
        Ok(source)
    }

    async fn go_to(
        &mut self,
        kind: ShardIteratorType,
        record: Option<String>,
    ) -> Result<(), aws_sdk_dynamodbstreams::Error> {
        let iterator = self
            .client
            .get_shard_iterator()
            .stream_arn(&self.arn)
            .shard_id(&self.shard)
            .shard_iterator_type(kind)
            .set_sequence_number(record);
        self.iterator = iterator.send().await?.shard_iterator;
        Ok(())
    }

    /// Passes the records until `stop`, and then those that are left.
    pub(crate) async fn run<H, F>(mut self, handle: H, stop: Stop)
    where
        H: Fn(StreamEvent) -> F,
        F: Future<Output = StreamResponse>,
    {
        let mut wait = POLL;
        loop {
            let is_last = timeout(wait, stop.requested()).await.is_ok();
            let handed = self.hand_over(&handle).await;
            wait = match handed {
                // There may be more records.
                Ok(Handed::Some) => Duration::ZERO,
                Ok(Handed::None) => POLL,
                Ok(Handed::NotTold) => PAUSE,
                Err(ref error) => {
                    tracing::warn!(%error, "the stream cannot be read; retrying");
                    PAUSE
                }
            };
            if is_last && !matches!(handed, Ok(Handed::Some)) {
                return;
            }
        }
    }

    /// Passes the next records.
    async fn hand_over<H, F>(
        &mut self,
        handle: &H,
    ) -> Result<Handed, aws_sdk_dynamodbstreams::Error>
    where
        H: Fn(StreamEvent) -> F,
        F: Future<Output = StreamResponse>,
    {
        let read = self.client.get_records().limit(MAX_RECORDS);
        let read = read
            .set_shard_iterator(self.iterator.clone())
            .send()
            .await?;
        let records = read.records.unwrap_or_default();
        let handed = if records.is_empty() {
            Handed::None
        } else {
            Handed::Some
        };
        if !records.is_empty() {
            let mut event = StreamEvent::default();
            event.records = records.into_iter().map(record).collect();
            let first = event.records.first().and_then(number);
            let response = handle(event).await;
            if let Some(failure) = response.batch_item_failures.into_iter().next() {
                let from = failure.item_identifier.or(first);
                self.go_to(ShardIteratorType::AtSequenceNumber, from)
                    .await?;
                return Ok(Handed::NotTold);
            }
        }
        self.iterator = read.next_shard_iterator;
        Ok(handed)
    }
}

/// What became of the next records.
enum Handed {
    /// There were no records.
    None,
    /// Their events were sent.
    Some,
    /// Some events were not sent, and those records are passed again.
    NotTold,
}

/// Turns the stream of a table off, if an earlier run turned it on.
pub(crate) async fn end(
    table: &str,
    dynamodb: &aws_sdk_dynamodb::Client,
) -> Result<(), StartError> {
    let described = dynamodb.describe_table().table_name(table).send().await;
    let described = described.map_err(StartError::setup(SERVICE))?.table;
    let stream = described.and_then(|table| table.stream_specification);
    if !stream.is_some_and(|stream| stream.stream_enabled) {
        return Ok(());
    }
    let off = StreamSpecification::builder().stream_enabled(false).build();
    let update = dynamodb
        .update_table()
        .table_name(table)
        .stream_specification(off.map_err(StartError::setup(SERVICE))?);
    update.send().await.map_err(StartError::setup(SERVICE))?;
    Ok(())
}

fn number(record: &EventRecord) -> Option<String> {
    record.change.sequence_number.clone()
}

/// The record that Lambda would make from a record of the stream.
fn record(read: Record) -> EventRecord {
    let mut record = EventRecord::default();
    record.event_id = read.event_id.unwrap_or_default();
    record.aws_region = read.aws_region.unwrap_or_default();
    record.event_source = read.event_source;
    let name = read.event_name.as_ref().map(|name| name.as_str());
    record.event_name = name.unwrap_or_default().to_owned();
    if let Some(change) = read.dynamodb {
        record.change.keys = change.keys.unwrap_or_default().into();
        record.change.new_image = change.new_image.unwrap_or_default().into();
        record.change.sequence_number = change.sequence_number;
        record.change.size_bytes = change.size_bytes.unwrap_or_default();
    }
    record
}
