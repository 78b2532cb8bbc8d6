//! How fast objects go from each vector store: `cargo bench -p tests --bench vectors`, or with
//! `-- --quick` for fewer objects; one part alone with `-- s3vectors`, `-- neighbours`,
//! `-- absent`, `-- postgres` or `-- protocol`. Measuring takes about ten minutes.
//!
//! # Method
//! S3 Vectors (`s3vectors.rs`): a task of 100,000 objects, all of which are in one index, carried
//! out by worker processes of which each has one invocation at a time, as a function does. The
//! embedded server keeps the real service's rates: 2,500 vectors a second, of which it keeps one
//! second's worth when they were not used. *Quota used* is what was deleted between the first and
//! the last delete, against that; the second's worth at the start can take it above 100 %. *End /
//! ideal* is the time from the first delete until the last one has had its time, against that of
//! all objects at the quota. The pace is *shared*, as deployed, by grants from the table; or each
//! worker's *own*, as without DynamoDB's response; or *none*: they only back off when they are
//! refused.
//!
//! Neighbours (`s3vectors.rs`): the local runner with its defaults, whose S3 Vectors keeps these
//! rates. Ten tasks of one object each, one after the other; then a task of 60,000 objects of
//! another index, and until it ends further tasks of one object, one every 300 ms.
//!
//! Absent (`s3vectors.rs`): the same runner; a task of 30,000 objects of which 1,000 are there.
//!
//! PostgreSQL (`postgres.rs`): 200,000 rows with vectors of 128 numbers and an HNSW index, ids as
//! text; 100,000 of them are deleted, all of which are there. Every deletion starts with a fresh
//! copy of the same database (`data.rs`). *The service* is all of it from the request to the end of
//! the task, with DynamoDB and SQS embedded. The baselines (`bare.rs`) are clients of the same run:
//! - *bare*: an existence check and a delete for each 500 ids, five connections at once. No task,
//!   no record, no outcome. Once more with a read sent behind each delete.
//! - *one row at a time*: one connection, 10,000 ids.
//! - *EmbeddingStudio's algorithm*, on its own tables (an object and a part for each id): two
//!   selects of all that the objects hold, then two deletes, each of all ids at once. What
//!   EmbeddingStudio does with the rows in Python is left out, so it is faster here than there.
//!
//! The store protocol (`protocol.rs`): 100,000 objects behind a bridge in this process, whose store
//! is in memory. *The service* is all of it, as above; *bare* is an existence check and a delete
//! for each 500 ids on five connections.
//!
//! The bare client leaves both cores to PostgreSQL, which is busy with it all the time; the service
//! and its embedded services take 0.38 s of the same cores. In AWS DynamoDB, SQS and the database
//! each have machines of their own; what the ratio is there has not been measured. Compare figures
//! of one run with each other, and not with those of another machine or hour.
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
    /// Small tasks beside a large one of another index
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
