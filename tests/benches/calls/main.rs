//! Counts what each operation costs: `cargo bench -p tests --bench calls`.
//!
//! With `-- --quick` the task of 100,000 objects is left out.
//!
//! # Method
//! Nothing is timed. The calls to AWS and DynamoDB's request units are counted on the wire. Next to
//! them is the minimum that keeps the invariants (`least.rs`), calculated from what has to be
//! stored. The benchmark itself receives and deletes messages, as Lambda does; these calls are
//! included in the calls to SQS. Unless noted otherwise, a task has 10 UUIDs, of which one is
//! absent. In larger tasks every second object is absent. The tasks' ids are UUIDs, and the model's
//! name has 22 bytes. No transactions conflict. In AWS conflicting ones are refused, billed and
//! sent again.
//!
//! Then come the dollars for a million small tasks (`prices.rs`), next to those of a plain design
//! that is run over the same embedded services in the same run (`plain.rs`).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and one that cannot go on fails there"
)]

mod least;
mod operations;
mod plain;
mod prices;
mod report;
mod service;

use clap::Parser;
use tests::bench::arguments::Flags;
use tests::bench::table::print;

/// What each operation costs.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    if !arguments.flags.is_bench("calls") {
        return;
    }
    let service = service::Metered::start().await;
    let rows = operations::measure(&service, arguments.flags.quick).await;
    let small = rows.iter().find(|row| row.name == operations::SMALL);
    let small = small.expect("the small task").cost.clone();
    let mut costs = vec![("the service".to_owned(), small)];
    for indexes in [2, 1] {
        let plural = if indexes == 1 { "" } else { "es" };
        let name = format!("the plain design, {indexes} index{plural}");
        costs.push((name, plain::measure(&service, indexes).await));
    }
    let mut rows = report::operations(&rows);
    rows.extend(report::dollars(&costs));
    print(&rows, arguments.flags.json);
}
