//! The kill test: workers are killed (SIGKILL) again and again while they work, and at the end the
//! outcome of every object is compared with the truth.
//!
//! The services are embedded, with DynamoDB on disk. The workers and the sweeper are the built
//! functions, each in a process.
//!
//! - `workers.rs` feeds the workers from the queue and kills them.
//! - `line.rs` is the wire from a worker to the services. It knows at which step the worker was
//!   killed.
//! - `holders.rs` knows under whose claim each delete arrives.
//! - `load.rs` creates tasks, and cancels and restarts some of them.
//! - `truth.rs` compares what the service says with what is true.

mod holders;
mod line;
mod load;
mod report;
mod truth;
mod workers;

pub use report::Report;

use crate::runtime_api::Function;
use crate::wire::Wire;
use crate::{Service, runtime_api};
use holders::Holders;
use load::Known;
use local::{Options, Throttle};
use serde_json::Value;
use shared::clock::{Clock, ManualClock};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// A worker's timeout. It is short, so that the claims of killed workers soon end.
const WORKER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a killed worker's claim may be in force: the timeout and the 10 seconds that a lease
/// lasts beyond it.
const LEASE: Duration = Duration::from_secs(15);
/// How often the sweeper runs.
const SWEEPS: Duration = Duration::from_secs(1);
/// How often progress is reported.
const NEWS: Duration = Duration::from_secs(5);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The minimum number of kills. A kill counts only if it hits a worker in an invocation.
    pub kills: usize,
    /// The seed of all random choices. It does not determine how the processes interleave.
    pub seed: u64,
    /// How many workers there are at a time.
    pub workers: u64,
    /// How long a received message stays invisible, at least and at most. If that is less than
    /// [`LEASE`], the message comes back while the killed worker's claim is in force, and is
    /// dropped. Then only the sweeper recovers the work, a minute or more later.
    visibility: (Duration, Duration),
    /// After how many seconds a canceled task is restarted. Within [`LEASE`], again only the
    /// sweeper recovers the work.
    restart: RangeInclusive<u64>,
    /// Whether workers that fan out a large task are not killed, because the sweeper would need up
    /// to three minutes to recover the fan-out.
    spares_fan_outs: bool,
    /// How long the whole run may take.
    patience: Duration,
}

impl Plan {
    /// A plan with all kinds of kills and recoveries. It takes some minutes.
    pub fn thorough(kills: usize, seed: u64) -> Self {
        Self {
            kills,
            seed,
            workers: 6,
            visibility: (WORKER_TIMEOUT, Duration::from_secs(20)),
            restart: 0..=20,
            spares_fan_outs: false,
            patience: Duration::from_secs(30 * 60),
        }
    }

    /// A plan with only the kills from which the service recovers soon.
    pub fn brief(kills: usize, seed: u64) -> Self {
        Self {
            visibility: (Duration::from_secs(17), Duration::from_secs(18)),
            restart: 16..=17,
            spares_fan_outs: true,
            patience: Duration::from_secs(10 * 60),
            ..Self::thorough(kills, seed)
        }
    }
}

/// State that all parts share.
struct World {
    plan: Plan,
    service: Service,
    tasks: Mutex<Vec<Known>>,
    report: Mutex<Report>,
    holders: Mutex<Holders>,
}

impl World {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().expect("not poisoned")
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<Known>> {
        self.tasks.lock().expect("not poisoned")
    }

    /// Whether more kills are to come.
    fn goes_on(&self) -> bool {
        self.report().kills < self.plan.kills
    }
}

/// Carries out the plan and returns what happened. `tell` gets the progress.
///
/// # Panics
/// When the service breaks a promise. The message says which one.
pub async fn run(plan: Plan, tell: impl Fn(&str)) -> Report {
    let began = Instant::now();
    let data = Directory::new(plan.seed);
    let options = Options {
        data: Some(data.0.clone()),
        worker_concurrency: 0,
        sweep_interval: None,
        ..Options::default()
    };
    tell("building the functions");
    runtime_api::build().await;
    let running = local::start(options).await.expect("the services start");
    let world = Arc::new(World {
        service: Service {
            running,
            wire: Wire::default(),
            // The handlers use the system's clock.
            clock: ManualClock::at(Clock::System.now()),
            throttle: Throttle::default(),
        },
        plan,
        tasks: Mutex::default(),
        report: Mutex::default(),
        holders: Mutex::default(),
    });
    // Killed when dropped, with their processes.
    let mut crew = JoinSet::new();
    for number in 0..world.plan.workers {
        crew.spawn(workers::work(Arc::clone(&world), number));
    }
    crew.spawn(sweep(Arc::clone(&world)));
    tokio::select! {
        () = story(&world, &tell) => {}
        () = news(&world, began, &tell) => {}
        Some(ended) = crew.join_next() => ended.expect("a worker goes on"),
        () = sleep(world.plan.patience) => panic!("not over in time: {}", truth::open(&world).await),
    }
    crew.shutdown().await;
    let mut report = world.report().clone();
    report.took = began.elapsed();
    report
}

async fn story(world: &World, tell: &impl Fn(&str)) {
    tokio::join!(load::feed(world), load::meddle(world), truth::watch(world));
    tell("no more kills: every task is to end by itself");
    truth::all_ended(world).await;
    // A claim of a killed worker may have outlived its task's cancel.
    sleep(LEASE).await;
    tell("all have ended: comparing each object with the truth");
    truth::check_all(world, false).await;
    tell("restarting what was canceled or has failed");
    load::restart_the_rest(world).await;
    truth::all_ended(world).await;
    tell("all have ended again: comparing each object with the truth");
    truth::check_all(world, true).await;
    let dead_letters = world.service.running.dead_letter_queue_url.clone();
    world.report().dead_letters = world.service.waiting(&dead_letters).await;
}

/// Reports the progress, without end.
async fn news(world: &World, began: Instant, tell: &impl Fn(&str)) {
    loop {
        sleep(NEWS).await;
        let ended = world.tasks().iter().filter(|task| task.has_ended()).count();
        let (seconds, tasks) = (began.elapsed().as_secs(), world.tasks().len());
        let (kills, of) = (world.report().kills, world.plan.kills);
        tell(&format!(
            "{seconds} s: {kills} of {of} kills, {ended} of {tasks} tasks have ended"
        ));
    }
}

/// Runs the sweeper again and again.
async fn sweep(world: Arc<World>) {
    let changes = [("LOG_LEVEL", "info".to_owned())];
    let running = &world.service.running;
    let mut sweeper = Function::start_changed("task-sweeper", running, &changes).await;
    let event = runtime_api::event("task-sweeper");
    loop {
        sweeper.invoke(&event).await.expect("the sweeper sweeps");
        let log = sweeper.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let sent = lines
            .filter_map(|line: Value| line["SweeperResends"].as_u64())
            .sum();
        world.report().swept = sent;
        sleep(SWEEPS).await;
    }
}

/// A directory that no other run uses, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(seed: u64) -> Self {
        let name = format!("deletion-tasks-kills-{}-{seed}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
