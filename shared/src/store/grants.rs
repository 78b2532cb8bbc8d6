//! Grants of a vector index's time.
//!
//! All workers take them from one item, so that together they keep to the index's quota.
//!
//! `paid_until` is the time until which the index's quota is taken, in microseconds since 1970. A
//! grant moves it forward. The item holds only this and `expires_at`, and nothing else reads it. If
//! the response to a grant is lost, the grant is wasted, and that is all. So the two writes have a
//! condition on `paid_until` and no token of their own.

use super::attribute::{self as attr, Attributes, Item, n, s, seconds};
use super::{KEY, StoreError, TaskStore};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// How long an item is kept if nobody takes grants from it.
const RETENTION: TimeDelta = TimeDelta::days(1);
/// The most writes for one grant. A request that loses every race is told that the time is taken.
const MAX_WRITES: usize = 4;

/// The result of a request for a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The caller has this part of the index's time.
    Given(Range<DateTime<Utc>>),
    /// The index's time is taken until then: too far ahead, or other requests won every race.
    TakenUntil(DateTime<Utc>),
}

/// A request for a grant.
#[derive(Clone, Copy, Debug)]
pub struct GrantRequest {
    /// The amount of the index's time.
    pub time: TimeDelta,
    /// The earliest start.
    ///
    /// It is a moment ago, so that time which was unused for a moment is not lost.
    pub earliest: DateTime<Utc>,
    /// The latest start, so that nobody reserves far ahead.
    pub latest: DateTime<Utc>,
    /// Whether the caller expects that nobody has taken a grant lately.
    ///
    /// A wrong guess costs one more write.
    pub is_idle: bool,
}

impl TaskStore {
    /// Takes a grant of the time of the index at `address`.
    ///
    /// It takes one write, or two if the index is not as idle or busy as expected. Races with other
    /// workers can take more, up to four.
    ///
    /// # Errors
    /// If a call to DynamoDB fails or is throttled. A grant may have been taken nevertheless, and
    /// is wasted.
    pub async fn take_grant(
        &self,
        address: &str,
        request: GrantRequest,
    ) -> Result<Grant, StoreError> {
        let mut is_idle = request.is_idle;
        let mut taken_until = request.latest;
        for _ in 0..MAX_WRITES {
            match self.grant_if_as_assumed(address, request, is_idle).await? {
                Ok(until) => return Ok(Grant::Given(until - request.time..until)),
                Err(Some(until)) if until > request.latest => return Ok(Grant::TakenUntil(until)),
                Err(until) => {
                    is_idle = until.is_none_or(|until| until < request.earliest);
                    taken_until = until.unwrap_or(taken_until);
                }
            }
        }
        Ok(Grant::TakenUntil(taken_until))
    }

    /// Moves `paid_until` forward, if the index is idle or busy as assumed.
    ///
    /// Returns its new value, or else the value that was found.
    async fn grant_if_as_assumed(
        &self,
        address: &str,
        request: GrantRequest,
        is_idle: bool,
    ) -> Result<Result<DateTime<Utc>, Option<DateTime<Utc>>>, StoreError> {
        let update = self.client.update_item().table_name(&self.table);
        let update = update
            .key(KEY, s(key_of(address)))
            .expression_attribute_names("#paid_until", attr::PAID_UNTIL)
            .expression_attribute_names("#expires_at", attr::EXPIRES_AT)
            .expression_attribute_values(":earliest", micros(request.earliest))
            .expression_attribute_values(":expires_at", seconds(request.latest + RETENTION))
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let update = if is_idle {
            update
                .update_expression("SET #paid_until = :until, #expires_at = :expires_at")
                .condition_expression(
                    "attribute_not_exists(#paid_until) OR #paid_until < :earliest",
                )
                .expression_attribute_values(":until", micros(request.earliest + request.time))
        } else {
            let time = request.time.num_microseconds().unwrap_or(i64::MAX);
            update
                .update_expression(
                    "SET #paid_until = #paid_until + :time, #expires_at = :expires_at",
                )
                .condition_expression("#paid_until BETWEEN :earliest AND :latest")
                .expression_attribute_values(":latest", micros(request.latest))
                .expression_attribute_values(":time", n(time))
        };
        match update.send().boxed().await {
            Ok(response) => {
                let until = paid_until(response.attributes.unwrap_or_default())?;
                let missing = || StoreError::damaged(attr::PAID_UNTIL, &key_of(address));
                Ok(Ok(until.ok_or_else(missing)?))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(found)) => {
                    Ok(Err(paid_until(found.item.clone().unwrap_or_default())?))
                }
                _ => Err(error.into()),
            },
        }
    }
}

/// Returns the key: a hash of the index's address, which may be longer than a key.
fn key_of(address: &str) -> String {
    format!("P#{}", URL_SAFE_NO_PAD.encode(Sha256::digest(address)))
}

fn micros(time: DateTime<Utc>) -> aws_sdk_dynamodb::types::AttributeValue {
    n(time.timestamp_micros())
}

fn paid_until(item: Item) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut item = Attributes::of(item);
    let micros = item.optional(attr::PAID_UNTIL)?;
    Ok(micros.and_then(DateTime::from_timestamp_micros))
}
