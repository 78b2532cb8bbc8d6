//! What the service costs at scale: `cargo bench -p tests --bench scale`, or with `-- --quick` for a short look.
//!
//! For tasks of 100 to 100,000 objects: the time and memory of the whole path, its calls to AWS and DynamoDB request units;
//! and the cost of a list page over a small and a large table. Beside each time and each peak stands a baseline of the same
//! run: the same objects through the same embedded services by a client that does no more than it must (`bare.rs`), and
//! the page of the small table. Compare figures of one run with each other, and not with those of another machine or hour.
//!
//! Each figure comes from a process of its own, so that none inherits another's memory: this one only starts them and
//! prints.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and one that cannot go on fails there"
)]

mod alone;
mod bare;
mod pages;
mod report;
mod service;

use clap::{Parser, Subcommand};
use serde_json::Value;
use tests::bench::arguments::Flags;
use tests::bench::process::child;
use tests::bench::table::print;
use tests::handlers::Addresses;

/// What the service costs at scale.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What one process measures.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Part {
    Service {
        #[arg(long)]
        objects: usize,
        #[arg(long)]
        times: usize,
    },
    Bare {
        #[arg(long)]
        objects: usize,
        #[arg(long)]
        times: usize,
    },
    Handlers {
        #[arg(long)]
        objects: usize,
    },
    Half {
        half: alone::Half,
        #[arg(long)]
        objects: usize,
        #[arg(long)]
        services: Addresses,
    },
    Pages {
        #[arg(long)]
        tasks: usize,
        #[arg(long)]
        times: usize,
    },
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(part) => println!("{}", measure(part).await),
        None if !arguments.flags.is_bench("scale") => {}
        None => all(arguments.flags.quick, arguments.flags.json).await,
    }
}

async fn measure(part: Part) -> Value {
    match part {
        Part::Service { objects, times } => service::measure(objects, times).await,
        Part::Bare { objects, times } => bare::measure(objects, times).await,
        Part::Handlers { objects } => alone::measure(objects).await,
        Part::Half {
            half,
            objects,
            services,
        } => alone::run(half, objects, &services).await,
        Part::Pages { tasks, times } => pages::measure(tasks, times).await.into(),
    }
}

/// Measures everything and prints it.
async fn all(quick: bool, json: bool) {
    // Objects, and how often a task of so many is timed. 500 is the largest task that is one item.
    let (sizes, tables, times): (&[_], _, _) = if quick {
        let sizes = &[("100", "21"), ("1000", "11"), ("10000", "5")];
        (sizes, ["1000", "10000"], "5")
    } else {
        let sizes = &[
            ("100", "101"),
            ("500", "101"),
            ("1000", "51"),
            ("10000", "21"),
            ("100000", "7"),
        ];
        (sizes, ["1000", "100000"], "31")
    };
    let mut rows = Vec::new();
    for (objects, times) in sizes {
        for part in ["service", "bare"] {
            eprintln!("{part}, {objects} objects");
            rows.push(child(&[part, "--objects", objects, "--times", times]).await);
        }
        eprintln!("handlers alone, {objects} objects");
        rows.push(child(&["handlers", "--objects", objects]).await);
    }
    for tasks in tables {
        eprintln!("list pages, {tasks} tasks");
        let pages = child(&["pages", "--tasks", tasks, "--times", times]).await;
        rows.extend(pages.as_array().into_iter().flatten().cloned());
    }
    print(&report::rows(&rows), json);
}
