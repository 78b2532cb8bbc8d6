//! SQS: one queue, which may lose, repeat, delay and reorder messages.
//!
//! It is not `crate::queue` over the embedded SQS, because that one uses the system's clock and not
//! the schedule's seed.

use super::connector::{Call, Response};
use super::world::State;
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use serde_json::{Value, json};

/// The queue's name for the service.
pub(crate) const URL: &str = "http://simulation/queue";
/// How long a received message stays invisible.
const VISIBILITY_TIMEOUT: TimeDelta = TimeDelta::minutes(6);
/// The maximum number of messages in an invocation.
const BATCH: usize = 10;

/// The queue.
#[derive(Default)]
pub(crate) struct Queue {
    messages: Vec<Message>,
    made: u64,
    pub(crate) lost: f64,
    pub(crate) repeated: f64,
    /// The maximum delay of a message.
    pub(crate) late: TimeDelta,
}

/// A message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) body: String,
    /// How often the message was received.
    pub(crate) receives: u32,
    visible_at: DateTime<Utc>,
}

impl Queue {
    /// Ends all loss, repetition and delay from now on.
    pub(crate) fn heal(&mut self) {
        (self.lost, self.repeated, self.late) = (0.0, 0.0, TimeDelta::zero());
    }

    fn send(&mut self, body: &str, now: DateTime<Utc>, rng: &mut Rng) -> &'static str {
        let copies = match rng.f64() {
            drawn if drawn < self.lost => 0,
            drawn if drawn < self.lost + self.repeated => 2,
            _ => 1,
        };
        for _ in 0..copies {
            self.made += 1;
            let late = rng.i64(0..=self.late.num_milliseconds().max(1));
            self.messages.push(Message {
                id: self.made,
                body: body.to_owned(),
                receives: 0,
                visible_at: now + TimeDelta::milliseconds(late),
            });
        }
        ["message lost", "", "message repeated"][copies]
    }

    /// Receives up to ten messages, in any order.
    pub(crate) fn receive(&mut self, now: DateTime<Utc>, rng: &mut Rng) -> Vec<Message> {
        let mut visible: Vec<_> = self
            .messages
            .iter_mut()
            .filter(|message| message.visible_at <= now)
            .collect();
        rng.shuffle(&mut visible);
        visible.truncate(BATCH);
        for message in &mut visible {
            message.visible_at = now + VISIBILITY_TIMEOUT;
            message.receives += 1;
        }
        visible.into_iter().map(|message| message.clone()).collect()
    }

    /// Changes when a received message comes back. Its receipt handle is its id.
    fn change_visibility(&mut self, receipt_handle: &str, visible_at: DateTime<Utc>) {
        for message in &mut self.messages {
            if message.id.to_string() == receipt_handle {
                message.visible_at = visible_at;
            }
        }
    }

    /// Deletes a message.
    pub(crate) fn delete(&mut self, id: u64) {
        self.messages.retain(|message| message.id != id);
    }

    /// Loses every message.
    pub(crate) fn lose_all(&mut self) {
        self.messages.clear();
    }

    /// When the next message becomes visible.
    pub(crate) fn next_visible(&self) -> Option<DateTime<Utc>> {
        self.messages.iter().map(|message| message.visible_at).min()
    }
}

impl State {
    pub(super) fn serve_sqs(&mut self, call: &Call, partly: bool) -> Response {
        let now = self.now();
        match call.name.as_str() {
            "SendMessage" => Response::ok(&json!({"MessageId": self.send(&call.body, now)})),
            "SendMessageBatch" => self.serve_entries(call, partly, |state, entry| {
                let sent = state.send(entry, now);
                json!({"Id": entry["Id"], "MessageId": sent})
            }),
            "ChangeMessageVisibilityBatch" => self.serve_entries(call, partly, |state, entry| {
                let handle = text(&entry["ReceiptHandle"]);
                let seconds = entry["VisibilityTimeout"].as_i64().unwrap_or_default();
                let comes_back = now + TimeDelta::seconds(seconds);
                state.queue.change_visibility(&handle, comes_back);
                state.note(0, &format!("message {handle} comes back in {seconds} s"));
                json!({"Id": entry["Id"]})
            }),
            other => panic!("the simulation does not know SQS's {other}"),
        }
    }

    /// Puts a message on the queue and returns its id.
    fn send(&mut self, request: &Value, now: DateTime<Utc>) -> String {
        let body = text(&request["MessageBody"]);
        let fault = self.queue.send(&body, now, &mut self.rng);
        if !fault.is_empty() {
            self.fault(fault);
        }
        self.note(0, &format!("on the queue: {body}"));
        self.queue.made.to_string()
    }

    /// Serves the entries of a batch, or only some of them.
    fn serve_entries(
        &mut self,
        call: &Call,
        partly: bool,
        serve: impl Fn(&mut Self, &Value) -> Value,
    ) -> Response {
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for entry in call.body["Entries"].as_array().into_iter().flatten() {
            if partly && self.rng.bool() {
                failed.push(
                    json!({"Id": entry["Id"], "Code": "InternalError", "SenderFault": false}),
                );
            } else {
                successful.push(serve(self, entry));
            }
        }
        Response::ok(&json!({"Successful": successful, "Failed": failed}))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
