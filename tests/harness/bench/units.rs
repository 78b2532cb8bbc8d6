//! DynamoDB's request units by its published rules ("DynamoDB read and write operations" and
//! "DynamoDB item sizes and formats", Amazon DynamoDB Developer Guide).

use serde_json::{Map, Value};

/// Bytes in a write unit, and in a read unit.
const WRITE_UNIT: usize = 1024;
const READ_UNIT: usize = 4096;
/// The cost of an eventually consistent read, relative to a strongly consistent one.
const EVENTUAL: f64 = 0.5;
/// The cost of an operation in a transaction, relative to the same operation outside.
const TRANSACTIONAL: f64 = 2.0;

/// Whether a call reads. All others write.
pub fn reads(call: &str) -> bool {
    let operation = call.rsplit('.').next().unwrap_or_default();
    ["GetItem", "BatchGetItem", "Query", "Scan"].contains(&operation)
}

/// The units that a response reports: the total, and the index's part.
pub fn reported(response: &Value) -> (f64, f64) {
    let capacity = &response["ConsumedCapacity"];
    let one = std::slice::from_ref(capacity);
    let tables = capacity.as_array().map_or(one, Vec::as_slice);
    let mut sum = (0.0, 0.0);
    for table in tables {
        sum.0 += table["CapacityUnits"].as_f64().unwrap_or_default();
        let indexes = table["GlobalSecondaryIndexes"].as_object();
        let units = indexes.into_iter().flatten();
        sum.1 += units
            .filter_map(|(_, index)| index["CapacityUnits"].as_f64())
            .sum::<f64>();
    }
    sum
}

/// The units of a call without the index's writes, if request and response say enough to calculate
/// them. They do not for updates, because neither holds the whole item.
pub fn expected(call: &str, request: &Value, response: &Value) -> Option<f64> {
    match call {
        // There was no item before.
        "DynamoDB.PutItem" => Some(write_units(size_of(request.get("Item")))),
        "DynamoDB.BatchWriteItem" => {
            let tables = request["RequestItems"].as_object()?.values();
            let puts = tables.flat_map(|puts| puts.as_array().into_iter().flatten());
            Some(
                puts.map(|put| write_units(size_of(put["PutRequest"].get("Item"))))
                    .sum(),
            )
        }
        "DynamoDB.GetItem" => {
            let units = read_units(size_of(response.get("Item")));
            Some(units * consistency(request))
        }
        "DynamoDB.BatchGetItem" => {
            let mut units = 0.0;
            for (table, asked) in request["RequestItems"].as_object()? {
                let found = response["Responses"][table].as_array()?;
                // A key without an item costs the minimum.
                let missing = asked["Keys"].as_array()?.len() - found.len();
                let found = found.iter().map(|item| read_units(size_of(Some(item))));
                let sum = found.sum::<f64>() + missing as f64;
                units += sum * consistency(asked);
            }
            Some(units)
        }
        // The sizes of the rows are added up before rounding.
        "DynamoDB.Query" if request.get("FilterExpression").is_none() => {
            let rows = response["Items"].as_array()?.iter();
            let bytes = rows.map(|row| size_of(Some(row))).sum();
            Some(read_units(bytes) * consistency(request))
        }
        _ => None,
    }
}

/// The cost of a write whose condition failed: the same as of a successful write, by the size of
/// the existing item. An error reports no units.
pub fn of_refusal(request: &Value, response: &Value) -> f64 {
    let kind = response["__type"].as_str().unwrap_or_default();
    if kind.ends_with("ConditionalCheckFailedException") {
        return write_units(size_of(response.get("Item")));
    }
    if !kind.ends_with("TransactionCanceledException") {
        return 0.0;
    }
    let parts = request["TransactItems"].as_array().map_or(0, Vec::len);
    let reasons = &response["CancellationReasons"];
    let units = (0..parts).map(|part| write_units(size_of(reasons[part].get("Item"))));
    units.sum::<f64>() * TRANSACTIONAL
}

/// The units of writing an item of this many bytes.
///
/// For an update, pass the larger of the sizes before and after.
pub fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(WRITE_UNIT).max(1) as f64
}

/// The units of a strongly consistent read of this many bytes.
pub fn read_units(bytes: usize) -> f64 {
    bytes.div_ceil(READ_UNIT).max(1) as f64
}

fn consistency(request: &Value) -> f64 {
    match request["ConsistentRead"].as_bool() {
        Some(true) => 1.0,
        _ => EVENTUAL,
    }
}

/// An item's size: the bytes of its attributes' names and values.
pub fn size_of(item: Option<&Value>) -> usize {
    let attributes = item.and_then(Value::as_object);
    attributes.map_or(0, size_of_attributes)
}

fn size_of_attributes(attributes: &Map<String, Value>) -> usize {
    let sizes = attributes
        .iter()
        .map(|(name, value)| name.len() + size_of_value(value));
    sizes.sum()
}

fn size_of_value(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else {
        return 0;
    };
    let text = value.as_str().unwrap_or_default();
    match kind.as_str() {
        "S" => text.len(),
        // One byte for two significant digits, and one more byte.
        "N" => {
            let digits = text.trim_start_matches(['-', '0']).trim_end_matches('0');
            digits.len().div_ceil(2) + 1
        }
        "B" => text.trim_end_matches('=').len() * 3 / 4,
        // Three bytes, and one for each element.
        "L" => {
            let elements = value.as_array().into_iter().flatten();
            3 + elements
                .map(|element| 1 + size_of_value(element))
                .sum::<usize>()
        }
        "M" => {
            let entries = value.as_object();
            3 + entries.map_or(0, |entries| entries.len() + size_of_attributes(entries))
        }
        _ => 1,
    }
}
