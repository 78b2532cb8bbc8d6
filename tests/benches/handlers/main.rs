//! What the handlers cost beside their calls: `cargo bench -p tests --bench handlers`, or with `-- --quick` for a short look.
//!
//! `processor.rs`: the processor time of a request in a handler, beside the same SDK calls bare. Compare figures of one run with
//! each other, and not with those of another machine or hour. `profile.rs`: what the processor does meanwhile. `throughput.rs`: requests and small tasks a second through the
//! local runner, beside what its embedded services take from a bare client.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and one that cannot go on fails there"
)]

mod calls;
mod processor;
mod profile;
mod recorded;
mod requests;
mod throughput;

use clap::{Parser, Subcommand};
use serde_json::Value;
use tests::measure::flags::Flags;
use tests::measure::rows::print;

/// What the handlers cost beside their calls.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    part: Option<Part>,
}

/// One part alone.
#[derive(Debug, Subcommand)]
enum Part {
    /// Processor time of a request
    Processor,
    /// Instructions of a request, and misses of caches, in a model; needs valgrind
    Profile,
    /// Requests and tasks a second
    Throughput,
    /// One figure in a process of its own, for `throughput`
    #[command(hide = true)]
    Load {
        who: throughput::Who,
        what: throughput::What,
        #[arg(long)]
        clients: usize,
        #[arg(long)]
        count: usize,
    },
    /// One endpoint in a process of its own, for `processor`
    #[command(hide = true)]
    Requests {
        endpoint: requests::Endpoint,
        extent: processor::Extent,
        #[arg(long)]
        rounds: usize,
        #[arg(long)]
        times: usize,
        #[arg(long)]
        services: String,
    },
}

fn main() {
    let arguments = Arguments::parse();
    // A function has one thread.
    let mut runtime = match arguments.part {
        Some(Part::Requests { .. }) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build().expect("a runtime");
    runtime.block_on(measure(arguments));
}

async fn measure(arguments: Arguments) {
    let quick = arguments.flags.quick;
    let rows = match arguments.part {
        Some(Part::Requests {
            endpoint,
            extent,
            rounds,
            times,
            services,
        }) => {
            let services: Value = serde_json::from_str(&services).expect("addresses in JSON");
            let measured = processor::requests(endpoint, extent, rounds, times, &services);
            println!("{}", measured.await);
            return;
        }
        Some(Part::Load {
            who,
            what,
            clients,
            count,
        }) => {
            println!("{}", throughput::load(who, what, clients, count).await);
            return;
        }
        _ if !arguments.flags.is_bench("handlers") => return,
        Some(Part::Processor) => processor::measure(quick).await,
        Some(Part::Profile) => profile::measure(quick).await,
        Some(Part::Throughput) => throughput::measure(quick).await,
        None => {
            print(&processor::measure(quick).await, arguments.flags.json);
            print(&throughput::measure(quick).await, arguments.flags.json);
            profile::measure(quick).await
        }
    };
    print(&rows, arguments.flags.json);
}
