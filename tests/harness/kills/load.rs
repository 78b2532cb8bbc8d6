//! The load: small and large tasks, and callers who cancel and restart them.
//!
//! Tasks are created as long as kills are to come. Some of their objects are not in the index.

use super::World;
use crate::run_body;
use fastrand::Rng;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// An object that each index holds and no task names.
pub(super) const BYSTANDER: &str = "bystander";
/// Another task is created when the queue has fewer messages than this.
const BACKLOG: usize = 12;
/// How many tasks are created before the length of the queue counts.
const FIRST_TASKS: usize = 6;
/// The tasks to cancel and restart are chosen among this many that were created last.
const RECENT: usize = 40;

/// A task, and what is true of its objects.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Its id, and the name of its index.
    pub(super) id: String,
    /// Its objects in order, with whether they were in the index when it was created.
    pub(super) objects: Arc<Vec<(String, bool)>>,
    /// How the service last showed the task, and when that response had arrived.
    pub(super) shown: Option<(Instant, Value)>,
}

impl Known {
    pub(super) fn status(&self) -> &str {
        let shown = self.shown.as_ref();
        shown.map_or("", |(_, task)| task["status"].as_str().unwrap_or_default())
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status(), "done" | "failed" | "canceled")
    }
}

/// Creates tasks as long as kills are to come, so that there is always work.
pub(super) async fn feed(world: &World) {
    let mut rng = Rng::with_seed(world.plan.seed ^ 0xfeed);
    let queue = world.service.running.queue_url.clone();
    for number in 0.. {
        while number >= FIRST_TASKS && world.service.waiting(&queue).await >= BACKLOG {
            if !world.goes_on() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        if !world.goes_on() {
            return;
        }
        create(world, number, &mut rng).await;
    }
}

async fn create(world: &World, number: usize, rng: &mut Rng) {
    let is_large = number.is_multiple_of(4);
    let (name, count) = if is_large {
        (format!("large-{number}"), rng.usize(501..=2500))
    } else {
        (format!("small-{number}"), rng.usize(1..=80))
    };
    let objects: Vec<_> = (0..count)
        .map(|object| (format!("{name}-{object}"), rng.f64() < 0.8))
        .collect();
    let present = objects.iter().filter(|(_, present)| *present);
    let mut present: Vec<_> = present.map(|(id, _)| id.as_str()).collect();
    present.push(BYSTANDER);
    world.service.seed(&name, &present).await;
    let ids: Vec<_> = objects.iter().map(|(id, _)| id.clone()).collect();
    world.tasks().push(Known {
        id: name.clone(),
        objects: Arc::new(objects),
        shown: None,
    });
    world.report().created(is_large);
    let began = Instant::now();
    let reply = world.service.run(&run_body(&name, &name, &ids)).await;
    world.observe(began, &reply.ok());
}

/// Cancels and restarts tasks as long as kills are to come. Half of the canceled tasks are left for
/// [`restart_the_rest`].
pub(super) async fn meddle(world: &World) {
    let mut rng = Rng::with_seed(world.plan.seed ^ 0xca9ce1);
    let mut canceled = BTreeSet::new();
    let mut due: Vec<(Instant, String)> = Vec::new();
    while world.goes_on() {
        sleep(Duration::from_millis(rng.u64(200..800))).await;
        let now = Instant::now();
        for (_, id) in due.extract_if(.., |(at, _)| *at <= now) {
            canceled.remove(&id);
            restart(world, &id).await;
        }
        let Some(id) = recent(world, &mut rng).filter(|id| !canceled.contains(id)) else {
            continue;
        };
        let began = Instant::now();
        let reply = world.service.cancel(&format!("task_id={id}")).await;
        if reply.status == 200 {
            world.observe(began, &reply.ok());
            world.report().controls.0 += 1;
            if rng.bool() {
                let wait = Duration::from_secs(rng.u64(world.plan.restart.clone()));
                due.push((now + wait, id.clone()));
            }
            canceled.insert(id);
        } else {
            // The task has already ended.
            reply.problem(409);
            if rng.u8(0..4) == 0 {
                restart(world, &id).await;
            }
        }
    }
}

fn recent(world: &World, rng: &mut Rng) -> Option<String> {
    let tasks = world.tasks();
    let created = tasks.iter().rev().filter(|task| task.shown.is_some());
    let recent: Vec<_> = created.take(RECENT).map(|task| task.id.clone()).collect();
    rng.choice(recent)
}

async fn restart(world: &World, id: &str) {
    let began = Instant::now();
    let reply = world.service.restart(&format!("task_id={id}")).await;
    world.observe(began, &reply.ok());
    world.report().controls.1 += 1;
}

/// Restarts every task that is canceled or has failed.
pub(super) async fn restart_the_rest(world: &World) {
    let tasks = world.tasks().clone();
    for task in tasks {
        match task.status() {
            "failed" => world.report().failed += 1,
            "canceled" => {}
            _ => continue,
        }
        restart(world, &task.id).await;
    }
}
