//! Tests of the built command line against the whole service in this process: its output, its exit
//! status, and its effects.
#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails there"
)]

mod change;
mod console;
mod create;
mod reach;
mod service;
mod show;

/// How many of [`long_ids`] fill a request.
const FULL: usize = 5_714;

/// Ids of the greatest length.
fn long_ids(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{number:0>1024}"))
        .collect()
}
