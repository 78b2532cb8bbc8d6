//! Runs any number of random schedules of the simulation, or repeats one of them.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a command for a terminal"
)]

use clap::Parser;
use shared::clock::Clock;
use shared::task::MAX_CHUNK_OBJECTS;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tests::sim::overload::{self, Overload};
use tests::sim::{Report, Stats, replay_command, run};

/// Runs the whole service through random schedules: the real handlers over the real AWS SDK
/// clients, against services that fail at random, on a simulated clock.
#[derive(Parser)]
struct Options {
    /// How many schedules to run.
    #[arg(long, default_value_t = 1_000)]
    schedules: u64,
    /// The first seed; each further schedule has the next one.
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// Run only this seed's schedule, and show everything that happens in it.
    #[arg(long, conflicts_with_all = ["schedules", "first_seed"])]
    seed: Option<u64>,
    /// Instead of random schedules, run ten tasks of this many objects at once, on a store that
    /// deletes 2,500 objects a second.
    #[arg(long, value_name = "OBJECTS", conflicts_with_all = ["schedules", "first_seed", "seed"])]
    overload: Option<usize>,
    /// How many schedules run at once.
    #[arg(long, default_value_t = thread::available_parallelism().map_or(1, Into::into))]
    threads: usize,
    /// How many schedules pass between two lines of progress.
    #[arg(long, default_value_t = 1_000)]
    progress: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match (options.overload, options.seed) {
        (Some(objects), _) => overload(objects),
        (None, Some(seed)) => replay(seed),
        (None, None) => run_many(options),
    }
}

fn overload(objects: usize) -> ExitCode {
    let began = Clock::System.now();
    let outcome = overload::play(Overload {
        objects,
        chunk: MAX_CHUNK_OBJECTS,
        per_second: 2_500,
    });
    let Stats { calls, faults, .. } = &outcome.report.stats;
    let (virtually, really) = (outcome.took, Clock::System.now() - began);
    println!("tasks          {:>12}, of {objects} objects", 10);
    println!("AWS calls      {calls:>12}");
    for (kind, count) in faults {
        println!("  {kind:<40} {count:>10}");
    }
    println!(
        "took           {:>12} s on its own clock",
        virtually.num_seconds()
    );
    println!("seconds        {:>12}", really.num_seconds());
    match &outcome.report.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("VIOLATION: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn replay(seed: u64) -> ExitCode {
    let report = run(seed);
    for line in &report.trace {
        println!("{line}");
    }
    println!("seed {seed}, trace {:016x}", report.hash);
    verdict(&report)
}

fn verdict(report: &Report) -> ExitCode {
    match &report.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("VIOLATION in seed {}: {violation}", report.seed);
            println!("Replay it: {}", replay_command(report.seed));
            ExitCode::FAILURE
        }
    }
}

/// State that the threads share.
#[derive(Default)]
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
    sum: Mutex<Sum>,
}

#[derive(Default)]
struct Sum {
    schedules: u64,
    stats: Stats,
    violations: Vec<Report>,
}

fn run_many(options: Options) -> ExitCode {
    let began = Clock::System.now();
    let options = Arc::new(options);
    let shared = Arc::new(Shared::default());
    let threads: Vec<_> = (0..options.threads.max(1))
        .map(|_| {
            let (options, shared) = (Arc::clone(&options), Arc::clone(&shared));
            thread::spawn(move || work(&options, &shared))
        })
        .collect();
    let panicked = threads.into_iter().filter_map(|thread| thread.join().err());
    let panicked = panicked.count();
    let sum = shared.sum.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = (Clock::System.now() - began).num_seconds();
    let Stats {
        calls,
        kills,
        tasks,
        large_tasks,
        given_up_as_kept,
        faults,
    } = &sum.stats;
    println!("schedules      {:>12}", sum.schedules);
    println!("tasks          {tasks:>12}, {large_tasks} of several chunks");
    println!("kept objects   {given_up_as_kept:>12} given up");
    println!("AWS calls      {calls:>12}");
    println!("kills          {kills:>12}");
    println!("faults         {:>12}", faults.values().sum::<u64>());
    for (kind, count) in faults {
        println!("  {kind:<40} {count:>10}");
    }
    println!("seconds        {seconds:>12}");
    let mut code = match panicked {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    };
    for report in &sum.violations {
        code = verdict(report);
    }
    code
}

/// Runs schedules until all are done or one finds a violation.
fn work(options: &Options, shared: &Shared) {
    while !shared.stop.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= options.schedules {
            return;
        }
        let seed = options.first_seed.wrapping_add(number);
        // If a schedule panics, its seed is printed first.
        let report = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
            eprintln!("seed {seed} panicked");
            std::panic::resume_unwind(panic)
        });
        let mut sum = shared.sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.schedules += 1;
        sum.stats.add(&report.stats);
        if sum.schedules.is_multiple_of(options.progress.max(1)) {
            println!("{} schedules, {} calls", sum.schedules, sum.stats.calls);
        }
        if report.violation.is_some() {
            sum.violations.push(report);
            shared.stop.store(true, Ordering::Relaxed);
        }
    }
}
