//! A meter on the wire: which calls are made, and what DynamoDB would bill for them.
//!
//! While it is on, it adds `ReturnConsumedCapacity` to every request to DynamoDB, and adds up what
//! the embedded DynamoDB reports. `units.rs` calculates the same figures from the bodies, if they
//! say enough. It also does so for refused writes, whose responses report no units.

use super::units;
use crate::wire::{Network, Outcome, body_of, intercept, name_of, set_body};
use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Calls by `Service.Operation`.
    pub calls: BTreeMap<String, u64>,
    /// Units by `Service.Operation`. All units here include the index's.
    pub units: BTreeMap<String, f64>,
    /// Read units.
    pub read_units: f64,
    /// Write units.
    pub write_units: f64,
    /// The part of these for the index.
    pub index_write_units: f64,
    /// The part of these for refused writes.
    pub refused_write_units: f64,
    /// Rows that queries read (`ScannedCount`).
    pub rows_read: u64,
    /// Responses whose units were also calculated here. [`Self::differing`] counts those of them
    /// whose figures differ.
    pub checked: u64,
    /// See [`Self::checked`].
    pub differing: u64,
}

impl Tally {
    /// Returns the tally as a row's fields.
    pub fn to_json(&self) -> Value {
        json!({
            "calls": self.calls,
            "units": self.units,
            "read_units": self.read_units,
            "write_units": self.write_units,
            "index_write_units": self.index_write_units,
            "refused_write_units": self.refused_write_units,
            "rows_read": self.rows_read,
            "units_checked": self.checked,
            "units_differing": self.differing,
        })
    }

    fn add(&mut self, call: &str, request: &Value, response: &Value, is_success: bool) {
        if !is_success {
            let units = units::of_refusal(request, response);
            *self.units.entry(call.to_owned()).or_default() += units;
            self.write_units += units;
            self.refused_write_units += units;
            return;
        }
        let (units, index_units) = units::reported(response);
        *self.units.entry(call.to_owned()).or_default() += units;
        if units::reads(call) {
            self.read_units += units
        } else {
            self.write_units += units;
            self.index_write_units += index_units;
        }
        if call.ends_with(".Query") {
            self.rows_read += response["ScannedCount"].as_u64().unwrap_or_default();
        }
        if let Some(expected) = units::expected(call, request, response) {
            let found = if units::reads(call) {
                units
            } else {
                units - index_units
            };
            self.checked += 1;
            self.differing += u64::from((expected - found).abs() > 1e-9);
        }
    }
}

/// The meter. It is off at first. Clones share its state.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Option<Tally>>>);

impl Meter {
    /// Returns the HTTP client to put under the SDK's clients.
    pub fn http_client(&self) -> SharedHttpClient {
        let meter = self.clone();
        intercept(move |request, network| meter.clone().carry(request, network))
    }

    /// Starts counting.
    pub fn turn_on(&self) {
        *self.0.lock().expect("not poisoned") = Some(Tally::default());
    }

    /// Stops counting. Returns what was counted.
    pub fn turn_off(&self) -> Tally {
        let tally = self.0.lock().expect("not poisoned").take();
        tally.unwrap_or_default()
    }

    fn is_on(&self) -> bool {
        self.0.lock().expect("not poisoned").is_some()
    }

    fn with_tally(&self, change: impl FnOnce(&mut Tally)) {
        if let Some(tally) = self.0.lock().expect("not poisoned").as_mut() {
            change(tally);
        }
    }

    async fn carry(self, mut request: HttpRequest, network: Network) -> Outcome {
        if !self.is_on() {
            return network.send(request).await;
        }
        let call = name_of(&request);
        self.with_tally(|tally| *tally.calls.entry(call.clone()).or_default() += 1);
        if !call.starts_with("DynamoDB.") {
            return network.send(request).await;
        }
        let mut asked = body_of(&request);
        asked["ReturnConsumedCapacity"] = "INDEXES".into();
        set_body(&mut request, &asked);
        let mut response = network.send(request).await?;
        let body = response.take_body().collect().await;
        let body = body
            .map_err(|error| ConnectorError::io(error.to_string().into()))?
            .to_bytes();
        let found = serde_json::from_slice(&body).unwrap_or_default();
        let is_success = response.status().is_success();
        self.with_tally(|tally| tally.add(&call, &asked, &found, is_success));
        *response.body_mut() = body.into();
        Ok(response)
    }
}
