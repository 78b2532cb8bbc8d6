//! Guarded writes, written as their expressions and conditions: one UpdateItem, or several in one transaction.

use super::item::Item;
use super::{KEY, StoreError};
use crate::task::{Event, TaskStatus};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, ReturnValue, ReturnValuesOnConditionCheckFailure as OnFailure,
    TransactWriteItem, Update,
};
use futures_util::FutureExt;
use std::collections::HashMap;
use std::time::Duration;

pub(super) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(super) fn b(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// What a guarded write came to.
pub(super) enum Written {
    /// The condition held. The item as it is now, where it was asked for.
    Applied(Option<Item>),
    /// The condition did not hold. The item that is there, if any.
    Refused(Option<Item>),
}

/// A conditional UpdateItem. Attributes stand in expressions as `#name`, values as `:name`.
#[derive(Clone, Default)]
pub(super) struct GuardedUpdate {
    sets: Clauses,
    removes: Clauses,
    conditions: Clauses,
    names: Names,
    values: Vec<(&'static str, AttributeValue)>,
}

/// Parts of an expression in one text.
#[derive(Clone, Default)]
struct Clauses(String);

impl Clauses {
    fn add(&mut self, separator: &str, parts: &[&str]) {
        if self.0.is_empty() {
            self.0.reserve(512); // once, for as many as there mostly are
        } else {
            self.0.push_str(separator);
        }
        for part in parts {
            self.0.push_str(part);
        }
    }
}

/// The attributes that an update speaks of, each once. There are few, so a look through all is quicker than a hash.
#[derive(Clone, Default)]
struct Names(Vec<&'static str>);

impl Names {
    fn add(&mut self, name: &'static str) {
        if !self.0.contains(&name) {
            self.0.push(name);
        }
    }

    /// Adds every `#name` in an expression.
    fn add_all(&mut self, expression: &'static str) {
        for after in expression.split('#').skip(1) {
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let rest = after.trim_start_matches(is_of_name);
            self.add(after.strip_suffix(rest).unwrap_or(after));
        }
    }
}

impl GuardedUpdate {
    /// Sets attribute `name` to `value`.
    pub(super) fn set(mut self, name: &'static str, value: AttributeValue) -> Self {
        self.names.add(name);
        self.sets.add(", ", &["#", name, " = :", name]);
        self.value(name, value)
    }

    /// Sets attribute `name` to `value`, or removes it where there is none.
    pub(super) fn set_or_remove(self, name: &'static str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self.remove(name),
        }
    }

    /// Sets attribute `name` to `value`, if there is one, unless it has a value already.
    pub(super) fn set_if_absent(
        mut self,
        name: &'static str,
        value: Option<AttributeValue>,
    ) -> Self {
        let Some(value) = value else {
            return self;
        };
        self.names.add(name);
        let set = ["#", name, " = if_not_exists(#", name, ", :", name, ")"];
        self.sets.add(", ", &set);
        self.value(name, value)
    }

    /// Sets attribute `name` to what `expression` computes.
    pub(super) fn compute(mut self, name: &'static str, expression: &'static str) -> Self {
        self.names.add(name);
        self.names.add_all(expression);
        self.sets.add(", ", &["#", name, " = ", expression]);
        self
    }

    /// Removes attribute `name`.
    pub(super) fn remove(mut self, name: &'static str) -> Self {
        self.names.add(name);
        self.removes.add(", ", &["#", name]);
        self
    }

    /// Adds a condition that must hold too.
    pub(super) fn when(mut self, condition: &'static str) -> Self {
        self.names.add_all(condition);
        self.conditions.add(" AND ", &["(", condition, ")"]);
        self
    }

    /// Gives `:name` in a condition or computation its value.
    pub(super) fn value(mut self, name: &'static str, value: AttributeValue) -> Self {
        if self.values.is_empty() {
            self.values.reserve(16); // once, for as many as there mostly are
        }
        self.values.push((name, value));
        self
    }

    /// Adds the condition that the task's status is one that `event` moves.
    pub(super) fn when_moved_by(mut self, event: Event) -> Self {
        let mut names = Clauses::default();
        for status in TaskStatus::moved_by(event) {
            let name = match status {
                TaskStatus::Pending => "is_pending",
                TaskStatus::Processing => "is_processing",
                TaskStatus::Done => "is_done",
                TaskStatus::Failed => "is_failed",
                TaskStatus::Canceled => "is_canceled",
            };
            names.add(", ", &[":", name]);
            self.values.push((name, s(status.as_str())));
        }
        let names = names.0.as_str();
        self.names.add("status");
        self.conditions
            .add(" AND ", &["(#status IN (", names, "))"]);
        self
    }

    /// Both in one: what `self` and `other` write, if what both assume holds. They write different attributes.
    pub(super) fn and(mut self, other: Self) -> Self {
        let parts = [
            (&mut self.sets, other.sets, ", "),
            (&mut self.removes, other.removes, ", "),
            (&mut self.conditions, other.conditions, " AND "),
        ];
        for (ours, theirs, separator) in parts {
            if !theirs.0.is_empty() {
                ours.add(separator, &[&theirs.0]);
            }
        }
        for name in other.names.0 {
            self.names.add(name);
        }
        self.values.extend(other.values);
        self
    }

    /// The update expression, the condition, and what stands for names and values in them.
    fn into_expressions(self) -> Expressions {
        let mut update = Clauses::default();
        update.add("", &["SET ", &self.sets.0]);
        if !self.removes.0.is_empty() {
            update.add("", &[" REMOVE ", &self.removes.0]);
        }
        let names = self.names.0.into_iter();
        let values = self.values.into_iter();
        Expressions {
            update: update.0,
            condition: self.conditions.0,
            names: names
                .map(|name| (["#", name].concat(), name.to_owned()))
                .collect(),
            values: values
                .map(|(name, value)| ([":", name].concat(), value))
                .collect(),
        }
    }

    /// Sends the update. `return_item`: answer the whole item as it is afterwards.
    pub(super) async fn send(
        self,
        client: &Client,
        table: &str,
        key: AttributeValue,
        return_item: bool,
    ) -> Result<Written, StoreError> {
        let mut sent = 1;
        loop {
            let with = self.clone().into_expressions();
            let request = client
                .update_item()
                .table_name(table)
                .key(KEY, key.clone())
                .update_expression(with.update)
                .condition_expression(with.condition)
                .set_expression_attribute_names(Some(with.names))
                .set_expression_attribute_values(Some(with.values))
                .return_values(match return_item {
                    true => ReturnValue::AllNew,
                    false => ReturnValue::None,
                })
                .return_values_on_condition_check_failure(OnFailure::AllOld);
            let error = match request.send().boxed().await {
                Ok(answer) => return Ok(Written::Applied(answer.attributes)),
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    return Ok(Written::Refused(refused.item.clone()));
                }
                // A transaction on the same item was under way.
                Some(UpdateItemError::TransactionConflictException(_)) if sent < MAX_SENDS => {}
                _ => return Err(error.into()),
            }
            pause_after_conflict(sent).await;
            sent += 1;
        }
    }
}

/// What a request says of an update.
struct Expressions {
    update: String,
    condition: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

/// What a transaction came to.
pub(super) enum Transacted {
    /// All conditions held.
    Applied,
    /// A condition did not hold, and nothing was written. What became of each part's condition, in order.
    Refused(Vec<Condition>),
}

/// What became of a part's condition in a transaction that was refused.
pub(super) enum Condition {
    /// It held.
    Held,
    /// It did not hold. The item that is there, if any.
    Failed(Option<Item>),
}

/// Writes several items together, or none of them. A part without a write is a condition on its item.
pub(super) async fn transact(
    client: &Client,
    table: &str,
    parts: Vec<(AttributeValue, GuardedUpdate)>,
) -> Result<Transacted, StoreError> {
    let parts = parts
        .into_iter()
        .map(|(key, part)| part.into_part(table, key))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| StoreError::Refused {
            code: "not built".to_owned(),
            source: error.into(),
        })?;
    let request = client
        .transact_write_items()
        .set_transact_items(Some(parts));
    let mut sent = 1;
    loop {
        let error = match request.clone().send().boxed().await {
            Ok(_) => return Ok(Transacted::Applied),
            Err(error) => error,
        };
        let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) =
            error.as_service_error()
        else {
            return Err(error.into());
        };
        let reasons = canceled.cancellation_reasons();
        if reasons.iter().any(|why| why.code() == Some(REFUSED)) {
            let conditions = reasons.iter().map(|why| match why.code() {
                Some(REFUSED) => Condition::Failed(why.item.clone()),
                _ => Condition::Held,
            });
            return Ok(Transacted::Refused(conditions.collect()));
        }
        let mut why = reasons.iter().filter_map(|why| why.code());
        let why = why
            .find(|code| *code != "None")
            .unwrap_or_default()
            .to_owned();
        // Another transaction on one of the items was under way.
        if why != "TransactionConflict" || sent == MAX_SENDS {
            let source = error.into();
            return Err(match why.as_str() {
                "ValidationError" | "ItemCollectionSizeLimitExceeded" => {
                    StoreError::Refused { code: why, source }
                }
                _ => StoreError::Unavailable { code: why, source },
            });
        }
        pause_after_conflict(sent).await;
        sent += 1;
    }
}

/// The reason of a canceled transaction whose condition did not hold.
const REFUSED: &str = "ConditionalCheckFailed";
/// How often a write is sent that meets a transaction under way on its item. DynamoDB answers at once in that case, and
/// the SDK does not try again by itself.
const MAX_SENDS: u32 = 8;

/// Waits with full jitter, up to 20 ms at first and twice as long after each further conflict.
async fn pause_after_conflict(sent: u32) {
    let most = Duration::from_millis(10 << sent.min(6));
    tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
}

impl GuardedUpdate {
    fn into_part(self, table: &str, key: AttributeValue) -> Result<TransactWriteItem, BuildError> {
        let is_check = self.sets.0.is_empty();
        let with = self.into_expressions();
        let part = TransactWriteItem::builder();
        if is_check {
            let check = ConditionCheck::builder()
                .table_name(table)
                .key(KEY, key)
                .set_expression_attribute_names(Some(with.names))
                .condition_expression(with.condition)
                .set_expression_attribute_values(Some(with.values))
                .return_values_on_condition_check_failure(OnFailure::AllOld);
            return Ok(part.condition_check(check.build()?).build());
        }
        let update = Update::builder()
            .table_name(table)
            .key(KEY, key)
            .update_expression(with.update)
            .condition_expression(with.condition)
            .set_expression_attribute_names(Some(with.names))
            .set_expression_attribute_values(Some(with.values))
            .return_values_on_condition_check_failure(OnFailure::AllOld);
        Ok(part.update(update.build()?).build())
    }
}
