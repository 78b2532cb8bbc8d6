//! Grants of a vector index's time, which all workers take from one item so that together they keep
//! to its quota.
//!
//! `paid_until` says until when the quota of the index is given away, in microseconds since 1970. A
//! grant moves it on. The item holds nothing else, and nobody reads it: a grant whose response is
//! lost is wasted, and no more than that. So its two writes assume only where `paid_until` stands,
//! and carry no token.

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

/// How long an item is kept that nobody takes grants from.
const RETENTION: TimeDelta = TimeDelta::days(1);
/// Tries of a grant that loses every race. Who loses takes its turn as far.
const MAX_WRITES: usize = 4;

/// What became of a request for a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// This time of the index is the caller's.
    Given(Range<DateTime<Utc>>),
    /// The index's time is given away until then, which is too far ahead.
    TakenUntil(DateTime<Utc>),
}

/// A request for a grant.
#[derive(Clone, Copy, Debug)]
pub struct GrantRequest {
    /// How much of the index's time.
    pub time: TimeDelta,
    /// The earliest that it may begin: a moment ago, so that what was not used for a moment is not
    /// lost.
    pub earliest: DateTime<Utc>,
    /// The latest that it may begin, so that nobody reserves far ahead.
    pub latest: DateTime<Utc>,
    /// Whether nobody is expected to have taken a grant lately. If that is wrong, it costs one
    /// write more.
    pub is_idle: bool,
}

impl TaskStore {
    /// Takes a grant of the time of the index at `address`, by one write or, if it is not as idle
    /// or busy as expected, two.
    ///
    /// # Errors
    /// When DynamoDB does not respond or throttles. A grant may have been taken nevertheless, and
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

    /// Moves `paid_until` on, if the index is idle, or not, as assumed. Returns where it stands
    /// now, or what was found instead.
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

/// By a hash of the index's address, which may be longer than a key.
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
