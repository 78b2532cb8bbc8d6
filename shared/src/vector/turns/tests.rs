use super::*;
use chrono::TimeDelta;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The longest wait for a turn, as in the worker.
const NEAR: Duration = Duration::from_secs(1);
/// Objects in one delete.
const CHUNK: usize = 500;
/// The quota of an index of S3 Vectors.
const QUOTA: u32 = 2_500;

fn turns() -> Arc<Turns> {
    let quota = Quota::new(QUOTA, 1_000);
    Arc::new(Turns::new("s3vectors://bucket/index".to_owned(), quota))
}

/// The time this many milliseconds after a fixed moment.
fn at(millis: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap() + delta(Duration::from_millis(millis))
}

fn delta(time: Duration) -> TimeDelta {
    TimeDelta::from_std(time).unwrap()
}

/// The item that all processes share, as `store/grants.rs` writes it.
#[derive(Default)]
struct Table {
    paid_until: Option<DateTime<Utc>>,
    writes: u32,
}

impl Table {
    fn grant(&mut self, turns: &Turns, needed: Needed, longest: Duration, now: DateTime<Utc>) {
        self.writes += 1;
        let earliest = now - delta(needed.burst);
        let is_idle = self.paid_until.is_none_or(|until| until < earliest);
        self.writes += u32::from(is_idle != needed.is_idle);
        let start = self.paid_until.unwrap_or(earliest).max(earliest);
        if start > now + delta(longest) {
            return turns.taken(start);
        }
        let end = start + delta(needed.time);
        self.paid_until = Some(end);
        turns.granted(&(start..end));
    }

    /// Reserves a turn as the worker does.
    fn turn(&mut self, turns: &Arc<Turns>, objects: usize, now: DateTime<Utc>) -> Option<Turn> {
        for _ in 0..4 {
            match turns.reserve(objects, NEAR, now) {
                Reserved::Turn(turn) => return Some(turn),
                Reserved::Far => return None,
                Reserved::NeedsGrant(needed) => self.grant(turns, needed, NEAR, now),
            }
        }
        None
    }
}

/// The measured result of [`play`].
#[derive(Debug)]
struct Run {
    /// The part of the quota that is used between the first and the last delete.
    used: f64,
    /// The part of the deletes that a token bucket with the tokens of one second refuses.
    refused: f64,
    /// The time until the last delete begins, divided by the least that the quota allows.
    end: f64,
    receives_per_chunk: f64,
    most_receives: u32,
    writes_per_chunk: f64,
}

struct Message {
    visible_at: u64,
    receives: u32,
    is_done: bool,
}

/// How long the steps of a process take, in milliseconds.
struct Pauses {
    receive: u64,
    grant: u64,
    check: u64,
    delete: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A process is free.
    Receive(usize),
    /// A process asks for the turn of this message of its batch.
    Ask(usize, usize),
}

/// Plays processes that each carry out one batch of ten messages at a time, until a task of
/// `chunks` is done. `share`: whether the processes share grants.
fn play(processes: usize, chunks: usize, pauses: &Pauses, share: bool) -> Run {
    fastrand::seed(7);
    let mut table = Table::default();
    let all: Vec<_> = (0..processes).map(|_| turns()).collect();
    let mut batches: Vec<Vec<usize>> = vec![Vec::new(); processes];
    let mut free_at = vec![0; processes];
    let mut messages: Vec<_> = (0..chunks)
        .map(|_| Message {
            visible_at: 0,
            receives: 0,
            is_done: false,
        })
        .collect();
    let mut deletes = Vec::new();
    let mut events = BinaryHeap::new();
    for process in 0..processes {
        events.push(Reverse((process as u64 * 3, Event::Receive(process))));
    }
    while let Some(Reverse((now, event))) = events.pop() {
        match event {
            Event::Receive(process) => {
                let open = messages.iter_mut().enumerate();
                let visible = open.filter(|(_, m)| !m.is_done && m.visible_at <= now);
                let mut batch = Vec::new();
                for (number, message) in visible.take(10) {
                    message.visible_at = now + 360_000;
                    message.receives += 1;
                    batch.push(number);
                }
                if batch.is_empty() {
                    if messages.iter().any(|message| !message.is_done) {
                        events.push(Reverse((now + 20, event)));
                    }
                    continue;
                }
                free_at[process] = now;
                batches[process] = batch;
                let begun = now + pauses.receive + fastrand::u64(0..=pauses.receive);
                events.push(Reverse((begun, Event::Ask(process, 0))));
            }
            Event::Ask(process, number) => {
                let message = &mut messages[batches[process][number]];
                let turns = &all[process];
                let mut next = now;
                if !share {
                    turns.unanswered(at(now));
                }
                let known = turns.is_far(NEAR, at(now));
                let turn = if known {
                    None
                } else {
                    next += pauses.grant;
                    table.turn(turns, CHUNK, at(next))
                };
                let end = match turn {
                    Some(turn) => {
                        let ready = next + pauses.check + fastrand::u64(0..=pauses.check);
                        let wait = turn.wait(at(ready)).as_micros().div_ceil(1_000);
                        let begins = ready + u64::try_from(wait).unwrap();
                        turn.use_for(CHUNK);
                        deletes.push(begins);
                        message.is_done = true;
                        begins + pauses.delete
                    }
                    None => {
                        let after = turns.come_back(CHUNK, NEAR, at(next));
                        message.visible_at = next + u64::try_from(after.as_millis()).unwrap();
                        next + 5
                    }
                };
                free_at[process] = free_at[process].max(end);
                if number + 1 < batches[process].len() {
                    events.push(Reverse((next, Event::Ask(process, number + 1))));
                } else {
                    let free = free_at[process].max(next);
                    events.push(Reverse((free, Event::Receive(process))));
                }
            }
        }
    }
    deletes.sort_unstable();
    let (first, last) = (deletes[0], *deletes.last().unwrap());
    let one = CHUNK as f64 / f64::from(QUOTA);
    let ideal = (chunks - 1) as f64 * one;
    let (mut tokens, mut before, mut refused) = (f64::from(QUOTA), first, 0);
    for delete in deletes {
        tokens += (delete - before) as f64 / 1e3 * f64::from(QUOTA);
        tokens = tokens.min(f64::from(QUOTA));
        before = delete;
        if tokens >= CHUNK as f64 {
            tokens -= CHUNK as f64;
        } else {
            refused += 1;
        }
    }
    let receives = messages.iter().map(|message| message.receives);
    Run {
        used: ideal / ((last - first) as f64 / 1e3),
        refused: f64::from(refused) / chunks as f64,
        end: (last as f64 / 1e3) / ideal,
        receives_per_chunk: f64::from(receives.clone().sum::<u32>()) / chunks as f64,
        most_receives: receives.max().unwrap(),
        writes_per_chunk: f64::from(table.writes) / chunks as f64,
    }
}

/// The pauses on a fast and on a slow network.
const PAUSES: [Pauses; 2] = [
    Pauses {
        receive: 15,
        grant: 8,
        check: 40,
        delete: 60,
    },
    Pauses {
        receive: 40,
        grant: 15,
        check: 120,
        delete: 200,
    },
];

#[test]
fn however_many_processes_work_an_index_is_used_fully_and_refuses_none() {
    for pauses in PAUSES {
        for chunks in [60, 300] {
            for processes in [1, 2, 5, 10, 30] {
                let run = play(processes, chunks, &pauses, true);
                let story = format!("{processes} processes, {chunks} chunks: {run:.3?}");
                assert!(run.used >= 0.97, "{story}");
                assert!(run.refused <= 0.005, "{story}");
                assert!(run.end <= 1.05, "{story}");
                assert!(run.most_receives < 100, "{story}");
                assert!(run.receives_per_chunk < 20.0, "{story}");
                assert!(run.writes_per_chunk < 8.0, "{story}");
            }
        }
    }
}

#[test]
fn without_grants_each_process_uses_the_whole_quota() {
    let run = play(1, 60, &PAUSES[0], false);
    assert!(run.refused <= 0.005, "{run:?}");
    assert!(run.end <= 1.05, "{run:?}");
    let run = play(5, 60, &PAUSES[0], false);
    assert!(run.refused > 0.5, "{run:?}");
}

#[test]
fn below_a_tenth_of_the_quota_no_grant_is_needed() {
    let turns = turns();
    // 200 objects a second, one task after the other.
    for number in 0..600 {
        let turn = turns.reserve(20, NEAR, at(number * 100));
        assert!(matches!(turn, Reserved::Turn(_)), "{number}: {turn:?}");
        if let Reserved::Turn(turn) = turn {
            turn.use_for(20);
        }
    }
    let many = turns.reserve(400, NEAR, at(60_000));
    assert!(matches!(many, Reserved::NeedsGrant(_)), "{many:?}");
}

#[test]
fn small_deletes_share_a_grant() {
    let (turns, mut table) = (turns(), Table::default());
    // Half of the quota, in deletes of ten.
    for number in 0..1_250 {
        let turn = table.turn(&turns, 10, at(number * 8));
        turn.expect("it is not far").use_for(10);
    }
    assert!(table.writes < 125, "{}", table.writes);
}

#[test]
fn what_a_turn_does_not_use_serves_the_next() {
    let (turns, mut table) = (turns(), Table::default());
    for number in 0..20 {
        let turn = table.turn(&turns, CHUNK, at(number));
        // None of its objects exists.
        drop(turn.expect("it is not far"));
    }
    assert_eq!(table.writes, 1);
    table
        .turn(&turns, CHUNK, at(20))
        .expect("granted")
        .use_for(300);
    let rest = turns.reserve(200, NEAR, at(20));
    assert!(matches!(rest, Reserved::Turn(_)), "{rest:?}");
}

#[test]
fn what_is_expected_follows_what_was_lately_found_present() {
    let turns = turns();
    assert_eq!(turns.expected(CHUNK), CHUNK, "nothing is known yet");
    let after_checks = |present| {
        turns.found(present, CHUNK);
        turns.expected(CHUNK)
    };
    assert_eq!(after_checks(10), 11);
    let all: Vec<_> = (0..5).map(|_| after_checks(CHUNK)).collect();
    assert_eq!(all, [281, 416, 483, 500, 500]);
    let few: Vec<_> = (0..5).map(|_| after_checks(10)).collect();
    assert_eq!(few, [273, 142, 77, 44, 28]);
    // A small task changes little.
    turns.found(1, 1);
    assert_eq!(turns.expected(CHUNK), 29);
    assert_eq!(turns.expected(1), 1);
}

#[tokio::test]
async fn others_wait_for_the_first_check_but_no_longer_than_they_are_told() {
    let turns = turns();
    let first = turns.first_check(NEAR).await.expect("nobody is first yet");
    assert!(turns.first_check(Duration::ZERO).await.is_none());
    let (second, ()) = tokio::join!(turns.first_check(Duration::MAX), async {
        turns.found(10, CHUNK);
        drop(first);
    });
    assert!(second.is_none(), "it is known what to expect");
    assert!(turns.first_check(NEAR).await.is_none());
}

#[tokio::test]
async fn where_the_first_check_fails_the_next_is_the_first() {
    let turns = turns();
    let first = turns.first_check(NEAR).await.expect("nobody is first yet");
    let (second, ()) = tokio::join!(turns.first_check(Duration::MAX), async { drop(first) });
    assert!(second.is_some());
}

#[test]
fn time_that_was_not_used_is_not_saved_for_later() {
    let (turns, mut table) = (turns(), Table::default());
    drop(table.turn(&turns, CHUNK, at(0)));
    assert_eq!(table.writes, 1);
    table
        .turn(&turns, CHUNK, at(60_000))
        .expect("granted")
        .use_for(CHUNK);
    assert_eq!(table.writes, 2);
}

#[test]
fn without_a_response_a_process_keeps_to_its_own_pace_and_asks_again_later() {
    let turns = turns();
    let now = at(0);
    assert!(matches!(
        turns.reserve(CHUNK, NEAR, now),
        Reserved::NeedsGrant(_)
    ));
    turns.unanswered(now);
    let mut waits = Vec::new();
    let last = loop {
        match turns.reserve(CHUNK, NEAR, now) {
            Reserved::Turn(turn) => {
                waits.push(turn.wait(now).as_millis());
                turn.use_for(CHUNK);
            }
            last => break last,
        }
    };
    assert_eq!(waits, [0, 0, 200, 400, 600, 800, 1_000]);
    assert!(matches!(last, Reserved::Far), "{last:?}");
    let later = turns.reserve(CHUNK, NEAR, at(5_001));
    assert!(matches!(later, Reserved::NeedsGrant(_)), "{later:?}");
}

#[test]
fn what_is_handed_back_comes_back_in_line_and_never_later_than_ten_minutes() {
    let turns = turns();
    let seconds: Vec<_> = (0..12)
        .map(|_| turns.come_back(CHUNK, NEAR, at(0)).as_secs())
        .collect();
    assert_eq!(seconds, [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2]);
    for _ in 0..4_000 {
        assert!(turns.come_back(CHUNK, NEAR, at(0)) <= LATEST);
    }
    assert!(turns.come_back(CHUNK, NEAR, at(0)) >= LATEST / 2);
    // Once the index is idle, the line is forgotten.
    Table::default()
        .turn(&turns, CHUNK, at(0))
        .expect("granted");
    assert_eq!(turns.come_back(CHUNK, NEAR, at(0)), SOONEST);
}
