//! Events for EventBridge: one for each change of a task's status.
//!
//! The changes come from the table's stream. So an event is sent only after its change is durable,
//! and needs no further write. Each event is sent at least once, and the order is not guaranteed.
//! After a failure, Lambda hands over the batch again from the first record whose event was not
//! sent.

pub use aws_lambda_events::dynamodb::Event as StreamEvent;
pub use aws_lambda_events::streams::DynamoDbEventResponse as StreamResponse;

use crate::api::TaskBody;
use crate::aws::error_code;
use crate::clock::Clock;
use crate::store::StatusChange;
use crate::telemetry::{self, Line, ShortText};
use aws_lambda_events::dynamodb::EventRecord;
use aws_lambda_events::streams::DynamoDbBatchItemFailure;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime as Time;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde::Serialize;
use tracing::Level;

/// The `source` of the events.
pub const SOURCE: &str = "deletion-tasks";
/// The `detail-type` of the events.
pub const DETAIL_TYPE: &str = "Deletion Task Status Change";
/// The most events of one call ("PutEvents", Amazon EventBridge API Reference).
const MAX_ENTRIES: usize = 10;

/// The event of a change of a task's status.
#[derive(Debug)]
pub struct TaskEvent {
    /// The event's `detail`: the task as `/info` shows it, without its objects, and with
    /// `previous_status` and `sequence`.
    pub detail: String,
    /// When the status changed, in whole seconds.
    pub time: DateTime<Utc>,
    /// The ARN of the table, which tells stacks apart.
    table: Option<String>,
    /// The sequence number of the change's record in the stream.
    record: Option<String>,
}

/// The published shape of `detail`.
#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    task: TaskBody,
    previous_status: Option<&'static str>,
    sequence: u64,
}

/// Returns the events of a batch of records of the table's stream. Only a change of a task's status
/// has an event. A damaged record is logged and left out: it would fail again the next time, and
/// delay all others.
pub fn events_of(batch: StreamEvent) -> Vec<TaskEvent> {
    let records = batch.records.into_iter();
    let events = records.filter_map(|record| {
        let event = event_of(record);
        event.unwrap_or_else(|cause| {
            tracing::error!(cause, "left out");
            None
        })
    });
    events.collect()
}

fn event_of(record: EventRecord) -> Result<Option<TaskEvent>, String> {
    let table = record.event_source_arn.as_deref();
    let table = table.and_then(|stream| stream.split_once("/stream/"));
    let table = table.map(|(table, _)| table.to_owned());
    let record = record.change;
    let change = StatusChange::read(record.new_image.into()).map_err(|error| error.to_string())?;
    let Some(change) = change else {
        return Ok(None);
    };
    let (time, sequence) = (change.task.updated_at, change.sequence());
    let detail = Detail {
        previous_status: change.previous.map(|status| status.as_str()),
        sequence,
        task: TaskBody::without_objects(change.task, change.attribution),
    };
    Ok(Some(TaskEvent {
        detail: serde_json::to_string(&detail).map_err(|error| error.to_string())?,
        time,
        table,
        record: record.sequence_number,
    }))
}

/// Sends the changes in the table's stream to an event bus.
#[derive(Clone, Debug)]
pub struct TaskEvents {
    bus: EventBus,
    clock: Clock,
}

impl TaskEvents {
    /// Sends events to `bus`.
    pub fn new(bus: EventBus, clock: Clock) -> Self {
        Self { bus, clock }
    }

    /// Sends the events of a batch of records. The response names the first record whose event was
    /// not sent. Lambda hands over the records again from there on.
    pub async fn handle(&self, batch: StreamEvent) -> StreamResponse {
        let began = self.clock.now();
        let mut line = EventsLine {
            records: batch.records.len(),
            ..EventsLine::default()
        };
        let events = events_of(batch);
        let mut response = StreamResponse::default();
        for events in events.chunks(MAX_ENTRIES) {
            match self.bus.put(events).await {
                Ok(()) => line.told += events.len(),
                Err(NotTold { first, cause }) => {
                    line.told += first;
                    line.cause = Some(ShortText::new(cause));
                    let mut failure = DynamoDbBatchItemFailure::default();
                    // Without a number, Lambda treats the whole batch as failed.
                    failure.item_identifier =
                        events.get(first).and_then(|event| event.record.clone());
                    response.batch_item_failures.push(failure);
                    break;
                }
            }
        }
        let level = if line.cause.is_some() {
            Level::WARN
        } else {
            Level::INFO
        };
        line.duration_ms = Some((self.clock.now() - began).num_milliseconds());
        telemetry::log(level, line);
        response
    }
}

/// An event bus of EventBridge.
#[derive(Clone, Debug)]
pub struct EventBus {
    client: Client,
    name: String,
}

/// The failure of a call: the first event that was not sent, and why.
struct NotTold {
    /// The position of the first event that was not sent.
    first: usize,
    cause: String,
}

impl EventBus {
    /// The bus with this name or ARN.
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Checks that the bus exists. EventBridge accepts events for a bus that does not exist, and
    /// loses them.
    ///
    /// # Errors
    /// When there is no such bus, or when that cannot be determined.
    pub async fn check(&self) -> Result<(), String> {
        let call = self.client.describe_event_bus().name(&self.name);
        let described = call.send().boxed().await;
        described.map(drop).map_err(|error| {
            let code = error_code(&error);
            format!(
                "EVENT_BUS: the event bus `{}` cannot be found: {code}",
                self.name
            )
        })
    }

    /// Puts up to ten events on the bus.
    async fn put(&self, events: &[TaskEvent]) -> Result<(), NotTold> {
        let entries = events.iter().map(|event| {
            PutEventsRequestEntry::builder()
                .source(SOURCE)
                .detail_type(DETAIL_TYPE)
                .detail(&event.detail)
                .time(Time::from_secs(event.time.timestamp()))
                .event_bus_name(&self.name)
                .set_resources(event.table.clone().map(|table| vec![table]))
                .build()
        });
        let call = self
            .client
            .put_events()
            .set_entries(Some(entries.collect()));
        let response = call.send().boxed().await.map_err(|error| NotTold {
            first: 0,
            cause: format!("EventBridge: {}", error_code(&error)),
        })?;
        let failed = response.entries().iter().enumerate();
        let mut failed = failed.filter_map(|(at, entry)| Some((at, entry.error_code()?)));
        match failed.next() {
            Some((first, code)) => Err(NotTold {
                first,
                cause: format!("EventBridge: {code}"),
            }),
            None if response.entries().len() < events.len() => Err(NotTold {
                first: response.entries().len(),
                cause: "EventBridge: an incomplete response".to_owned(),
            }),
            None => Ok(()),
        }
    }
}

/// The line of a batch of records.
#[derive(Debug, Default, Serialize)]
struct EventsLine {
    records: usize,
    told: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ShortText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
}

impl Line for EventsLine {
    fn shorten(&mut self) -> bool {
        self.duration_ms.take().is_some() || self.cause.take().is_some()
    }
}
