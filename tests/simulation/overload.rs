//! More work than the store can do.

use tests::sim::overload::{Overload, play};

#[test]
fn ten_large_tasks_on_one_slow_store_all_finish_and_none_is_failed_for_having_waited() {
    // The store deletes one chunk of a hundred objects a second. Forty chunks arrive at once.
    let outcome = play(Overload {
        objects: 20,
        chunk: 2,
        per_second: 1,
    });
    assert_eq!(outcome.report.violation, None);
    let faults = &outcome.report.stats.faults;
    assert!(faults["delete too fast for the store"] > 100, "{faults:?}");
}
