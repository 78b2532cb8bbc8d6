//! The contract of all adapters, which `store-check` also runs.
//!
//! Every case runs for every adapter, each over a [`Fixture`]. If a case does not apply to an
//! adapter, this file gives the reason, and the test is listed as ignored.

use shared::aws::VECTOR_CALL_TIMEOUT;
use shared::vector::{AfterDelete, VectorError, VectorStore};
use std::time::Duration;
pub(super) use store_check::contract::*;
use store_check::every_case;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How much longer than planned a wait may be.
const SLACK: Duration = Duration::from_millis(500);

/// Deletes while something holds the delete up. It is released once the maximum time of a delete is
/// over.
pub(super) async fn delete_held_up(
    store: &dyn VectorStore,
    ids: &[&str],
    let_go: impl FnOnce(),
) -> Result<Vec<AfterDelete>, VectorError> {
    let over = Instant::now() + VECTOR_CALL_TIMEOUT + SLACK;
    let ended = timeout(VECTOR_CALL_TIMEOUT + SLACK, store.delete(ids)).await;
    sleep_until(over).await;
    let_go();
    // This is long enough for the held delete to be carried out.
    sleep(SLACK).await;
    ended.expect("a delete ends within its time")
}

/// Makes a module of tests for each adapter. The brackets before a group of adapters list the cases
/// that not all adapters have: `yes`, or the reason why not.
macro_rules! adapters {
    ($(
        [late: $late:tt, keeping: $keeping:tt, in_parts: $in_parts:tt]
        $($name:ident: $start:tt;)+
    )+) => {$($(
        mod $name {
            use super::*;

            every_case!(tests, $start, $late, $keeping, $in_parts);
        }
    )+)+};
}

macro_rules! tests {
    (
        $start:tt $late:tt $keeping:tt $in_parts:tt
        always { $($always:tt)+ }
        late { $($of_late:tt)+ }
        broken { $($broken:tt)+ }
        keeping { $($of_keeping:tt)+ }
        in_parts { $($of_in_parts:tt)+ }
    ) => {
        tests!(@ yes $start $($always)+);
        tests!(@ $late $start $($of_late)+);
        tests!(@ yes $start $($broken)+);
        tests!(@ $keeping $start $($of_keeping)+);
        tests!(@ $in_parts $start $($of_in_parts)+);
    };
    (@ yes $start:tt $($case:ident: $_about:literal)+) => {$(
        #[tokio::test]
        async fn $case() {
            super::super::contract::$case(&$start.await).await;
        }
    )+};
    (@ $why:literal $start:tt $($case:ident: $_about:literal)+) => {$(
        #[test]
        #[ignore = $why]
        fn $case() {
            panic!($why);
        }
    )+};
}

adapters! {
    [
        late: yes,
        keeping: "an acknowledgement replaces the read after the delete",
        in_parts: "a delete takes a whole vector, and is visible at once"
    ]
    s3vectors: (crate::vectors::s3vectors::s3vectors(""));

    [
        late: "the delete is the call of `s3vectors`",
        keeping: yes,
        in_parts: "a delete takes a whole vector, and is visible at once"
    ]
    s3vectors_read_back: (crate::vectors::s3vectors::s3vectors("?confirm=read-back"));

    [
        late: yes,
        keeping: yes,
        in_parts: "a delete is one transaction, and the read after it is current"
    ]
    postgres: (crate::vectors::postgres::table("text"));
    embedding_studio: (crate::vectors::embedding_studio::collection());

    [
        late: "the type of the ids changes no time limit of `postgres`",
        keeping: yes,
        in_parts: "a delete is one transaction, and the read after it is current"
    ]
    postgres_varchar: (crate::vectors::postgres::table("varchar(12)"));
    postgres_uuid: (crate::vectors::postgres::table("uuid"));
    postgres_bigint: (crate::vectors::postgres::table("bigint"));
    postgres_smallint: (crate::vectors::postgres::table("smallint"));

    [late: yes, keeping: yes, in_parts: yes]
    protocol: (crate::vectors::protocol::InMemory::start());

    // This is not an adapter, but a store in front of `postgres` that needs several calls for each
    // object.
    [late: "its first call deletes nothing", keeping: yes, in_parts: yes]
    several_calls: (crate::vectors::wrapped::reluctant());
}
