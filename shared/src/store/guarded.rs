//! Guarded writes: an update of one item, or of several in one transaction, under the conditions
//! that it assumes.
//!
//! In expressions `#name` is an attribute, `:name` is a value that an update sets, and `:if_name`
//! is a value that a condition compares with.

use super::attribute::{self as attr, Item, n, s};
use super::{StoreError, Written, not_built};
use crate::aws::CALL_TIMEOUT;
use crate::clock::back_off;
use crate::task::{Event, TaskStatus};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ReturnValue,
    ReturnValuesOnConditionCheckFailure as OnFailure, TransactWriteItem, Update,
};
use futures_util::FutureExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The bounds of the pause before a contended write is sent again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// What must hold for an item so that a write is made. The default always holds.
#[derive(Clone, Default)]
pub(super) struct Condition {
    /// All of these must hold.
    clauses: Vec<String>,
    names: Names,
    values: Vec<(String, AttributeValue)>,
}

/// `#name = value`.
pub(super) fn equals(name: &'static str, value: AttributeValue) -> Condition {
    compare(name, "=", value)
}

/// `#name <> value`.
pub(super) fn differs(name: &'static str, value: AttributeValue) -> Condition {
    compare(name, "<>", value)
}

/// `#name <= value`.
pub(super) fn at_most(name: &'static str, value: AttributeValue) -> Condition {
    compare(name, "<=", value)
}

/// `#name > value`.
pub(super) fn more_than(name: &'static str, value: AttributeValue) -> Condition {
    compare(name, ">", value)
}

fn compare(name: &'static str, operator: &str, value: AttributeValue) -> Condition {
    let clause = ["#", name, " ", operator, " :if_", name].concat();
    Condition {
        values: vec![(["if_", name].concat(), value)],
        ..Condition::of(name, clause)
    }
}

/// The item has an attribute `name`.
pub(super) fn exists(name: &'static str) -> Condition {
    Condition::of(name, ["attribute_exists(#", name, ")"].concat())
}

/// The item has no attribute `name`, or there is no item.
pub(super) fn absent(name: &'static str) -> Condition {
    Condition::of(name, ["attribute_not_exists(#", name, ")"].concat())
}

/// The task's status is one that `event` moves.
pub(super) fn status_moved_by(event: Event) -> Condition {
    let statuses: Vec<_> = TaskStatus::moved_by(event)
        .map(TaskStatus::as_str)
        .collect();
    let placeholders: Vec<_> = statuses
        .iter()
        .map(|status| [":is_", status].concat())
        .collect();
    let clause = ["#status IN (", &placeholders.join(", "), ")"].concat();
    let values = statuses.into_iter();
    Condition {
        values: values
            .map(|status| (["is_", status].concat(), s(status)))
            .collect(),
        ..Condition::of(attr::STATUS, clause)
    }
}

/// The task is the one that was read, in the same attempt.
pub(super) fn same_attempt(nonce: &str, attempt: u32) -> Condition {
    equals(attr::NONCE, s(nonce)).and(equals(attr::ATTEMPT, n(attempt)))
}

impl Condition {
    fn of(name: &'static str, clause: String) -> Self {
        Self {
            clauses: vec![clause],
            names: Names(vec![name]),
            values: Vec::new(),
        }
    }

    /// Requires both conditions.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.clauses.extend(other.clauses);
        self.names.add_all(other.names);
        self.values.extend(other.values);
        self
    }

    /// Requires at least one of two conditions. Each must have one clause.
    pub(super) fn or(self, other: Self) -> Self {
        let mut either = self.and(other);
        either.clauses = vec![either.clauses.join(" OR ")];
        either
    }

    /// Returns the condition alone, for a write that is not an update.
    pub(super) fn into_expressions(self) -> Expressions {
        GuardedUpdate::when(self).into_expressions()
    }

    fn into_text(self) -> String {
        let mut text = String::with_capacity(256);
        for clause in self.clauses {
            let opening = if text.is_empty() { "(" } else { " AND (" };
            for part in [opening, &clause, ")"] {
                text.push_str(part);
            }
        }
        text
    }
}

/// A conditional update of one item.
#[derive(Clone, Default)]
pub(super) struct GuardedUpdate {
    sets: Clauses,
    removes: Clauses,
    condition: Condition,
    names: Names,
    values: Vec<(&'static str, AttributeValue)>,
}

/// Parts of an expression, joined in one text.
#[derive(Clone, Default)]
struct Clauses(String);

impl Clauses {
    fn add(&mut self, parts: &[&str]) {
        if self.0.is_empty() {
            self.0.reserve(512); // enough for most expressions
        } else {
            self.0.push_str(", ");
        }
        for part in parts {
            self.0.push_str(part);
        }
    }
}

/// The attributes that an expression names, each once.
///
/// There are few, so comparing with each is faster than a hash.
#[derive(Clone, Default)]
struct Names(Vec<&'static str>);

impl Names {
    fn add(&mut self, name: &'static str) {
        if !self.0.contains(&name) {
            self.0.push(name);
        }
    }

    fn add_all(&mut self, names: Self) {
        for name in names.0 {
            self.add(name);
        }
    }
}

impl GuardedUpdate {
    /// Creates an update that is made if `condition` holds.
    pub(super) fn when(condition: Condition) -> Self {
        Self {
            condition,
            ..Self::default()
        }
    }

    /// Adds a condition that must also hold.
    pub(super) fn and_when(mut self, condition: Condition) -> Self {
        self.condition = self.condition.and(condition);
        self
    }

    /// Sets attribute `name` to `value`.
    pub(super) fn set(mut self, name: &'static str, value: AttributeValue) -> Self {
        self.sets.add(&["#", name, " = :", name]);
        self.names.add(name);
        self.value(name, value)
    }

    /// Sets attribute `name` to `value`, or removes it if there is no value.
    pub(super) fn set_or_remove(self, name: &'static str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self.remove(name),
        }
    }

    /// Sets attribute `name` to `value`, if there is a value and the attribute has none yet.
    pub(super) fn set_if_absent(
        mut self,
        name: &'static str,
        value: Option<AttributeValue>,
    ) -> Self {
        let Some(value) = value else {
            return self;
        };
        let set = ["#", name, " = if_not_exists(#", name, ", :", name, ")"];
        self.sets.add(&set);
        self.names.add(name);
        self.value(name, value)
    }

    /// Sets attribute `to` to the sum of attribute `from` and `more`.
    pub(super) fn set_sum(
        self,
        to: &'static str,
        from: &'static str,
        more: AttributeValue,
    ) -> Self {
        self.compute(to, from, " + ", more)
    }

    /// Subtracts `less` from attribute `name`.
    pub(super) fn subtract(self, name: &'static str, less: AttributeValue) -> Self {
        self.compute(name, name, " - ", less)
    }

    fn compute(
        mut self,
        to: &'static str,
        from: &'static str,
        operator: &str,
        operand: AttributeValue,
    ) -> Self {
        self.sets.add(&["#", to, " = #", from, operator, ":", to]);
        self.names.add(to);
        self.names.add(from);
        self.value(to, operand)
    }

    /// Sets attribute `to` to the sum of the attributes in `from`.
    pub(super) fn copy(mut self, to: &'static str, from: &[&'static str]) -> Self {
        let sum: Vec<_> = from.iter().map(|name| ["#", name].concat()).collect();
        self.sets.add(&["#", to, " = ", &sum.join(" + ")]);
        self.names.add(to);
        for name in from {
            self.names.add(name);
        }
        self
    }

    /// Removes attribute `name`.
    pub(super) fn remove(mut self, name: &'static str) -> Self {
        self.removes.add(&["#", name]);
        self.names.add(name);
        self
    }

    fn value(mut self, name: &'static str, value: AttributeValue) -> Self {
        if self.values.is_empty() {
            self.values.reserve(16); // enough for most updates
        }
        self.values.push((name, value));
        self
    }

    /// Joins two updates of one item: if both conditions hold, both are made.
    ///
    /// They must write different attributes.
    pub(super) fn and(mut self, other: Self) -> Self {
        if !other.sets.0.is_empty() {
            self.sets.add(&[&other.sets.0]);
        }
        if !other.removes.0.is_empty() {
            self.removes.add(&[&other.removes.0]);
        }
        self.condition = self.condition.and(other.condition);
        self.names.add_all(other.names);
        self.values.extend(other.values);
        self
    }

    /// Returns the update expression, the condition, and the names and values that they use.
    fn into_expressions(self) -> Expressions {
        let mut update = ["SET ", &self.sets.0].concat();
        if !self.removes.0.is_empty() {
            update.push_str(" REMOVE ");
            update.push_str(&self.removes.0);
        }
        let mut condition = self.condition;
        let mut names = self.names;
        names.add_all(std::mem::take(&mut condition.names));
        let names = names.0.into_iter();
        let compared = std::mem::take(&mut condition.values);
        let mut values = HashMap::with_capacity(self.values.len() + compared.len());
        let set = self.values.into_iter();
        let set = set.map(|(name, value)| ([":", name].concat(), value));
        let compared = compared.into_iter();
        let compared = compared.map(|(name, value)| ([":", &name].concat(), value));
        for (name, value) in set.chain(compared) {
            let before = values.insert(name, value);
            debug_assert!(before.is_none(), "two values of one name: {before:?}");
        }
        Expressions {
            update,
            condition: condition.into_text(),
            names: names
                .map(|name| (["#", name].concat(), name.to_owned()))
                .collect(),
            values,
        }
    }

    /// Makes the update and returns the whole item: as it is afterwards or, if the condition did
    /// not hold, as it was found.
    pub(super) async fn send_and_return(
        self,
        client: &Client,
        table: &str,
        key: AttributeValue,
    ) -> Result<Written<Option<Item>, Option<Item>>, StoreError> {
        self.update(client, table, key, ReturnValue::AllNew).await
    }

    /// Makes the update. If its condition did not hold, returns the item that was found.
    pub(super) async fn send(
        self,
        client: &Client,
        table: &str,
        key: AttributeValue,
    ) -> Result<Written<(), Option<Item>>, StoreError> {
        Ok(
            match self.update(client, table, key, ReturnValue::None).await? {
                Written::Applied(_) => Written::Applied(()),
                Written::NotApplied(found) => Written::NotApplied(found),
            },
        )
    }

    async fn update(
        self,
        client: &Client,
        table: &str,
        key: AttributeValue,
        returned: ReturnValue,
    ) -> Result<Written<Option<Item>, Option<Item>>, StoreError> {
        let mut contention = Contention::default();
        loop {
            let with = self.clone().into_expressions();
            let request = client
                .update_item()
                .table_name(table)
                .key(attr::KEY, key.clone())
                .update_expression(with.update)
                .condition_expression(with.condition)
                .set_expression_attribute_names(Some(with.names))
                .set_expression_attribute_values(Some(with.values))
                .return_values(returned.clone())
                .return_values_on_condition_check_failure(OnFailure::AllOld);
            let error = match request.send().boxed().await {
                Ok(response) => return Ok(Written::Applied(response.attributes)),
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    return Ok(Written::NotApplied(failed.item.clone()));
                }
                Some(UpdateItemError::TransactionConflictException(_))
                    if contention.allows_another().await => {}
                _ => return Err(error.into()),
            }
        }
    }

    fn into_transaction_part(
        self,
        table: &str,
        key: AttributeValue,
    ) -> Result<TransactWriteItem, BuildError> {
        let with = self.into_expressions();
        let update = Update::builder()
            .table_name(table)
            .key(attr::KEY, key)
            .update_expression(with.update)
            .condition_expression(with.condition)
            .set_expression_attribute_names(Some(with.names))
            .set_expression_attribute_values(Some(with.values))
            .return_values_on_condition_check_failure(OnFailure::AllOld);
        Ok(TransactWriteItem::builder().update(update.build()?).build())
    }
}

/// The expressions of a write request.
pub(super) struct Expressions {
    update: String,
    pub(super) condition: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
}

/// The result of a transaction.
pub(super) enum Transacted {
    /// All of it was written.
    Applied,
    /// Nothing was written, because conditions failed.
    NotApplied(Parts),
    /// Nothing was written, because another transaction or write on one of its items was in flight,
    /// or DynamoDB throttled.
    ///
    /// The same transaction may succeed after a pause.
    Contended,
}

/// The results of the parts of a transaction that was not applied.
pub(super) struct Parts {
    pub(super) task: Part,
    /// In the order in which they were given.
    pub(super) chunks: Vec<Part>,
}

/// A part of a transaction that was not applied.
pub(super) enum Part {
    /// Its condition held, or was not evaluated.
    Held,
    /// Its condition did not hold. Holds the item that was found.
    Failed(Option<Item>),
}

/// Updates a task and some of its chunks in one transaction. Makes one try.
pub(super) async fn transact(
    client: &Client,
    table: &str,
    task: (AttributeValue, GuardedUpdate),
    chunks: Vec<(AttributeValue, GuardedUpdate)>,
) -> Result<Transacted, StoreError> {
    let parts = std::iter::once(task)
        .chain(chunks)
        .map(|(key, part)| part.into_transaction_part(table, key))
        .collect::<Result<Vec<_>, _>>()
        .map_err(not_built)?;
    let request = client
        .transact_write_items()
        .set_transact_items(Some(parts));
    let error = match request.send().boxed().await {
        Ok(_) => return Ok(Transacted::Applied),
        Err(error) => error,
    };
    let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) =
        error.as_service_error()
    else {
        return Err(error.into());
    };
    let reasons = canceled.cancellation_reasons();
    if reasons.iter().any(is_condition_failed) {
        let mut parts = reasons.iter().map(|why| {
            if is_condition_failed(why) {
                Part::Failed(why.item.clone())
            } else {
                Part::Held
            }
        });
        return Ok(Transacted::NotApplied(Parts {
            task: parts.next().unwrap_or(Part::Held),
            chunks: parts.collect(),
        }));
    }
    let mut codes = reasons.iter().filter_map(|why| why.code());
    let code = codes.find(|code| *code != "None").unwrap_or_default();
    match code {
        "ValidationError" | "ItemCollectionSizeLimitExceeded" => Err(StoreError::Rejected {
            code: code.to_owned(),
            source: Arc::new(error),
        }),
        // `TransactionConflict`, `ThrottlingError`, `ProvisionedThroughputExceeded`
        // ("TransactWriteItems", Amazon DynamoDB API Reference).
        _ => Ok(Transacted::Contended),
    }
}

/// Returns whether a transaction was canceled because this part's condition did not hold.
fn is_condition_failed(why: &CancellationReason) -> bool {
    why.code() == Some("ConditionalCheckFailed")
}

/// The sends of one write that conflicted with others on its item, or were throttled.
///
/// DynamoDB refuses such a send at once, and the SDK does not repeat it by itself.
pub(super) struct Contention {
    began: Instant,
    sent: u32,
}

impl Default for Contention {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            sent: 0,
        }
    }
}

impl Contention {
    /// Returns whether a write that is not a transaction may be sent once more.
    ///
    /// If so, waits before it.
    pub(super) async fn allows_another(&mut self) -> bool {
        let in_time = self.began.elapsed() < CALL_TIMEOUT;
        if in_time {
            self.pause().await;
        }
        in_time
    }

    /// Waits before the next send.
    pub(super) async fn pause(&mut self) {
        self.sent += 1;
        tokio::time::sleep(back_off(FIRST_PAUSE, LONGEST_PAUSE, self.sent)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_contended_write_is_sent_again_after_pauses_that_grow_until_its_time_is_over() {
        fastrand::seed(1);
        let mut contention = Contention::default();
        let began = Instant::now();
        let mut pauses = Vec::new();
        let mut last = began;
        while contention.allows_another().await {
            pauses.push(last.elapsed());
            last = Instant::now();
        }
        assert!(began.elapsed() >= CALL_TIMEOUT);
        assert!(began.elapsed() < CALL_TIMEOUT + LONGEST_PAUSE);
        assert!(pauses[0] <= FIRST_PAUSE, "{pauses:?}");
        assert!(
            pauses
                .iter()
                .any(|pause| *pause > LONGEST_PAUSE.mul_f64(0.9))
        );
    }
}
