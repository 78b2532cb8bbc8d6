//! The contract of all vector stores. The adapters' own tests use it, and so does the program
//! `store-check`, which checks a bridge.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a case that does not hold panics, and whoever runs it says so"
)]

#[allow(missing_docs, reason = "the name of a case says what it checks")]
pub mod contract;
pub mod scratch;
