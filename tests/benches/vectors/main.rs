//! How fast objects go from each vector store: `cargo bench -p tests --bench vectors`, or with `-- --quick` for a short look; one
//! store alone with `-- s3vectors` or `-- postgres`.
//!
//! S3 Vectors (`s3vectors.rs`): how much of an index's quota worker processes use, one and several at once, and how many of
//! their calls are refused, against the embedded server, which keeps the real service's rates.
//!
//! PostgreSQL (`postgres.rs`): ids deleted a second from a table with an HNSW index, by the whole service and by bare clients of the
//! same run (`bare.rs`). Compare figures of one run with each other, and not with those of another machine or hour.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and one that cannot go on fails there"
)]

mod bare;
mod data;
mod meter;
mod postgres;
mod s3vectors;

use clap::{Parser, Subcommand};
use tests::bench::arguments::Flags;
use tests::bench::table::{Row, print};
use tests::handlers::Addresses;

/// How fast objects go from each vector store.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    part: Option<Part>,
}

/// One store alone.
#[derive(Debug, Subcommand)]
enum Part {
    /// Amazon S3 Vectors, embedded
    S3vectors,
    /// PostgreSQL with pgvector
    Postgres,
    /// One worker process, for `s3vectors`
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        services: Addresses,
    },
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let quick = arguments.flags.quick;
    let rows = match arguments.part {
        Some(Part::Worker { services }) => {
            println!("{}", s3vectors::work(&services).await);
            return;
        }
        _ if !arguments.flags.is_bench("vectors") => return,
        Some(Part::S3vectors) => s3vectors::measure(quick).await,
        Some(Part::Postgres) => postgres::measure(quick).await,
        None => {
            let mut rows = s3vectors::measure(quick).await;
            rows.extend(postgres::measure(quick).await);
            rows
        }
    };
    print(&rows, arguments.flags.json);
}
