//! The harness that the suite is written with: the whole service in one process on free ports, its API over real HTTP,
//! its worker called message by message, its clock moved by hand, and its calls to AWS counted, held or broken on the
//! wire.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails there"
)]

pub mod bench;
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
pub mod stores;
pub mod tls;
pub mod wire;

pub use seed::{DEMO_INDEX, example, ids, run_body};
pub use service::Service;
