//! Random schedules. `cargo run --profile simulate -p tests --bin simulate -- --schedules 100000`
//! runs more of them.

use tests::sim::{Report, Stats, replay_command, run, run_believing};

/// How many schedules the ordinary tests run.
const SCHEDULES: u64 = 1_000;

/// Runs the schedules of these seeds. The first violation ends the test and shows its whole trace.
fn run_all(seeds: impl Iterator<Item = u64>) -> Stats {
    let mut stats = Stats::default();
    for seed in seeds {
        let report = run(seed);
        if let Some(violation) = &report.violation {
            let story = report.trace.join("\n");
            panic!(
                "{story}\n\n{violation}\nReplay it: {}",
                replay_command(seed)
            );
        }
        stats.add(&report.stats);
    }
    stats
}

/// Fails the test unless the schedules have enough of everything to be significant.
fn assert_is_rich(stats: &Stats) {
    assert!(stats.kills > 200, "{stats:?}");
    assert!(stats.large_tasks > 100, "{stats:?}");
    assert!(stats.given_up_as_kept > 10, "{stats:?}");
    let kinds = [
        "request lost",
        "response lost",
        "message lost",
        "message repeated",
        "partly served",
        "invalid keys",
        "TransactionCanceledException",
        "TransactionConflictException",
        "met a transaction",
        "ProvisionedThroughputExceededException",
        "TooManyRequestsException",
        "NotFoundException",
        "delete acknowledged and not done",
        "delete not confirmed",
        "delete said to be in part",
        "inserted again before its delete was confirmed",
        "canceled right after a delete",
    ];
    for kind in kinds {
        assert!(stats.faults.contains_key(kind), "no {kind} in {stats:?}");
    }
}

#[test]
fn every_schedule_with_an_even_seed_keeps_every_promise() {
    assert_is_rich(&run_all((0..SCHEDULES).step_by(2)));
}

#[test]
fn every_schedule_with_an_odd_seed_keeps_every_promise() {
    assert_is_rich(&run_all((1..SCHEDULES).step_by(2)));
}

/// Seed 3 is the first that finds it.
#[test]
fn a_service_that_takes_every_response_for_a_deletion_is_caught() {
    let violation = (0..20).find_map(|seed| run_believing(seed).violation);
    let violation = violation.expect("one of 20 schedules finds it");
    let what = "counts as Deleted, but the claim's deletes left it there";
    assert!(violation.ends_with(what), "{violation}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let story = |Report { hash, trace, .. }: Report| (hash, trace);
    for seed in [3, 17, 40, 77, 1_000_003] {
        let (first, second) = (story(run(seed)), story(run(seed)));
        for (first, second) in first.1.iter().zip(&second.1) {
            assert_eq!(first, second, "seed {seed}");
        }
        assert_eq!(first.0, second.0, "seed {seed}");
    }
}
