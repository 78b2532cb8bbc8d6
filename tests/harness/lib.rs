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
//! | `service.rs` | the running service, and what a test does with it | suite, kills |
//! | `size.rs` | a begun task of one chunk or of several, for what must hold for both | suite |
//! | `http.rs` | a small HTTP client, and assertions about a response | suite, benches |
//! | `wire.rs` | the interceptor between the SDK's clients and the network, with the suite's faults and holds | all |
//! | `contention.rs` | transaction conflicts as in DynamoDB | suite, benches |
//! | `queue.rs` | the pump: receive a batch, carry it out, delete the messages that did not fail | all |
//! | `seed.rs` | the test data: ids, requests, indexes, tables full of tasks | all |
//! | `handlers.rs` | the wiring of the handlers, if the local runner's wiring does not fit | simulation, benches |
//! | `lines.rs` | log lines: captured, checked, counted | suite |
//! | `openapi.rs` | a reader of the OpenAPI document | suite |
//! | `stores.rs` | vector stores in front of another: a slow one and a wrong one | suite, simulation |
//! | `postgres.rs` | a real PostgreSQL, a proxy in front of it, and PgBouncer | suite, benches |
//! | `tls.rs` | certificates, and HTTPS in front of a server | suite, benches |
//! | `runtime_api.rs` | the built functions as processes, under a Lambda Runtime API | suite, kills, benches |
//! | `kills.rs` | the kill test: workers are killed while they work, and the outcomes are compared with the truth | suite, `kill-workers` |
//! | `sim/` | the simulation: a world on one thread with a paused clock, and its checks | `tests/simulation`, `simulate` |
//! | `files.rs` | paths in the repository and in the target directory | the harness |
//! | `bench.rs` | code that the benchmarks share: arguments, tables, meters, processes | benches |
//! | `bin/` | commands for longer runs of the kill test and the simulation | people |
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
