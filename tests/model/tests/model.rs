//! The protocol keeps every invariant. If one guard is left out, the search finds what it was for.

use model::invariants::Invariant;
use model::scenario::Scenario;
use model::search::{Report, search};
use model::step::Model;
use model::variant::Variant;

fn search_faithful(scenario: Scenario) -> Report {
    let variant = Variant::Faithful;
    search(&Model { scenario, variant }, true)
}

/// Checks that every invariant holds in every state, and that every possible final status is
/// reached.
fn holds(scenario: Scenario) -> Report {
    let report = search_faithful(scenario);
    let (name, violation) = (scenario.name, &report.violation);
    assert!(violation.is_none(), "{name}: {violation:#?}");
    assert!(report.ends.done > 0, "{}: never done", scenario.name);
    assert_eq!(
        report.ends.failed > 0,
        scenario.may_fail(),
        "{}: failed",
        scenario.name
    );
    assert_eq!(
        report.ends.canceled > 0,
        scenario.cancels,
        "{}: canceled",
        scenario.name
    );
    report
}

#[test]
fn of_two_creates_one_wins_whatever_is_lost() {
    holds(Scenario::CREATES);
}

#[test]
fn two_workers_that_die_and_lose_responses_count_every_object_once() {
    holds(Scenario::CRASHES);
}

#[test]
fn a_chunk_survives_every_fault_under_cancel_and_restart() {
    holds(Scenario::ONE_CHUNK);
}

#[test]
fn writes_sent_again_take_effect_once_under_cancel_and_restart() {
    holds(Scenario::LOST_RESPONSES);
}

#[test]
fn a_chunk_survives_every_fault_when_it_is_restarted_twice() {
    holds(Scenario::TWICE);
}

#[test]
fn a_failing_store_is_tried_again_until_the_tries_are_used_up() {
    holds(Scenario::STORE_FAILURES);
}

#[test]
fn throttling_alone_never_fails_a_task() {
    holds(Scenario::THROTTLING);
}

#[test]
fn the_sweeper_makes_up_for_lost_messages() {
    holds(Scenario::LOSSES);
}

#[test]
fn a_call_that_names_its_attempt_takes_effect_once() {
    assert!(!holds(Scenario::CALLS).acted_again);
}

#[test]
fn a_call_that_names_no_attempt_may_take_effect_again_after_another_of_its_kind() {
    assert!(holds(Scenario::UNNAMED_CALLS).acted_again);
}

#[test]
fn an_object_that_the_store_keeps_or_cannot_confirm_does_not_hold_its_task_up() {
    holds(Scenario::UNSOUND);
}

#[test]
fn deletes_in_part_never_fail_a_task() {
    holds(Scenario::PARTS);
}

#[test]
fn each_guard_left_out_breaks_the_invariant_it_is_for() {
    for variant in Variant::BROKEN {
        let scenario = variant.scenario();
        let report = search(&Model { scenario, variant }, false);
        let found = report
            .violation
            .as_ref()
            .map(|violation| violation.invariant);
        assert_eq!(found, variant.breaks(), "{variant}");
        let trace = report
            .violation
            .map_or(Vec::new(), |violation| violation.trace);
        assert!(!trace.is_empty(), "{variant}: no trace");
    }
}

#[test]
fn every_further_delete_call_needs_a_read_of_the_task_whatever_asks_for_it() {
    let kept = Scenario {
        failures: false,
        throttling: false,
        parts: 1,
        ..Scenario::UNSOUND
    };
    let in_part = Scenario {
        throttling: false,
        ..Scenario::PARTS
    };
    for scenario in [Scenario::STORE_FAILURES, kept, in_part] {
        let variant = Variant::NoReadBetweenCalls;
        let report = search(&Model { scenario, variant }, false);
        let found = report.violation.map(|violation| violation.invariant);
        assert_eq!(found, Some(Invariant::Cancel), "{}", scenario.name);
    }
}

#[test]
fn no_invariant_is_checked_in_vain() {
    for invariant in Invariant::ALL {
        let broken = |variant: Variant| variant.breaks() == Some(invariant);
        assert!(Variant::BROKEN.into_iter().any(broken), "{invariant}");
    }
}

#[test]
fn a_lost_message_is_all_it_takes_to_strand_a_task_without_a_sweeper() {
    let (scenario, variant) = (Scenario::LOSSES, Variant::NoSweeper);
    let report = search(&Model { scenario, variant }, false);
    let violation = report.violation.expect("a violation");
    assert_eq!(violation.invariant, Invariant::Ends);
    let trace: Vec<String> = violation
        .trace
        .iter()
        .map(|step| step.to_string())
        .collect();
    assert_eq!(trace, ["a message is lost (attempt 1, whole task)"]);
}

#[test]
fn the_same_search_gives_the_same_numbers() {
    let [one, other] = [(); 2].map(|()| search_faithful(Scenario::LOSSES));
    assert_eq!(
        (one.states, one.steps, one.depth),
        (other.states, other.steps, other.depth)
    );
}
