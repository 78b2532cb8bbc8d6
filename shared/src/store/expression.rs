//! One guarded UpdateItem, written as its expression and its condition.

use super::item::Item;
use super::{KEY, StoreError};
use crate::task::{Event, TaskStatus};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure as OnFailure,
};
use std::collections::HashMap;

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
#[derive(Default)]
pub(super) struct GuardedUpdate {
    sets: Vec<String>,
    removes: Vec<&'static str>,
    conditions: Vec<String>,
    values: HashMap<String, AttributeValue>,
}

impl GuardedUpdate {
    /// Sets attribute `name` to `value`.
    pub(super) fn set(mut self, name: &'static str, value: AttributeValue) -> Self {
        self.sets.push(format!("#{name} = :{name}"));
        self.values.insert(format!(":{name}"), value);
        self
    }

    /// Sets attribute `name` to `value`, or removes it where there is none.
    pub(super) fn set_or_remove(self, name: &'static str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self.remove(name),
        }
    }

    /// Sets attribute `name` to what `expression` computes.
    pub(super) fn compute(mut self, name: &'static str, expression: &str) -> Self {
        self.sets.push(format!("#{name} = {expression}"));
        self
    }

    /// Removes attribute `name`.
    pub(super) fn remove(mut self, name: &'static str) -> Self {
        self.removes.push(name);
        self
    }

    /// Adds a condition that must hold too.
    pub(super) fn when(mut self, condition: &str) -> Self {
        self.conditions.push(format!("({condition})"));
        self
    }

    /// Gives `:name` in a condition or computation its value.
    pub(super) fn value(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(format!(":{name}"), value);
        self
    }

    /// Adds the condition that the task's status is one that `event` moves.
    pub(super) fn when_moved_by(mut self, event: Event) -> Self {
        let names: Vec<String> = TaskStatus::moved_by(event)
            .map(|status| {
                let name = format!(":is_{status}");
                self.values.insert(name.clone(), s(status.as_str()));
                name
            })
            .collect();
        self.when(&format!("#status IN ({})", names.join(", ")))
    }

    /// Sends the update. `return_item`: answer the whole item as it is afterwards.
    pub(super) async fn send(
        self,
        client: &Client,
        table: &str,
        key: AttributeValue,
        return_item: bool,
    ) -> Result<Written, StoreError> {
        let mut update = format!("SET {}", self.sets.join(", "));
        if !self.removes.is_empty() {
            let removes: Vec<_> = self.removes.iter().map(|name| format!("#{name}")).collect();
            update.push_str(" REMOVE ");
            update.push_str(&removes.join(", "));
        }
        let condition = self.conditions.join(" AND ");
        let names = names_in(&update).chain(names_in(&condition)).collect();
        let result = client
            .update_item()
            .table_name(table)
            .key(KEY, key)
            .update_expression(&update)
            .condition_expression(&condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(self.values))
            .return_values(match return_item {
                true => ReturnValue::AllNew,
                false => ReturnValue::None,
            })
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .send()
            .await;
        match result {
            Ok(answer) => Ok(Written::Applied(answer.attributes)),
            Err(error) => match error.as_service_error() {
                Some(service) if service.is_conditional_check_failed_exception() => {
                    Ok(Written::Refused(match error.into_service_error() {
                        UpdateItemError::ConditionalCheckFailedException(refused) => refused.item,
                        _ => None,
                    }))
                }
                _ => Err(error.into()),
            },
        }
    }
}

/// Every `#name` in an expression, with the attribute it stands for.
fn names_in(expression: &str) -> impl Iterator<Item = (String, String)> {
    expression.split('#').skip(1).map(|rest| {
        let name: String = rest
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        (format!("#{name}"), name)
    })
}
