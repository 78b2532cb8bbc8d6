//! The baseline: a client that makes the calls of a handler and does nothing else.
//!
//! It puts the recorded parameters (`recorded.rs`) into the same builders, one by one as any caller
//! does, sends the requests, and drops the responses.

use aws_sdk_dynamodb::operation::get_item::GetItemInput;
use aws_sdk_dynamodb::operation::put_item::PutItemInput;
use aws_sdk_dynamodb::operation::query::QueryInput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemInput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3vectors::operation::delete_vectors::DeleteVectorsInput;
use aws_sdk_s3vectors::operation::get_vectors::GetVectorsInput;
use aws_sdk_sqs::operation::send_message::SendMessageInput;
use futures_util::future::join_all;
use local::Clients;
use std::collections::HashMap;

/// One call, with all its parameters.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Put(PutItemInput),
    Get(GetItemInput),
    Update(UpdateItemInput),
    Query(QueryInput),
    Send(SendMessageInput),
    GetVectors(GetVectorsInput),
    DeleteVectors(DeleteVectorsInput),
}

/// The calls of one request: steps one after another, and within a step the calls that are made
/// concurrently.
pub(crate) type Steps = Vec<Vec<Call>>;

/// Makes the calls. Returns how many succeeded.
pub(crate) async fn make(sdk: &Clients, steps: &Steps) -> usize {
    let mut succeeded = 0;
    for step in steps {
        succeeded += match step.as_slice() {
            [call] => usize::from(call.make(sdk).await),
            calls => {
                let made = join_all(calls.iter().map(|call| call.make(sdk))).await;
                made.into_iter().map(usize::from).sum()
            }
        };
    }
    succeeded
}

impl Call {
    /// Makes the call. Returns whether it succeeded.
    async fn make(&self, sdk: &Clients) -> bool {
        match self {
            Self::Put(input) => {
                let mut put = sdk
                    .dynamodb
                    .put_item()
                    .set_table_name(input.table_name.clone())
                    .set_condition_expression(input.condition_expression.clone())
                    .set_return_values_on_condition_check_failure(
                        input.return_values_on_condition_check_failure.clone(),
                    );
                for (name, value) in input.item.iter().flatten() {
                    put = put.item(name, value.clone());
                }
                for (name, value) in input.expression_attribute_names.iter().flatten() {
                    put = put.expression_attribute_names(name, value);
                }
                for (name, value) in input.expression_attribute_values.iter().flatten() {
                    put = put.expression_attribute_values(name, value.clone());
                }
                put.send().await.is_ok()
            }
            Self::Get(input) => {
                let mut get = sdk
                    .dynamodb
                    .get_item()
                    .set_table_name(input.table_name.clone())
                    .set_consistent_read(input.consistent_read);
                for (name, value) in input.key.iter().flatten() {
                    get = get.key(name, value.clone());
                }
                get.send().await.is_ok()
            }
            Self::Update(input) => {
                let mut update = sdk
                    .dynamodb
                    .update_item()
                    .set_table_name(input.table_name.clone())
                    .set_update_expression(input.update_expression.clone())
                    .set_condition_expression(input.condition_expression.clone())
                    .set_return_values(input.return_values.clone())
                    .set_return_values_on_condition_check_failure(
                        input.return_values_on_condition_check_failure.clone(),
                    );
                for (name, value) in input.key.iter().flatten() {
                    update = update.key(name, value.clone());
                }
                for (name, value) in input.expression_attribute_names.iter().flatten() {
                    update = update.expression_attribute_names(name, value);
                }
                for (name, value) in input.expression_attribute_values.iter().flatten() {
                    update = update.expression_attribute_values(name, value.clone());
                }
                update.send().await.is_ok()
            }
            Self::Query(input) => {
                let mut query = sdk
                    .dynamodb
                    .query()
                    .set_table_name(input.table_name.clone())
                    .set_index_name(input.index_name.clone())
                    .set_scan_index_forward(input.scan_index_forward)
                    .set_limit(input.limit)
                    .set_key_condition_expression(input.key_condition_expression.clone());
                for (name, value) in input.expression_attribute_names.iter().flatten() {
                    query = query.expression_attribute_names(name, value);
                }
                for (name, value) in input.expression_attribute_values.iter().flatten() {
                    query = query.expression_attribute_values(name, value.clone());
                }
                query.send().await.is_ok()
            }
            Self::Send(input) => {
                let send = sdk
                    .sqs
                    .send_message()
                    .set_queue_url(input.queue_url.clone())
                    .set_message_body(input.message_body.clone())
                    .set_message_group_id(input.message_group_id.clone());
                send.send().await.is_ok()
            }
            Self::GetVectors(input) => {
                let get = sdk
                    .s3vectors
                    .get_vectors()
                    .set_vector_bucket_name(input.vector_bucket_name.clone())
                    .set_index_name(input.index_name.clone())
                    .set_keys(input.keys.clone())
                    .set_return_data(input.return_data)
                    .set_return_metadata(input.return_metadata);
                get.send().await.is_ok()
            }
            Self::DeleteVectors(input) => {
                let delete = sdk
                    .s3vectors
                    .delete_vectors()
                    .set_vector_bucket_name(input.vector_bucket_name.clone())
                    .set_index_name(input.index_name.clone())
                    .set_keys(input.keys.clone());
                delete.send().await.is_ok()
            }
        }
    }

    /// Returns the same call for another task, with these replacements in every text.
    pub(crate) fn with(mut self, replacements: &[(String, String)]) -> Self {
        let replace = |text: &mut String| {
            for (from, to) in replacements {
                if text.contains(from.as_str()) {
                    *text = text.replace(from.as_str(), to);
                }
            }
        };
        let replace_in = |values: &mut Option<HashMap<String, AttributeValue>>| {
            for value in values.iter_mut().flat_map(HashMap::values_mut) {
                if let AttributeValue::S(text) = value {
                    replace(text);
                }
            }
        };
        match &mut self {
            Self::Put(input) => replace_in(&mut input.item),
            Self::Get(input) => replace_in(&mut input.key),
            Self::Update(input) => {
                replace_in(&mut input.key);
                replace_in(&mut input.expression_attribute_values);
            }
            Self::Query(_) => {}
            Self::Send(input) => input.message_body.iter_mut().for_each(replace),
            Self::GetVectors(input) => {
                let keys = input.keys.iter_mut().flatten();
                input.index_name.iter_mut().chain(keys).for_each(replace);
            }
            Self::DeleteVectors(input) => {
                let keys = input.keys.iter_mut().flatten();
                input.index_name.iter_mut().chain(keys).for_each(replace);
            }
        }
        self
    }

    /// The value of this placeholder in a guarded update.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let Self::Update(input) = self else {
            return None;
        };
        let value = input.expression_attribute_values.as_ref()?.get(name)?;
        value.as_s().ok().map(String::as_str)
    }
}
