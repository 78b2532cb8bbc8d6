//! The parts of a random schedule.

use super::faults::Chances;
use super::index::Bad;
use super::unsound::Unsound;
use chrono::TimeDelta;
use fastrand::Rng;
use shared::task::ChunkLimits;
use shared::worker::SweepBounds;

/// A task that callers create.
#[derive(Clone, Debug)]
pub(crate) struct TaskShape {
    pub(crate) id: String,
    pub(crate) model: &'static str,
    pub(crate) object_ids: Vec<String>,
    /// The objects that somebody else sends under the same id.
    pub(crate) other_ids: Vec<String>,
}

/// An action of somebody.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Run { task: usize, other: bool },
    Cancel { task: usize, query: String },
    Restart { task: usize, query: String },
    Info { task: usize, query: &'static str },
    List,
    Insert(String),
    Remove(String),
}

/// One random schedule.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// How long there are faults.
    pub(crate) stretch: TimeDelta,
    pub(crate) chances: Chances,
    /// Whether the only faults are throttling, conflicts and an unreliable queue. Then no task may
    /// fail.
    pub(crate) is_gentle: bool,
    pub(crate) tasks: Vec<TaskShape>,
    pub(crate) chunk_limits: ChunkLimits,
    pub(crate) shards: u32,
    /// How much a sweep reads. It is often too little for all tasks.
    pub(crate) sweep_bounds: SweepBounds,
    /// The limit of an index. It is so low that workers have to take turns.
    pub(crate) objects_per_second: Option<u32>,
    /// Objects that are in the index at the start.
    pub(crate) present: Vec<String>,
    pub(crate) bad: Vec<(String, Bad)>,
    pub(crate) unsound: Vec<(String, Unsound)>,
    /// Whether the service reads back what it deleted and does not trust an acknowledgement.
    pub(crate) reads_back: bool,
    pub(crate) acts: Vec<(TimeDelta, Act)>,
    pub(crate) pollers: usize,
    pub(crate) worker_timeout: TimeDelta,
    pub(crate) missed_sweeps: f64,
    pub(crate) lag: Option<TimeDelta>,
    pub(crate) keep_tokens: bool,
    /// How long DynamoDB's transactions hold their items.
    pub(crate) hold: TimeDelta,
    pub(crate) inserted_again: f64,
    pub(crate) inserted_at_once: f64,
    pub(crate) meddlings: u32,
    pub(crate) messages_lost: f64,
    pub(crate) messages_repeated: f64,
    pub(crate) messages_late: TimeDelta,
}

/// The chance of a kind of fault in one schedule. It is often zero and sometimes high.
fn level(rng: &mut Rng, levels: &[f64]) -> f64 {
    if rng.bool() {
        0.0
    } else {
        *rng.choice(levels).unwrap_or(&0.0)
    }
}

const CALLS: &[f64] = &[0.01, 0.03, 0.1, 0.3];
const RARE: &[f64] = &[0.005, 0.02, 0.06];

impl Shape {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let is_gentle = rng.u8(0..6) == 0;
        let is_large = rng.u8(0..3) == 0;
        let mut chances = Chances {
            throttled: level(rng, CALLS),
            store_throttled: level(rng, CALLS),
            conflict: level(rng, CALLS),
            ..Chances::default()
        };
        if !is_gentle {
            chances = Chances {
                unsent: level(rng, CALLS),
                response_lost: level(rng, CALLS),
                failing: level(rng, RARE),
                store_failing: level(rng, CALLS),
                partly: level(rng, CALLS),
                death: level(rng, &[0.01, 0.03, 0.1]),
                slow: level(rng, CALLS),
                very_slow: level(rng, &[0.01, 0.05, 0.2]),
                no_index: level(rng, RARE) / 2.0,
                ..chances
            };
        }
        let stretch = TimeDelta::seconds(rng.i64(60..=900));
        let count = rng.usize(1..=if is_large { 2 } else { 4 });
        let tasks: Vec<_> = (0..count)
            .map(|number| task(rng, number, is_large, is_gentle))
            .collect();
        let objects: Vec<String> = tasks
            .iter()
            .flat_map(|task| task.object_ids.iter().chain(&task.other_ids).cloned())
            .collect();
        let (mostly, seldom) = (rng.f64(), level(rng, &[0.05, 0.3]));
        let unsound = unsound(rng, &objects, is_gentle);
        // An object that never exists is never deleted.
        let is_unsound = |key: &String| unsound.iter().any(|(unsound, _)| unsound == key);
        let present = objects
            .iter()
            .filter(|key| rng.f64() < mostly || is_unsound(key));
        let present = present.cloned().collect();
        let bad = objects.iter().filter(|_| rng.f64() < seldom).cloned();
        let bad: Vec<_> = bad.collect();
        let bad = bad
            .into_iter()
            .map(|key| {
                if rng.bool() {
                    (key, Bad::InEveryCall)
                } else {
                    (key, Bad::InDeletes)
                }
            })
            .collect();
        Self {
            acts: acts(rng, stretch, &tasks, &objects),
            stretch,
            chances,
            is_gentle,
            chunk_limits: ChunkLimits {
                objects: rng.usize(2..=4),
                ..ChunkLimits::default()
            },
            shards: rng.u32(1..=2),
            objects_per_second: rng.bool().then(|| rng.u32(1..=3)),
            present,
            bad,
            reads_back: !unsound.is_empty() || rng.u8(0..4) == 0,
            unsound,
            pollers: rng.usize(1..=3),
            worker_timeout: TimeDelta::seconds(*rng.choice(&[10, 15, 30, 60]).unwrap_or(&30)),
            missed_sweeps: level(rng, &[0.1, 0.5]),
            lag: rng.bool().then(|| TimeDelta::seconds(rng.i64(1..=300))),
            keep_tokens: rng.u8(0..5) == 0,
            hold: TimeDelta::milliseconds(*rng.choice(&[0, 5, 20, 200]).unwrap_or(&0)),
            inserted_again: level(rng, &[0.1, 0.5]),
            // If an object is inserted again after each of two deletes, it is given up.
            inserted_at_once: if is_gentle {
                0.0
            } else {
                level(rng, &[0.1, 0.5])
            },
            meddlings: if rng.bool() { 0 } else { rng.u32(1..=6) },
            messages_lost: level(rng, CALLS),
            messages_repeated: level(rng, CALLS),
            messages_late: TimeDelta::milliseconds(match rng.u8(0..3) {
                0 => 1_000,
                1 => 60_000,
                _ => 10,
            }),
            sweep_bounds: if rng.bool() {
                SweepBounds::default()
            } else {
                SweepBounds {
                    pages: 1,
                    rows: Some(1),
                }
            },
            tasks,
        }
        .with_small_tasks_whole(is_large)
    }

    /// If no task is to be large, gives chunks the same limits as in a deployment.
    fn with_small_tasks_whole(mut self, is_large: bool) -> Self {
        if !is_large {
            self.chunk_limits = ChunkLimits::default();
        }
        self
    }
}

fn task(rng: &mut Rng, number: usize, is_large: bool, is_gentle: bool) -> TaskShape {
    let count = rng.usize(1..=if is_large { 14 } else { 8 });
    let ids = |letter: char, count: usize| -> Vec<String> {
        (0..count)
            .map(|at| format!("{letter}{number}-{at}"))
            .collect()
    };
    TaskShape {
        id: format!("task-{number}"),
        model: if rng.u8(0..25) == 0 && !is_gentle {
            "nowhere"
        } else {
            "embed"
        },
        object_ids: ids('a', count),
        other_ids: ids('b', rng.usize(1..=count)),
    }
}

/// Chooses keys with unsound deletes, in one of three schedules.
fn unsound(rng: &mut Rng, objects: &[String], is_gentle: bool) -> Vec<(String, Unsound)> {
    if rng.u8(0..3) > 0 {
        return Vec::new();
    }
    let chances = [(); 3].map(|()| level(rng, &[0.1, 0.4]));
    let unsound = objects.iter().map(|key| {
        let unsound = Unsound::draw(rng, chances, is_gentle)?;
        Some((key.clone(), unsound))
    });
    unsound.flatten().collect()
}

fn acts(
    rng: &mut Rng,
    stretch: TimeDelta,
    tasks: &[TaskShape],
    objects: &[String],
) -> Vec<(TimeDelta, Act)> {
    let whole = stretch.num_milliseconds();
    let mut acts = Vec::new();
    for task in 0..tasks.len() {
        let start = rng.i64(0..=whole / 3);
        for _ in 0..rng.usize(1..=3) {
            let other = rng.u8(0..5) == 0;
            // The creates come together, or one after the other.
            let most = *rng.choice(&[5, 500, whole / 2]).unwrap_or(&5);
            let at = start + rng.i64(0..=most);
            acts.push((at, Act::Run { task, other }));
        }
    }
    for _ in 0..rng.usize(0..=12) {
        let task = rng.usize(0..tasks.len());
        let mut query = format!("task_id={}", tasks[task].id);
        let attempt = match rng.u8(0..4) {
            0 => format!("&attempt={}", rng.u32(1..=3)),
            _ => String::new(),
        };
        let object = rng.choice(objects).cloned().unwrap_or_default();
        let act = match rng.u8(0..10) {
            0..=1 => {
                query.push_str(&attempt);
                Act::Cancel { task, query }
            }
            2..=4 => {
                if rng.u8(0..3) == 0 {
                    query.push_str("&scope=all");
                }
                query.push_str(&attempt);
                Act::Restart { task, query }
            }
            5..=6 => {
                let query = *rng
                    .choice(&["", "&outcome=all", "&outcome=failed"])
                    .unwrap_or(&"");
                Act::Info { task, query }
            }
            7 => Act::List,
            8 => Act::Remove(object),
            _ => Act::Insert(object),
        };
        acts.push((rng.i64(0..=whole), act));
    }
    for _ in 0..rng.usize(0..=4) {
        let object = rng.choice(objects).cloned().unwrap_or_default();
        acts.push((rng.i64(0..=whole), Act::Insert(object)));
    }
    acts.sort_by_key(|(at, _)| *at);
    acts.into_iter()
        .map(|(at, act)| (TimeDelta::milliseconds(at), act))
        .collect()
}
