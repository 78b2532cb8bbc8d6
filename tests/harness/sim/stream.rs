//! The table's stream, the event bus, and the function that sends the events.

use super::connector::{Call, Response};
use super::dynamodb::Change;
use super::service::Service;
use super::world::State;
use serde_json::{Value, json};
use shared::events::{StreamEvent, StreamResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long the function may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A change of a task's status: the task's id, its attempt, the status before, and the status.
type StatusChange = (String, u64, Option<String>, String);

/// The stream, and the events that were sent.
#[derive(Default)]
pub(crate) struct Stream {
    records: Vec<Value>,
    /// The position of the first record that Lambda has to pass to the function, or pass again.
    next: usize,
    /// The changes of status, as the items show them.
    changes: Vec<StatusChange>,
    /// The changes for which an event was sent, with the event's sequence number.
    told: BTreeMap<StatusChange, u64>,
}

impl Stream {
    /// Adds the record of a written item.
    ///
    /// # Errors
    /// When the item does not correctly say whether its status changed. Lambda's filter relies on
    /// this.
    pub(super) fn append(&mut self, change: &Change) -> Result<(), String> {
        let Some(id) = change.key.strip_prefix("T#") else {
            return Ok(());
        };
        let status = |item: &Value| item["status"]["S"].as_str().unwrap_or_default().to_owned();
        let (before, after) = (change.before.as_ref().map(status), status(&change.after));
        let says = change.after["previous_status"]["S"].as_str();
        let is_changed = before.as_ref() != Some(&after);
        let expected = is_changed.then(|| before.as_deref().unwrap_or("none"));
        if says != expected {
            return Err(format!(
                "{id} was {before:?}, is {after}, and says {says:?}"
            ));
        }
        if is_changed {
            let attempt = change.after["attempt"]["N"].as_str().unwrap_or_default();
            let attempt = attempt.parse().expect("an attempt");
            self.changes.push((id.to_owned(), attempt, before, after));
        }
        self.records.push(json!({
            "awsRegion": "us-east-1",
            "eventID": "",
            "eventName": if change.before.is_some() { "MODIFY" } else { "INSERT" },
            "dynamodb": {
                "Keys": {},
                "NewImage": change.after,
                "SequenceNumber": self.records.len().to_string(),
                "SizeBytes": 0,
            },
        }));
        Ok(())
    }

    fn batch(&self, most: usize) -> Option<StreamEvent> {
        let left = self.records.get(self.next..).unwrap_or_default();
        let records: Vec<_> = left.iter().take(most).collect();
        if records.is_empty() {
            return None;
        }
        let event = json!({"Records": records});
        Some(serde_json::from_value(event).expect("records as Lambda hands them over"))
    }

    /// Continues after the batch, or at the first record whose event was not sent.
    fn handled(&mut self, records: usize, response: &StreamResponse) {
        let failed = response.batch_item_failures.iter().map(|failure| {
            let number = failure.item_identifier.as_deref().map(str::parse);
            number.and_then(Result::ok).unwrap_or(self.next)
        });
        self.next = failed.min().unwrap_or(self.next + records);
    }

    /// Checks that every change has an event, and that the sequence numbers of each task grow.
    fn check(&self) -> Result<(), String> {
        let mut last = BTreeMap::new();
        for change in &self.changes {
            let number = self.told.get(change);
            let number = number.ok_or_else(|| format!("nobody was told of {change:?}"))?;
            if last
                .insert(&change.0, number)
                .is_some_and(|last| last >= number)
            {
                return Err(format!("the number of {change:?} does not grow: {number}"));
            }
        }
        Ok(())
    }
}

impl State {
    pub(super) fn serve_event_bus(&mut self, call: &Call, partly: bool) -> Response {
        let (mut entries, mut failed) = (Vec::new(), 0);
        for entry in call.body["Entries"].as_array().into_iter().flatten() {
            if partly && self.rng.bool() {
                failed += 1;
                entries.push(json!({"ErrorCode": "InternalFailure", "ErrorMessage": "refused"}));
                continue;
            }
            let detail = entry["Detail"].as_str().unwrap_or_default();
            let detail: Value = serde_json::from_str(detail).expect("a detail is JSON");
            let text = |name: &str| detail[name].as_str().map(str::to_owned);
            let change = (
                text("id").unwrap_or_default(),
                detail["attempt"].as_u64().unwrap_or_default(),
                text("previous_status"),
                text("status").unwrap_or_default(),
            );
            // A recorded change is durable: it was read from the table after the write.
            if !BTreeSet::from_iter(&self.stream.changes).contains(&change) {
                self.violated(format!("told of {change:?}, which was never written"));
            }
            let number = detail["sequence"].as_u64().unwrap_or_default();
            self.stream.told.insert(change, number);
            entries.push(json!({"EventId": entries.len().to_string()}));
        }
        Response::ok(&json!({"FailedEntryCount": failed, "Entries": entries}))
    }
}

impl Service {
    /// Passes the next records of the stream to the function, as Lambda does. Returns `false` if
    /// there are none.
    pub(crate) async fn tell(&self) -> bool {
        let batch = self.world.with(|state| {
            let most = state.rng.usize(1..=25);
            state.stream.batch(most)
        });
        let Some(batch) = batch else {
            return false;
        };
        let (records, events) = (batch.records.len(), self.events.clone());
        let work = async move { events.handle(batch).await };
        let handled = self.process("task-events", TIMEOUT, work).await;
        if let Some((_, response)) = handled {
            self.world
                .with(|state| state.stream.handled(records, &response));
        }
        true
    }

    /// Sends all remaining events, and checks that none is missing.
    pub(super) async fn tell_all(&self) {
        while !self.is_violated() && self.tell().await {}
        self.world.with(|state| {
            let checked = state.stream.check();
            state.expect(checked);
        });
    }
}
