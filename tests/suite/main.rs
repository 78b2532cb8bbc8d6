//! The tests of the whole service. There is one file per subject, and each test is independent.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails there"
)]

mod attribution;
mod bad_input;
mod calls;
mod claims;
mod events;
mod faults;
mod functions;
mod grants;
mod idempotency;
mod info;
mod kept;
mod kills;
mod large;
mod lifecycle;
mod lists;
mod metrics;
mod neighbours;
mod openapi;
mod races;
mod redelivery;
mod stores;
mod sweeps;
mod vectors;
