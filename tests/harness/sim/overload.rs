//! Ten large tasks at once on a store that is too slow for them. All finish, and none fails because
//! it waited or was throttled.

use super::faults::Planner;
use super::index::Rate;
use super::schedule::{Report, on_paused_time, report};
use super::service::{Service, Trust};
use super::world::{World, noon};
use chrono::TimeDelta;
use shared::task::{ChunkLimits, TaskStatus};
use std::time::Duration;

/// How many tasks there are.
const TASKS: usize = 10;
/// How many workers run at once.
const WORKERS: usize = 8;
/// How long a worker's invocation may take.
const TIMEOUT: TimeDelta = TimeDelta::seconds(60);
/// A task that is not done after this time is stuck.
const PATIENCE: TimeDelta = TimeDelta::days(7);

/// The properties of the tasks and the store.
#[derive(Clone, Copy, Debug)]
pub struct Overload {
    /// How many objects each task has.
    pub objects: usize,
    /// The maximum number of objects in a chunk.
    pub chunk: usize,
    /// How many vectors the store deletes in a second.
    pub per_second: u32,
}

/// The result.
#[derive(Debug)]
pub struct Outcome {
    /// The simulation's report.
    pub report: Report,
    /// How long the work took, on the simulation's clock.
    pub took: TimeDelta,
}

/// Creates the tasks, lets workers and sweeper run until the tasks are at rest, and checks them.
/// The index has every second object.
///
/// # Panics
/// When the simulation itself is wrong.
#[must_use]
pub fn play(overload: Overload) -> Outcome {
    on_paused_time(0, async move {
        let world = World::new(0, Planner::Calm);
        let limits = ChunkLimits {
            objects: overload.chunk,
            ..ChunkLimits::default()
        };
        let service = Service::new(&world, limits, 4, Trust::Acknowledgement, None);
        world.with(|state| {
            state.index.rate = Some(Rate::new(overload.per_second, state.now()));
        });
        for task in 0..TASKS {
            let ids: Vec<_> = (0..overload.objects)
                .map(|object| format!("{task}-{object}"))
                .collect();
            world.with(|state| {
                for key in ids.iter().step_by(2) {
                    state.insert_object(key);
                }
            });
            service.run(&format!("task-{task}"), "embed", &ids).await;
        }
        work_until_done(&service).await;
        let took = service.now() - noon();
        world.with(|state| {
            let statuses = state.checks.statuses();
            if let Some((id, status)) = statuses.iter().find(|(_, is)| *is != TaskStatus::Done) {
                state.violated(format!("{id} is {status} and not done"));
            }
        });
        service.recover().await;
        let report = report(0, &world);
        Outcome { report, took }
    })
}

async fn work_until_done(service: &Service) {
    let is_over = |service: &Service| {
        let open = service.world.with(|state| state.checks.open_tasks());
        open.is_empty() || service.is_violated() || service.now() - noon() > PATIENCE
    };
    let mut actors = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        let service = service.clone();
        actors.spawn(async move {
            while !is_over(&service) {
                if !service.invoke(TIMEOUT).await {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        });
    }
    let sweeping = service.clone();
    actors.spawn(async move {
        while !is_over(&sweeping) {
            tokio::time::sleep(Duration::from_secs(60)).await;
            sweeping.sweep().await;
        }
    });
    while actors.join_next().await.is_some() {}
}
