//! Measures how fast objects are deleted from each vector store:
//! `cargo bench -p tests --bench vectors`.
//!
//! With `-- --quick` there are fewer objects. `-- s3vectors`, `-- neighbours`, `-- absent`,
//! `-- postgres` or `-- protocol` runs one part alone. Measuring takes about ten minutes.
//!
//! # Method
//! S3 Vectors (`s3vectors.rs`): a task of 100,000 objects, all of which are in one index. Worker
//! processes carry it out, each with one invocation at a time, as in a function. The embedded
//! server has the real service's limit: 2,500 vectors a second. It saves unused capacity for one
//! second at most. *Quota used* is what was deleted between the first and the last delete, relative
//! to the limit; the capacity saved at the start can take it above 100 %. *End / ideal* is the time
//! from the first delete until the last one has had its time, relative to the time of all objects
//! at the limit. The pace is *shared*, as deployed, by grants from the table; or each worker's
//! *own*, as without a response of DynamoDB; or *none*: the workers only back off when they are
//! refused.
//!
//! Neighbours (`s3vectors.rs`): the local runner with its defaults, whose S3 Vectors has the same
//! limit. Ten tasks of one object each run one after the other. Then comes a task of 60,000 objects
//! of another index and, until it ends, a further task of one object every 300 ms.
//!
//! Absent (`s3vectors.rs`): the same runner, with a task of 30,000 objects of which 1,000 exist.
//!
//! PostgreSQL (`postgres.rs`): 200,000 rows with vectors of 128 numbers and an HNSW index, with ids
//! as text. 100,000 existing objects are deleted. Every deletion starts with a fresh copy of the
//! same database (`data.rs`). *The service* is the whole service from the request to the end of the
//! task, with DynamoDB and SQS embedded. The baselines (`bare.rs`) are clients in the same run:
//! - *bare*: an existence check and a delete for each 500 ids, on five connections at once. It has
//!   no task, no record and no outcome. It is measured again with a read sent right after each
//!   delete.
//! - *one row at a time*: one connection, 10,000 ids.
//! - *EmbeddingStudio's algorithm*, on its own tables (an object and a part for each id): two
//!   selects of all the objects' data, then two deletes, each statement with all ids at once. What
//!   EmbeddingStudio does with the rows in Python is left out, so the algorithm is faster here than
//!   in EmbeddingStudio.
//!
//! The store protocol (`protocol.rs`): 100,000 objects behind a bridge in this process, with its
//! store in memory. *The service* is the whole service, as above. *Bare* is an existence check and
//! a delete for each 500 ids on five connections.
//!
//! The bare client leaves both cores to PostgreSQL, which is busy with it all the time. The service
//! and its embedded services take 0.38 s of the same cores. In AWS DynamoDB, SQS and the database
//! each have their own machines; the ratio there has not been measured. Compare only figures of one
//! run, and not figures of different machines or hours.
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
mod postgres;
mod protocol;
mod s3vectors;
mod timed;

use clap::{Parser, Subcommand};
use tests::bench::arguments::Flags;
use tests::bench::table::{Row, print};
use tests::handlers::Addresses;

/// Measure how fast objects are deleted from each vector store.
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
    /// Amazon S3 Vectors, embedded
    S3vectors,
    /// Small tasks during a large one of another index
    Neighbours,
    /// A large task whose objects are mostly absent
    Absent,
    /// PostgreSQL with pgvector
    Postgres,
    /// A store behind the store protocol
    Protocol,
    /// One worker process, for `s3vectors`
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        services: Addresses,
        #[arg(long)]
        pace: s3vectors::Pace,
    },
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let quick = arguments.flags.quick;
    let rows = match arguments.part {
        Some(Part::Worker { services, pace }) => {
            println!("{}", s3vectors::work(&services, pace).await);
            return;
        }
        _ if !arguments.flags.is_bench("vectors") => return,
        Some(Part::S3vectors) => s3vectors::measure(quick).await,
        Some(Part::Neighbours) => s3vectors::neighbours().await,
        Some(Part::Absent) => s3vectors::absent().await,
        Some(Part::Postgres) => postgres::measure(quick).await,
        Some(Part::Protocol) => protocol::measure(quick).await,
        None => {
            let mut rows = s3vectors::measure(quick).await;
            rows.extend(s3vectors::neighbours().await);
            rows.extend(s3vectors::absent().await);
            rows.extend(postgres::measure(quick).await);
            rows.extend(protocol::measure(quick).await);
            rows
        }
    };
    print(&rows, arguments.flags.json);
}
