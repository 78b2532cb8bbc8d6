//! The test harness.
//!
//! This folder (`tests/harness`) holds tools, not tests: the tests are in `tests/suite` and
//! `tests/simulation`, the benchmarks are in `tests/benches`, and `tests/model` checks a model of
//! the protocol on its own.
//!
//! A test in the suite begins with [`Service::start`], which runs the whole service in one process
//! on free ports. The API is served over real HTTP. The test itself calls the worker and the
//! sweeper, and moves the clock. It can count, hold or break the service's calls to AWS on the
//! wire.
//!
//! | file | what it is | used by |
//! |---|---|---|
//! | `service.rs` | the service, running, and what a test does with it | suite, kills |
//! | `size.rs` | a task begun, of one chunk or of several, for what must hold for both | suite |
//! | `http.rs` | a small HTTP client, and what is asserted of a response | suite, benches |
//! | `wire.rs` | the one interceptor between the SDK's clients and the network, with the suite's faults and holds | all |
//! | `contention.rs` | items held by transactions, as DynamoDB holds them | suite, benches |
//! | `queue.rs` | the one pump: receive a batch, have it carried out, delete what did not fail | all |
//! | `seed.rs` | the one seeder: ids, requests, indexes, tables full of tasks | all |
//! | `handlers.rs` | the one wiring of the handlers, where the local runner's does not do | simulation, benches |
//! | `lines.rs` | lines of log: captured, checked, counted | suite |
//! | `openapi.rs` | the OpenAPI document, read | suite |
//! | `stores.rs` | vector stores that stand before another: a slow one, a wrong one | suite, simulation |
//! | `postgres.rs` | a real PostgreSQL, a proxy before it, and PgBouncer | suite, benches |
//! | `tls.rs` | certificates, and HTTPS before a server | suite, benches |
//! | `runtime_api.rs` | the built functions as processes, under a Lambda Runtime API | suite, kills, benches |
//! | `kills.rs` | workers that are killed while they work, and what is true afterwards | suite, `kill-workers` |
//! | `sim/` | the simulation: a world on one thread with a paused clock, and what must hold in it | `tests/simulation`, `simulate` |
//! | `files.rs` | where files of the repository and of the target directory are | the harness |
//! | `bench.rs` | what the benchmarks share: arguments, tables, meters, processes | benches |
//! | `bin/` | commands that run the kill test and the simulation as long as one likes | people |
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails there"
)]

pub mod bench;
pub mod bridge;
pub mod bus;
pub mod contention;
mod files;
pub mod handlers;
pub mod http;
pub mod kills;
pub mod lines;
pub mod openapi;
pub mod postgres;
pub mod queue;
pub mod runtime_api;
pub mod seed;
mod service;
pub mod sim;
mod size;
pub mod stores;
pub mod tls;
pub mod wire;

pub use seed::{DEMO_INDEX, example, ids, run_body};
pub use service::{Service, as_listed, kill};
pub use size::{Begun, Size};
