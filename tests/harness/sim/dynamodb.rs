//! DynamoDB: the embedded one, called in the same process.
//!
//! This file adds what it does not have: conflicts of transactions, partly processed batches, and
//! an index and weak reads that lag.

use super::connector::{Call, Response};
use super::world::{ProcessId, State};
use crate::contention;
use chrono::{DateTime, TimeDelta, Utc};
use dynoxide::{Database, DynoxideError};
use fastrand::Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use shared::clock::Clock;
use shared::store::{INDEX_ATTRIBUTES, INDEX_HASH_KEY, INDEX_NAME, INDEX_RANGE_KEY, KEY};
use std::collections::BTreeMap;

/// The table's name.
pub(crate) const TABLE: &str = "tasks";

/// The table, and the copy that lags behind it.
pub(crate) struct Table {
    clock: Clock,
    database: Database,
    /// Every item as it is now.
    items: BTreeMap<String, Value>,
    copy: Option<Copy>,
    /// Whether requests keep their idempotency token. The service must not rely on it.
    pub(crate) keep_tokens: bool,
    /// How long a transaction holds its items. Other writes to a held item are refused.
    pub(crate) hold: TimeDelta,
    held: BTreeMap<String, DateTime<Utc>>,
}

/// The copy that the index and weak reads show.
struct Copy {
    database: Database,
    most: TimeDelta,
    /// Writes that are not copied yet, each with its time and item. The writes of one item arrive
    /// in order.
    on_the_way: Vec<(DateTime<Utc>, String, Value)>,
}

/// An item before and after a write.
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Value,
}

impl Table {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            database: new_database(),
            items: BTreeMap::new(),
            copy: None,
            keep_tokens: true,
            hold: TimeDelta::zero(),
            held: BTreeMap::new(),
        }
    }

    /// Lets the index and weak reads lag by up to this much from now on.
    pub(crate) fn lag(&mut self, most: TimeDelta) {
        self.copy = Some(Copy {
            database: new_database(),
            most,
            on_the_way: Vec::new(),
        });
    }

    /// Lets the index and weak reads catch up, and ends all but a short lag.
    pub(crate) fn stop_lagging(&mut self) {
        if let Some(copy) = &mut self.copy {
            copy.most = TimeDelta::milliseconds(20);
        }
    }

    fn hold(&mut self, keys: &[String], now: DateTime<Utc>) {
        let until = now + self.hold;
        self.held
            .extend(keys.iter().map(|key| (key.clone(), until)));
    }

    /// The refusal of a write if a transaction holds one of its items.
    fn meets_a_transaction(
        &mut self,
        name: &str,
        body: &Value,
        now: DateTime<Utc>,
    ) -> Option<Value> {
        self.held.retain(|_, until| now < *until);
        let met: Vec<_> = match name {
            "UpdateItem" | "PutItem" | "TransactWriteItems" => keys_of(name, body)
                .iter()
                .map(|key| self.held.contains_key(key))
                .collect(),
            _ => return None,
        };
        if !met.contains(&true) {
            None
        } else if name == "TransactWriteItems" {
            let code = |met| if met { "TransactionConflict" } else { "None" };
            Some(contention::canceled(met.into_iter().map(code)))
        } else {
            Some(contention::refused())
        }
    }

    fn written(&mut self, keys: Vec<String>, rng: &mut Rng) -> Vec<Change> {
        let mut changes = Vec::new();
        for key in keys {
            let get = json!({"TableName": TABLE, "Key": {KEY: {"S": key}}, "ConsistentRead": true});
            let response = run(&self.database, "GetItem", get).expect("a get succeeds");
            let Some(after) = response.get("Item").cloned() else {
                continue;
            };
            let before = self.items.insert(key.clone(), after.clone());
            if before.as_ref() == Some(&after) {
                continue;
            }
            if let Some(copy) = &mut self.copy {
                let lag = match rng.u8(0..4) {
                    0 => copy.most.num_milliseconds(),
                    _ => copy.most.num_milliseconds().min(20),
                };
                let lag = rng.i64(0..=lag.max(1));
                let due = self.clock.now() + TimeDelta::milliseconds(lag);
                let earlier = copy.on_the_way.iter().filter(|(_, other, _)| *other == key);
                let due = earlier
                    .map(|(due, ..)| *due)
                    .max()
                    .map_or(due, |last| last.max(due));
                copy.on_the_way.push((due, key.clone(), after.clone()));
            }
            changes.push(Change { key, before, after });
        }
        changes
    }
}

impl Copy {
    fn catch_up(&mut self, now: DateTime<Utc>) {
        let (arrived, left): (Vec<_>, Vec<_>) =
            self.on_the_way.drain(..).partition(|(due, ..)| *due <= now);
        self.on_the_way = left;
        for (_, _, item) in arrived {
            let put = json!({"TableName": TABLE, "Item": item});
            run(&self.database, "PutItem", put).expect("a put succeeds");
        }
    }
}

impl State {
    pub(super) fn serve_dynamodb(
        &mut self,
        process: ProcessId,
        call: &Call,
        partly: bool,
    ) -> Response {
        let mut body = call.body.clone();
        if !self.table.keep_tokens
            && let Some(body) = body.as_object_mut()
        {
            body.remove("ClientRequestToken");
        }
        let left = if partly {
            take_some(&mut body, &mut self.rng)
        } else {
            None
        };
        let now = self.now();
        if let Some(conflict) = self.table.meets_a_transaction(&call.name, &body, now) {
            self.fault("met a transaction");
            return Response {
                status: 400,
                body: conflict.to_string(),
            };
        }
        let is_weak = is_weak(&call.name, &body);
        let database = match &mut self.table.copy {
            Some(copy) if is_weak => {
                copy.catch_up(now);
                &copy.database
            }
            _ => &self.table.database,
        };
        let mut response = match run(database, &call.name, body.clone()) {
            Ok(response) => response,
            Err(error) => {
                return Response {
                    status: error.status_code(),
                    body: error.to_json(),
                };
            }
        };
        let keys = keys_of(&call.name, &body);
        match call.name.as_str() {
            "GetItem" => {
                if let Some(key) = keys.first() {
                    self.checks.read(process, key, response.get("Item"));
                }
            }
            "BatchGetItem" => {
                // DynamoDB returns items in any order.
                if let Some(items) = response.pointer_mut(&format!("/Responses/{TABLE}"))
                    && let Some(items) = items.as_array_mut()
                {
                    self.rng.shuffle(items);
                }
            }
            "Query" => {}
            _ => {
                if call.name == "TransactWriteItems" {
                    self.table.hold(&keys, now);
                }
                let changes = self.table.written(keys, &mut self.rng);
                for change in &changes {
                    let appended = self.stream.append(change);
                    self.expect(appended);
                }
                let checked = self.checks.written(process, changes, now);
                self.expect(checked);
            }
        }
        if let (Some((name, left)), Some(response)) = (left, response.as_object_mut()) {
            response.insert(name.to_owned(), left);
        }
        Response::ok(&response)
    }
}

/// The error of a transaction that was canceled because another one is in progress on some of its
/// items, or because they are throttled.
pub(super) fn canceled(body: &Value, rng: &mut Rng) -> Value {
    let parts = body["TransactItems"].as_array().map_or(1, Vec::len);
    let certain = rng.usize(0..parts.max(1));
    let code = match rng.u8(0..4) {
        0 => "ThrottlingError",
        1 => "ProvisionedThroughputExceeded",
        _ => "TransactionConflict",
    };
    let codes = (0..parts).map(|part| {
        if part == certain || rng.bool() {
            code
        } else {
            "None"
        }
    });
    contention::canceled(codes)
}

/// The keys of the items in a call.
pub(super) fn keys_of(name: &str, body: &Value) -> Vec<String> {
    let key = |value: &Value| {
        value
            .pointer(&format!("/{KEY}/S"))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    match name {
        "PutItem" => key(&body["Item"]).into_iter().collect(),
        "GetItem" | "UpdateItem" => key(&body["Key"]).into_iter().collect(),
        "BatchWriteItem" => {
            let puts = list(body.pointer(&format!("/RequestItems/{TABLE}")));
            puts.iter()
                .filter_map(|put| key(&put["PutRequest"]["Item"]))
                .collect()
        }
        "BatchGetItem" => {
            let keys = list(body.pointer(&format!("/RequestItems/{TABLE}/Keys")));
            keys.iter().filter_map(key).collect()
        }
        "TransactWriteItems" => {
            let parts = list(body.get("TransactItems"));
            let parts = parts
                .iter()
                .filter_map(|part| part.as_object()?.values().next());
            parts
                .filter_map(|part| key(part.get("Key").or(part.get("Item"))?))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a call may read old data.
fn is_weak(name: &str, body: &Value) -> bool {
    match name {
        "Query" => true,
        "GetItem" => body["ConsistentRead"] != true,
        "BatchGetItem" => {
            body.pointer(&format!("/RequestItems/{TABLE}/ConsistentRead")) != Some(&true.into())
        }
        _ => false,
    }
}

/// Removes some items of a batch, but not all. They are reported as not processed.
fn take_some(body: &mut Value, rng: &mut Rng) -> Option<(&'static str, Value)> {
    let table = body.pointer_mut(&format!("/RequestItems/{TABLE}"))?;
    let (name, list) = if table.is_array() {
        ("UnprocessedItems", table.as_array_mut()?)
    } else {
        ("UnprocessedKeys", table.get_mut("Keys")?.as_array_mut()?)
    };
    if list.len() < 2 {
        return None;
    }
    let left = list.split_off(rng.usize(1..list.len()));
    Some(match name {
        "UnprocessedItems" => (name, json!({TABLE: left})),
        _ => {
            let mut keys = table.clone();
            keys["Keys"] = left.into();
            (name, json!({TABLE: keys}))
        }
    })
}

/// Serves one request.
fn run(database: &Database, name: &str, body: Value) -> Result<Value, DynoxideError> {
    match name {
        "PutItem" => to_value(database.put_item(from_value(body))?),
        "GetItem" => to_value(database.get_item(from_value(body))?),
        "UpdateItem" => to_value(database.update_item(from_value(body))?),
        "Query" => to_value(database.query(from_value(body))?),
        "BatchGetItem" => to_value(database.batch_get_item(from_value(body))?),
        "BatchWriteItem" => to_value(database.batch_write_item(from_value(body))?),
        "TransactWriteItems" => to_value(database.transact_write_items(from_value(body))?),
        "CreateTable" => to_value(database.create_table(from_value(body))?),
        other => panic!("the simulation does not know DynamoDB's {other}"),
    }
}

fn from_value<T: DeserializeOwned>(body: Value) -> T {
    serde_json::from_value(body).expect("a request that the SDK made")
}

fn to_value(response: impl Serialize) -> Result<Value, DynoxideError> {
    let value = serde_json::to_value(response).expect("a response is JSON");
    Ok(match value {
        Value::Null => Value::Object(Map::new()),
        value => value,
    })
}

fn new_database() -> Database {
    let database = Database::memory().expect("a database in memory");
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let text = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
    let table = json!({
        "TableName": TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [key(KEY, "HASH")],
        "AttributeDefinitions": [text(KEY), text(INDEX_HASH_KEY), text(INDEX_RANGE_KEY)],
        "GlobalSecondaryIndexes": [{
            "IndexName": INDEX_NAME,
            "KeySchema": [key(INDEX_HASH_KEY, "HASH"), key(INDEX_RANGE_KEY, "RANGE")],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": INDEX_ATTRIBUTES},
        }],
    });
    run(&database, "CreateTable", table).expect("the table is made");
    database
}
