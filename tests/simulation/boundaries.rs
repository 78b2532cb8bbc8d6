//! Every boundary, exhaustively: each fault at each AWS call of each scenario.

use std::fmt::Write;
use tests::sim::boundary::{Fault, Scenario, play};

/// Plays a scenario once to count its calls, and then with each fault at each call.
fn at_every_call(scenario: Scenario) {
    for is_large in [false, true] {
        let (calm, calls) = play(scenario, is_large, None);
        assert_eq!(
            calm.violation,
            None,
            "{scenario:?}: {}",
            calm.trace.join("\n")
        );
        assert!(calls > 0, "{scenario:?} makes no call");
        for call in 0..calls {
            for fault in Fault::ALL {
                let (report, _) = play(scenario, is_large, Some((call, fault)));
                if let Some(violation) = report.violation {
                    let mut story = report.trace.join("\n");
                    let _ = write!(
                        story,
                        "\n\n{scenario:?}, large: {is_large}, {fault:?} at call {call}: {violation}"
                    );
                    panic!("{story}");
                }
            }
        }
    }
}

#[test]
fn create() {
    at_every_call(Scenario::Create);
}

#[test]
fn repeated_create() {
    at_every_call(Scenario::RepeatedCreate);
}

#[test]
fn work() {
    at_every_call(Scenario::Work);
}

#[test]
fn work_on_ids_that_the_store_refuses() {
    at_every_call(Scenario::WorkOnBadIds);
}

#[test]
fn work_on_objects_that_stay_at_first_or_go_in_parts() {
    at_every_call(Scenario::WorkOnUnsoundDeletes);
}

#[test]
fn work_without_a_store() {
    at_every_call(Scenario::WorkWithoutStore);
}

#[test]
fn cancel_of_a_pending_task() {
    at_every_call(Scenario::CancelPending);
}

#[test]
fn cancel_of_a_task_at_work() {
    at_every_call(Scenario::CancelProcessing);
}

#[test]
fn restart() {
    at_every_call(Scenario::Restart);
}

#[test]
fn restart_of_every_object() {
    at_every_call(Scenario::RestartAll);
}

#[test]
fn sweep_after_a_lost_message() {
    at_every_call(Scenario::Sweep);
}

#[test]
fn sweep_after_a_dead_worker() {
    at_every_call(Scenario::SweepAfterDeath);
}

#[test]
fn info() {
    at_every_call(Scenario::Info);
}
