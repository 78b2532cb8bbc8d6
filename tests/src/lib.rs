//! The harness that the suite is written with: the whole service in one process on free ports, its API over real HTTP,
//! its worker called message by message, its clock moved by hand, and its calls to AWS counted, held or broken on the
//! wire.

pub mod http;
pub mod runtime_api;
mod service;
pub mod wire;

pub use service::{DEMO_INDEX, Service, example, ids, run_body};
