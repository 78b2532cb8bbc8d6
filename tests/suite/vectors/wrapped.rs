//! What the contract says of stores in front of a table's: one that needs several calls for each object keeps it, and one that
//! takes an acknowledgement for a deletion does not.

use super::contract::{self, Fixture};
use super::postgres::{Table, table};
use shared::vector::AfterDelete;
use tests::stores::{Believing, Reluctant};

async fn reluctant() -> Table {
    table("text").await.behind(Reluctant::new)
}

async fn believing() -> Table {
    table("text").await.behind(Believing)
}

mod several_calls {
    contract!(super::reluctant());
}

#[tokio::test]
async fn an_object_is_held_back_once_and_not_confirmed_once() {
    let fixture = reluctant().await;
    fixture.seed(&[fixture.id(0)]).await;
    let store = fixture.store();
    let ids = ["object-0", "object-1"];
    for (after, left) in [
        (AfterDelete::More, 1),
        (AfterDelete::Unconfirmed, 0),
        (AfterDelete::Gone, 0),
    ] {
        let expected = [after, AfterDelete::Gone];
        assert_eq!(store.delete(&ids).await.unwrap(), expected);
        assert_eq!(fixture.left().await.len(), left);
    }
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
