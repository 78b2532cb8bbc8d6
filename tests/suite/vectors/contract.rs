//! The contract of all adapters, which is `store-check`'s. An adapter's tests are a [`Fixture`] and `contract!(…)`.

pub(super) use store_check::contract::*;

/// Makes the tests of the contract for a fixture, which the expression starts for each of them.
macro_rules! contract {
    ($start:expr) => {
        contract!(@ $start;
            what_is_acknowledged_and_kept_is_said_to_be_kept
            what_was_kept_for_a_while_goes_in_the_end
        );
        contract!(trusted $start);
    };
    // For a store whose acknowledgement replaces a read.
    (trusted $start:expr) => {
        contract!(@ $start;
            it_tells_the_present_from_the_absent
            it_deletes_what_is_listed_and_nothing_else
            an_id_that_is_repeated_is_one_object
            it_takes_1_and_500_and_5000_ids
            it_takes_the_longest_id_and_refuses_a_longer_one
            it_takes_any_text_that_it_can_hold_and_refuses_the_rest
            nothing_is_in_an_empty_index
            a_missing_index_is_said_to_be_missing
            denied_access_is_said_to_be_denied
            throttling_is_said_to_be_throttling
            a_connection_that_is_cut_is_an_error_that_may_pass
            two_deleters_at_once_leave_nothing
        );
    };
    (@ $start:expr; $($test:ident)+) => {$(
        #[tokio::test]
        async fn $test() {
            let fixture = $start.await;
            crate::vectors::contract::$test(&fixture).await;
        }
    )+};
}
