//! Measures what the service costs at scale: `cargo bench -p tests --bench scale`.
//!
//! With `-- --quick` there are fewer sizes. Measuring takes about two minutes.
//!
//! # Method
//! Everything is embedded in one process, as with `cargo run`: there is no network and no
//! throttling, and DynamoDB does one thing at a time. So the times show how the work grows and what
//! the service adds, not how long AWS takes. Calls and request units are what AWS would see, with
//! one exception: transactions never conflict here. In AWS conflicting ones are refused, billed and
//! sent again. Object ids are UUIDs, and every second one is in the index. Each figure has a
//! process of its own, so that none inherits another's memory. The main process only starts them
//! and prints.
//!
//! - *The baseline* (`bare.rs`) is measured in the same run. A bare client moves the same objects
//!   through the same embedded services with the same batch sizes and concurrency, with as few
//!   calls as possible. For a list page the baseline is the page of the small table. Compare only
//!   figures of one run, and not figures of different machines or hours.
//! - *Seconds* (`service.rs`) are medians: until `/run` has responded, and until queue, worker and
//!   store have done the task. The end is seen up to a millisecond late, or up to a fiftieth of the
//!   time if that is more. *Processor* is the processor time of all threads of the process. It is
//!   disturbed far less. Exponents are fitted by least squares on the logarithms. A small task is
//!   mostly fixed cost, which is why exponents are below 1.
//! - *Memory* (`alone.rs`) is the peak of the resident memory (`VmHWM`): of everything in one
//!   process, and of halves of the work in separate processes, as in Lambda. A half is the handler
//!   with the code that calls it, without the Lambda runtime, one invocation at a time. *Before* is
//!   what was resident when the work began.
//! - *Request units* are the `ConsumedCapacity` that the embedded DynamoDB reports, including the
//!   index. Refused writes are calculated from the item that refused them. The units of puts, gets
//!   and queries are also calculated by the rules of the developer guide; *differing* counts the
//!   responses that disagree. If two chunks are processed at once, their order makes a difference
//!   of a few units. Updates and transactions were calculated by hand for 500 objects (claim 9 + 2,
//!   settle 9 + 2) and for 1,000.
//! - *List pages* (`pages.rs`) come from a table filled with copies of tasks that the service made
//!   (20 objects, half of them absent, so a row is about half a KB): 90 % done, 4 % failed, 3 %
//!   canceled, 2 % pending, 1 % processing. One in a hundred is of the model `rare`. The middle
//!   page and the last page are found by walking. The small table has only one page of `rare`, so
//!   its middle page and its last page are what follows that page.
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
mod backlog;
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

/// Measure what the service costs at scale.
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
    Backlog {
        #[arg(long, default_value_t = 1_000_000)]
        tasks: usize,
        #[arg(long, default_value_t = 20)]
        sweeps: usize,
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
        Part::Backlog { tasks, sweeps } => backlog::measure(tasks, sweeps).await,
        Part::Pages { tasks, times } => pages::measure(tasks, times).await.into(),
    }
}

/// Measures everything and prints it.
async fn all(quick: bool, json: bool) {
    // The sizes in objects, the sizes of tables, and how often each is timed. 500 objects is the
    // largest task of one item.
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
