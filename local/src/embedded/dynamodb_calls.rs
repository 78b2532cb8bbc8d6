//! DynamoDB's calls over HTTP: the protocol AWS JSON 1.0 over dynoxide.
//!
//! dynoxide has its own server, but that server responds to any web page and cannot be put behind
//! the guard.

use bytes::Bytes;
use dynoxide::auth_material::{self, AuthMaterial};
use dynoxide::{Database, DynoxideError};
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use web::{Reply, Site};

/// The limits of the server. A request has at most 16 MB ("Service, account, and table quotas in
/// Amazon DynamoDB").
pub(super) const SITE: Site = Site {
    max_body: 16 * 1024 * 1024,
    too_large: || {
        reply(
            StatusCode::PAYLOAD_TOO_LARGE,
            error("RequestEntityTooLarge"),
        )
    },
    is_page: |_| false,
};

/// Responds to one call. The database blocks the thread meanwhile.
pub(super) fn respond(database: &Database, request: &Request<Bytes>) -> Reply {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let target = text("x-amz-target").and_then(|target| target.split_once('.'));
    let Some(("DynamoDB_20120810" | "DynamoDBStreams_20120810", operation)) = target else {
        return reply(StatusCode::BAD_REQUEST, error("UnknownOperationException"));
    };
    if let Some(refused) = auth_material::validate(AuthMaterial {
        authorization: text(AUTHORIZATION.as_str()),
        query: request.uri().query().unwrap_or_default(),
        has_date_header: has_date(headers),
    }) {
        return reply(StatusCode::BAD_REQUEST, refused);
    }
    match call(database, operation, request.body()) {
        Some(Ok(body)) => reply(StatusCode::OK, body),
        Some(Err(error)) => {
            let status = StatusCode::from_u16(error.status_code());
            reply(status.unwrap_or(StatusCode::BAD_REQUEST), error.to_json())
        }
        None => reply(StatusCode::BAD_REQUEST, error("UnknownOperationException")),
    }
}

fn has_date(headers: &HeaderMap) -> bool {
    headers.contains_key("x-amz-date") || headers.contains_key(DATE)
}

/// Carries out one operation; `None` if there is no such operation.
fn call(
    database: &Database,
    operation: &str,
    body: &[u8],
) -> Option<Result<String, DynoxideError>> {
    macro_rules! calls {
        ($($name:literal $method:ident)+) => {
            match operation {
                $($name => Some(read(body).and_then(|input| database.$method(input)).and_then(written)),)+
                _ => None,
            }
        };
    }
    calls! {
        "BatchExecuteStatement" batch_execute_statement
        "BatchGetItem" batch_get_item
        "BatchWriteItem" batch_write_item
        "CreateTable" create_table
        "DeleteItem" delete_item
        "DeleteTable" delete_table
        "DescribeStream" describe_stream
        "DescribeTable" describe_table
        "DescribeTimeToLive" describe_time_to_live
        "ExecuteStatement" execute_statement
        "ExecuteTransaction" execute_transaction
        "GetItem" get_item
        "GetRecords" get_records
        "GetShardIterator" get_shard_iterator
        "ListStreams" list_streams
        "ListTables" list_tables
        "ListTagsOfResource" list_tags_of_resource
        "PutItem" put_item
        "Query" query
        "Scan" scan
        "TagResource" tag_resource
        "TransactGetItems" transact_get_items
        "TransactWriteItems" transact_write_items
        "UntagResource" untag_resource
        "UpdateItem" update_item
        "UpdateTable" update_table
        "UpdateTimeToLive" update_time_to_live
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, DynoxideError> {
    serde_json::from_slice(body)
        .map_err(|error| DynoxideError::SerializationException(error.to_string()))
}

fn written(response: impl Serialize) -> Result<String, DynoxideError> {
    let text = serde_json::to_string(&response);
    let text = text.map_err(|error| DynoxideError::InternalServerError(error.to_string()))?;
    // The protocol has an empty object for an empty response.
    Ok(if text == "null" {
        "{}".to_owned()
    } else {
        text
    })
}

fn error(kind: &str) -> String {
    format!(r#"{{"__type":"com.amazon.coral.service#{kind}"}}"#)
}

fn reply(status: StatusCode, body: String) -> Reply {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
