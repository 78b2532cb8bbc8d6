//! Transaction conflicts as in DynamoDB ("Amazon DynamoDB Transactions: How it works", transaction
//! conflict handling).
//!
//! A transaction holds its items for a while. DynamoDB cancels a transaction at once if another
//! transaction or write is in progress on any of its items. It refuses a write in the same way if a
//! transaction holds the item. Reads do not conflict. The embedded DynamoDB carries out one request
//! after the other, so it has no conflicts.

use crate::wire::{Network, Outcome, body_of, name_of, response};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::{Value, json};
use shared::store::KEY;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NAMESPACE: &str = "com.amazonaws.dynamodb.v20120810";

/// The items that are held. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Items(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How long a transaction holds its items.
    hold: Duration,
    held: HashMap<String, By>,
    refused: usize,
    transactions: usize,
}

/// What an item is held by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Transaction,
    /// This many writes, which wait for each other.
    Writes(usize),
}

impl Items {
    /// Creates items that a transaction holds for this long before it takes effect.
    pub fn held_for(time: Duration) -> Self {
        let items = Self::default();
        items.state().hold = time;
        items
    }

    /// How many requests were refused.
    pub fn refused(&self) -> usize {
        self.state().refused
    }

    /// How many transactions were carried out.
    pub fn transactions(&self) -> usize {
        self.state().transactions
    }

    /// Carries a request out, or refuses it.
    pub async fn carry(&self, request: HttpRequest, network: Network) -> Outcome {
        let (by, keys) = match name_of(&request).as_str() {
            "DynamoDB.TransactWriteItems" => (By::Transaction, keys_of_parts(&body_of(&request))),
            "DynamoDB.UpdateItem" => (By::Writes(1), vec![key_of(&body_of(&request)["Key"])]),
            "DynamoDB.PutItem" => (By::Writes(1), vec![key_of(&body_of(&request)["Item"])]),
            _ => return network.send(request).await,
        };
        let hold = match self.take(by, &keys) {
            Ok(hold) => hold,
            Err(refusal) => return Ok(response(400, refusal.to_string())),
        };
        let _held = Held { items: self, keys };
        if by == By::Transaction {
            tokio::time::sleep(hold).await;
        }
        network.send(request).await
    }

    fn take(&self, by: By, keys: &[String]) -> Result<Duration, Value> {
        let mut state = self.state();
        let meets = |key: &String| match (by, state.held.get(key)) {
            (_, None) | (By::Writes(_), Some(By::Writes(_))) => false,
            (_, Some(By::Transaction)) | (By::Transaction, Some(By::Writes(_))) => true,
        };
        let met: Vec<_> = keys.iter().map(meets).collect();
        if met.contains(&true) {
            state.refused += 1;
            return Err(conflict(by, &met));
        }
        state.transactions += usize::from(by == By::Transaction);
        for key in keys {
            match state.held.entry(key.clone()).or_insert(By::Writes(0)) {
                held if by == By::Transaction => *held = By::Transaction,
                By::Writes(writes) => *writes += 1,
                By::Transaction => {}
            }
        }
        Ok(state.hold)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }
}

/// Releases the items once the request is served or its sender is gone.
struct Held<'a> {
    items: &'a Items,
    keys: Vec<String>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.items.state();
        for key in &self.keys {
            match state.held.get_mut(key) {
                Some(By::Writes(writes)) if *writes > 1 => *writes -= 1,
                _ => {
                    state.held.remove(key);
                }
            }
        }
    }
}

/// A conflict in DynamoDB's words.
fn conflict(by: By, met: &[bool]) -> Value {
    let code = |met: &bool| if *met { "TransactionConflict" } else { "None" };
    match by {
        By::Writes(_) => refused(),
        By::Transaction => canceled(met.iter().map(code)),
    }
}

/// A write that was refused because it met a transaction.
pub(crate) fn refused() -> Value {
    json!({
        "__type": format!("{NAMESPACE}#TransactionConflictException"),
        "message": "Transaction is ongoing for the item",
    })
}

/// A transaction that was canceled, with the reason of each of its parts.
pub(crate) fn canceled(codes: impl IntoIterator<Item = &'static str>) -> Value {
    let reasons: Vec<_> = codes
        .into_iter()
        .map(|code| json!({"Code": code}))
        .collect();
    json!({
        "__type": format!("{NAMESPACE}#TransactionCanceledException"),
        "Message": "Transaction cancelled",
        "CancellationReasons": reasons,
    })
}

fn keys_of_parts(body: &Value) -> Vec<String> {
    let parts = body["TransactItems"].as_array().into_iter().flatten();
    let update = |part: &Value| key_of(&part["Update"]["Key"]);
    parts.map(update).collect()
}

fn key_of(item: &Value) -> String {
    item[KEY]["S"].as_str().unwrap_or_default().to_owned()
}
