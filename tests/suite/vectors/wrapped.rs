//! The contract for stores in front of a table's. A store that needs several calls for each object
//! keeps the contract. A store that counts an acknowledgement as a deletion breaks it.

use super::contract::{self, InParts};
use super::postgres::{Table, table};
use tests::stores::{Believing, Reluctant};

/// The store in front of the table needs several calls for every object.
impl InParts for Table {
    async fn go_in_parts(&self, _ids: &[&str]) {}
}

pub(super) async fn reluctant() -> Table {
    table("text").await.behind(Reluctant::new)
}

async fn believing() -> Table {
    table("text").await.behind(Believing)
}

#[tokio::test]
#[should_panic(expected = "left: []\n right: [\"object-1\", \"object-3\"]")]
async fn a_store_that_believes_what_is_acknowledged_is_caught_by_what_is_kept() {
    contract::what_is_acknowledged_and_kept_is_said_to_be_kept(&believing().await).await;
}

#[tokio::test]
#[should_panic(expected = "left: []\n right: [\"object-0\"]")]
async fn a_store_that_believes_what_is_acknowledged_is_caught_by_what_is_kept_for_a_while() {
    contract::what_was_kept_for_a_while_goes_in_the_end(&believing().await).await;
}
