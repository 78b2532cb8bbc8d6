//! What a worker's calls to S3 Vectors come to: how many, how many were refused, and when.

use aws_sdk_dynamodb::config::SharedHttpClient;
use serde_json::{Value, json};
use shared::clock::Clock;
use std::sync::{Arc, Mutex};
use tests::wire::{intercept, name_of};

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) refused: u64,
    pub(crate) deletes: u64,
    /// When the first and the last delete that was carried out began, in milliseconds.
    pub(crate) first: Option<i64>,
    pub(crate) last: Option<i64>,
}

impl Tally {
    pub(crate) fn to_json(self) -> Value {
        json!({
            "calls": self.calls, "refused": self.refused, "deletes": self.deletes,
            "first": self.first, "last": self.last,
        })
    }

    pub(crate) fn from_json(value: &Value) -> Self {
        let count = |name: &str| value[name].as_u64().expect("a count");
        Self {
            calls: count("calls"),
            refused: count("refused"),
            deletes: count("deletes"),
            first: value["first"].as_i64(),
            last: value["last"].as_i64(),
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        let firsts = self.first.into_iter().chain(other.first);
        Self {
            calls: self.calls + other.calls,
            refused: self.refused + other.refused,
            deletes: self.deletes + other.deletes,
            first: firsts.min(),
            last: self.last.max(other.last),
        }
    }
}

/// Counts the calls that go through its HTTP client. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<Mutex<Tally>>);

impl Meter {
    /// The HTTP client to put under the SDK's clients.
    pub(crate) fn http_client(&self) -> SharedHttpClient {
        let meter = self.clone();
        intercept(move |request, network| {
            let meter = meter.clone();
            let is_delete = name_of(&request) == "S3Vectors.DeleteVectors";
            let began = Clock::System.now().timestamp_millis();
            async move {
                let response = network.send(request).await?;
                let mut tally = meter.0.lock().expect("not poisoned");
                tally.calls += 1;
                match response.status().as_u16() {
                    429 => tally.refused += 1,
                    200 if is_delete => {
                        tally.deletes += 1;
                        tally.first = tally.first.into_iter().chain([began]).min();
                        tally.last = tally.last.max(Some(began));
                    }
                    _ => {}
                }
                drop(tally);
                Ok(response)
            }
        })
    }

    pub(crate) fn tally(&self) -> Tally {
        *self.0.lock().expect("not poisoned")
    }
}
