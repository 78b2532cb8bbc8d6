//! What a claim records, and what a settlement says.

use super::*;

fn chunk(count: usize) -> Chunk {
    of((0..count).map(|i| format!("obj-{i}")))
}

fn of(names: impl IntoIterator<Item = String>) -> Chunk {
    let mut ids = ObjectIds::default();
    names.into_iter().for_each(|id| ids.push(&id).unwrap());
    Chunk::new(ids)
}

fn gave_up() -> Outcome {
    Outcome::Failed(Reason::GaveUp("The store kept failing".into()))
}

const NOT_FOUND: Outcome = Outcome::Failed(Reason::NotFound);

#[test]
fn a_claim_adds_what_it_saw_to_what_was_seen_and_raises_the_fence() {
    let mut chunk = chunk(4);
    chunk.state.seen.insert(1);
    chunk.state.fence = 7;
    let claim = chunk.claim("token".into(), 1, [2]);
    assert_eq!(claim.fence, 8);
    assert_eq!(claim.seen, [1, 2].into_iter().collect());
}

#[test]
fn a_settlement_says_what_is_new_whether_all_is_there_and_why_anything_was_given_up() {
    let mut chunk = chunk(3);
    chunk.state.outcomes = Outcomes::none(1);
    let settle =
        |chunk: &Chunk, results: &[_]| chunk.settle(results, TaskStatus::Processing, 1, 1, 1);
    let part = settle(&chunk, &[(0, Outcome::Deleted)]);
    let counts = |deleted, failed, not_found| Counts {
        deleted,
        failed,
        not_found,
    };
    assert_eq!((part.newly, part.is_complete), (counts(1, 0, 0), false));
    chunk.state.outcomes = part.outcomes;
    let done = settle(&chunk, &[(1, NOT_FOUND), (2, Outcome::Deleted)]);
    assert_eq!((done.newly, done.is_complete), (counts(1, 1, 1), true));
    assert_eq!(done.gave_up, None);
    let failed = settle(&chunk, &[(1, NOT_FOUND), (2, gave_up())]);
    assert_eq!((failed.newly, failed.is_complete), (counts(0, 2, 1), true));
    assert_eq!(failed.gave_up.as_deref(), Some("The store kept failing"));
}

#[test]
fn a_lease_is_in_force_until_its_last_moment() {
    let until = DateTime::UNIX_EPOCH;
    let mut state = ChunkState::default();
    assert!(!state.is_leased(until));
    state.lease_until = Some(until);
    assert!(state.is_leased(until - chrono::TimeDelta::milliseconds(1)));
    assert!(!state.is_leased(until));
}

#[test]
fn tries_and_put_offs_are_of_one_attempt() {
    let state = ChunkState {
        attempt: 2,
        tries: 3,
        put_offs: 4,
        ..ChunkState::default()
    };
    assert_eq!((state.tries_in(2), state.put_offs_in(2)), (3, 4));
    assert_eq!((state.tries_in(3), state.put_offs_in(3)), (0, 0));
}

#[test]
fn what_was_given_up_stays_seen_so_that_a_later_attempt_knows_who_deleted_it() {
    let mut chunk = chunk(2);
    chunk.state.seen = [0, 1].into_iter().collect();
    let end = chunk.settle(
        &[(0, Outcome::Deleted), (1, gave_up())],
        TaskStatus::Processing,
        1,
        1,
        1,
    );
    assert_eq!(end.seen, [1].into_iter().collect());
}

#[test]
fn after_a_cancel_definite_results_count_and_the_rest_remains() {
    let end = chunk(3).settle(
        &[(0, Outcome::Deleted), (1, NOT_FOUND), (2, gave_up())],
        TaskStatus::Canceled,
        1,
        1,
        1,
    );
    assert_eq!((end.newly.deleted, end.newly.failed), (1, 1));
}

#[test]
fn after_a_restart_only_deletions_count_and_after_one_of_everything_nothing_does() {
    let mut chunk = chunk(3);
    chunk.state.outcomes = Outcomes::none(1);
    chunk.state.outcomes.set(2, &Outcome::Deleted);
    let results = [(0, Outcome::Deleted), (1, NOT_FOUND)];
    let end = chunk.settle(&results, TaskStatus::Pending, 1, 2, 1);
    assert_eq!(
        (end.newly.deleted, end.newly.failed),
        (1, 0),
        "beside the one of before"
    );
    chunk.state.seen.insert(0);
    let end = chunk.settle(&results, TaskStatus::Pending, 1, 2, 2);
    assert_eq!((end.newly.deleted, end.newly.failed), (0, 0));
    assert!(
        end.seen.contains(0),
        "what is gone at the next existence check was deleted"
    );
}

#[test]
fn a_list_row_shows_at_most_ten_failures_and_one_kilobyte() {
    let none_found = |chunk: &Chunk| {
        let results: Vec<_> = (0..chunk.ids.len()).map(|i| (i, NOT_FOUND)).collect();
        chunk
            .settle(&results, TaskStatus::Processing, 1, 1, 1)
            .failed_head
            .into_items()
    };
    assert_eq!(none_found(&chunk(500)).len(), 10);
    let long = of((0..9).map(|i| format!("{i}{}", "x".repeat(400))));
    assert_eq!(none_found(&long).len(), 1, "the first, though it is long");
    let too_long = of(["x".repeat(1024)]);
    assert_eq!(none_found(&too_long).len(), 0);
}
