//! One random schedule: callers, workers, sweepers and others run with faults. Then the faults
//! stop, and everything that must hold is checked.

use super::faults::Planner;
use super::service::{Service, Trust};
use super::shape::{Act, Shape};
use super::unsound::UnsoundKey;
use super::world::{Stats, World, noon};
use chrono::TimeDelta;
use shared::task::TaskStatus;
use std::time::Duration;
use tokio::sync::mpsc;

/// The result of a schedule.
#[derive(Debug)]
pub struct Report {
    /// The seed of the schedule.
    pub seed: u64,
    /// The first violation, if there was one.
    pub violation: Option<String>,
    /// What was done.
    pub stats: Stats,
    /// A hash of the events. Two runs have the same hash only if the same things happened in them.
    pub hash: u64,
    /// Everything that happened, one line per event.
    pub trace: Vec<String>,
}

/// The command that repeats this seed's schedule and shows all its events.
#[must_use]
pub fn replay_command(seed: u64) -> String {
    format!("cargo run --profile simulate -p tests --bin simulate -- --seed {seed}")
}

/// Runs the schedule of this seed, on this thread.
///
/// # Panics
/// When the simulation itself is wrong.
#[must_use]
pub fn run(seed: u64) -> Report {
    run_with(seed, Trust::ReadBack)
}

/// Runs the schedule of this seed with a faulty service: if it reads back what it deleted, it
/// counts the object as deleted whatever it finds.
///
/// # Panics
/// When the simulation itself is wrong.
#[must_use]
pub fn run_believing(seed: u64) -> Report {
    run_with(seed, Trust::Anything)
}

fn run_with(seed: u64, read_back: Trust) -> Report {
    on_paused_time(seed, async move {
        let world = World::new(seed, Planner::Calm);
        let shape = world.with(|state| Shape::draw(&mut state.rng));
        let trust = if shape.reads_back {
            read_back
        } else {
            Trust::Acknowledgement
        };
        play(&world, shape, trust).await;
        report(seed, &world)
    })
}

/// Runs `simulation` on a clock that advances when all tasks wait. The SDK and the worker draw
/// their jitter from the thread's generator, so that generator gets the seed.
pub(super) fn on_paused_time<T>(seed: u64, simulation: impl Future<Output = T>) -> T {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(simulation)
}

pub(super) fn report(seed: u64, world: &World) -> Report {
    world.with(|state| {
        let statuses = state.checks.statuses();
        state.stats.tasks = u64::try_from(statuses.len()).unwrap_or(0);
        state.stats.large_tasks = u64::try_from(state.checks.large_tasks()).unwrap_or(0);
        state.stats.given_up_as_kept = state.checks.given_up_as_kept;
        Report {
            seed,
            violation: state.violation().map(str::to_owned),
            stats: state.stats.clone(),
            hash: state.hash(),
            trace: state.take_trace(),
        }
    })
}

async fn play(world: &World, shape: Shape, trust: Trust) {
    let service = Service::new(
        world,
        shape.chunk_limits,
        shape.shards,
        trust,
        shape.objects_per_second,
    );
    let service = service.sweeping(shape.sweep_bounds);
    let (meddler, mut deletes) = mpsc::unbounded_channel();
    world.with(|state| {
        state.note(0, &format!("{shape:?}"));
        for key in &shape.present {
            state.insert_object(key);
        }
        state.checks.bad = shape.bad.iter().map(|(key, _)| key.clone()).collect();
        state.index.bad = shape.bad.iter().cloned().collect();
        let unsound = shape.unsound.iter().cloned();
        let unsound = unsound.map(|(key, unsound)| (key, UnsoundKey::new(unsound)));
        state.index.unsound = unsound.collect();
        state.planner = Planner::Chances(shape.chances);
        state.inserted_again = shape.inserted_again;
        state.inserted_at_once = shape.inserted_at_once;
        state.meddler = Some(meddler);
        state.meddlings = shape.meddlings;
        state.queue.lost = shape.messages_lost;
        state.queue.repeated = shape.messages_repeated;
        state.queue.late = shape.messages_late;
        state.table.keep_tokens = shape.keep_tokens;
        state.table.hold = shape.hold;
        if let Some(lag) = shape.lag {
            state.table.lag(lag);
        }
    });
    let end = noon() + shape.stretch;
    let mut actors = tokio::task::JoinSet::new();
    for number in 0..shape.pollers {
        let (service, timeout) = (service.clone(), shape.worker_timeout);
        actors.spawn(async move {
            tokio::time::sleep(Duration::from_millis(number as u64 * 7)).await;
            while service.now() < end && !service.is_violated() {
                service.invoke(timeout).await;
                let wait = service.world.with(|state| {
                    let next = state
                        .queue
                        .next_visible()
                        .map_or(TimeDelta::MAX, |at| at - state.now());
                    let most = state.rng.i64(100..=5_000);
                    next.num_milliseconds().clamp(1, most)
                });
                tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(1))).await;
            }
        });
    }
    let (sweeping, missed) = (service.clone(), shape.missed_sweeps);
    actors.spawn(async move {
        while sweeping.now() < end && !sweeping.is_violated() {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let nothing_to_do = sweeping.world.with(|state| {
                let quiet = state.checks.open_tasks().is_empty() && !state.chance(0.1);
                quiet || state.chance(missed)
            });
            if !nothing_to_do {
                sweeping.sweep().await;
            }
        }
    });
    let telling = service.clone();
    actors.spawn(async move {
        while telling.now() < end && !telling.is_violated() {
            telling.tell().await;
            let wait = telling.world.with(|state| state.rng.u64(100..=20_000));
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    });
    let meddling = service.clone();
    actors.spawn(async move {
        while let Some(task) = deletes.recv().await {
            meddle(&meddling, &task).await;
        }
    });
    for (at, act) in &shape.acts {
        service.wait_until(noon() + *at).await;
        let (service, act, task) = (service.clone(), act.clone(), task_of(&shape, act));
        actors.spawn(async move { perform(&service, act, task).await });
    }
    service.wait_until(end).await;
    world.with(super::world::State::heal);
    while actors.join_next().await.is_some() {}
    service.recover().await;
    if shape.is_gentle {
        world.with(|state| {
            let statuses = state.checks.statuses();
            let failed = statuses
                .iter()
                .find(|(_, status)| *status == TaskStatus::Failed);
            if let Some((id, _)) = failed {
                state.violated(format!(
                    "{id} has failed though nothing but throttling befell it"
                ));
            }
        });
    }
    // Restart the objects that were not deleted, or all objects. This is the last moment at which
    // the objects that a dead worker left get their outcomes.
    let all = world.with(|state| state.rng.bool());
    for (id, status) in world.with(|state| state.checks.statuses()) {
        if !all && status == TaskStatus::Done {
            continue;
        }
        let scope = if all { "&scope=all" } else { "" };
        let path = format!("restart?task_id={id}{scope}");
        service.shows(&id, "PUT", &path, None).await;
    }
    service.recover().await;
}

/// Cancels a task right after a delete of one of its objects, and usually restarts it.
async fn meddle(service: &Service, id: &str) {
    let restart = service.world.with(|state| {
        state.fault("canceled right after a delete");
        state.rng.u8(0..3)
    });
    let query = format!("task_id={id}");
    let cancel = format!("cancel?{query}");
    service.shows(id, "PUT", &cancel, None).await;
    let restart = match restart {
        0 => return,
        1 => format!("restart?{query}"),
        _ => format!("restart?{query}&scope=all"),
    };
    service.shows(id, "PUT", &restart, None).await;
}

fn task_of(shape: &Shape, act: &Act) -> Option<super::shape::TaskShape> {
    match act {
        Act::Run { task, .. }
        | Act::Cancel { task, .. }
        | Act::Restart { task, .. }
        | Act::Info { task, .. } => shape.tasks.get(*task).cloned(),
        Act::List | Act::Insert(_) | Act::Remove(_) => None,
    }
}

async fn perform(service: &Service, act: Act, task: Option<super::shape::TaskShape>) {
    match (act, task) {
        (Act::Run { other, .. }, Some(task)) => {
            let ids = if other {
                &task.other_ids
            } else {
                &task.object_ids
            };
            service.run(&task.id, task.model, ids).await;
        }
        (Act::Cancel { query, .. }, Some(task)) => {
            service
                .shows(&task.id, "PUT", &format!("cancel?{query}"), None)
                .await;
        }
        (Act::Restart { query, .. }, Some(task)) => {
            service
                .shows(&task.id, "PUT", &format!("restart?{query}"), None)
                .await;
        }
        (Act::Info { query, .. }, Some(task)) => {
            let path = format!("info?task_id={}{query}", task.id);
            service.shows(&task.id, "GET", &path, None).await;
        }
        (Act::List, _) => {
            service.call("GET", "list?limit=2", None).await;
        }
        (Act::Insert(key), _) => service.world.with(|state| state.insert_object(&key)),
        (Act::Remove(key), _) => service.world.with(|state| state.remove_object(&key)),
        (Act::Run { .. } | Act::Cancel { .. } | Act::Restart { .. } | Act::Info { .. }, None) => {}
    }
}
