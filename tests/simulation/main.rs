//! The service in a simulated world: a fault at every AWS call, and random schedules. See
//! `tests/harness/sim`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails there"
)]

mod boundaries;
mod overload;
mod schedules;
