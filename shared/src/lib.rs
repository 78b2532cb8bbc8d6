//! The library that all functions of Deletion Tasks share.
//!
//! | module | holds |
//! |---|---|
//! | [`task`] | the task and its rules: pure, no I/O, no clock |
//! | [`store`] | tasks in DynamoDB: items and guarded writes |
//! | [`queue`] | messages in SQS |
//! | [`vector`] | the vector store port and its adapters |
//! | [`api`] | the five endpoints |
//! | [`worker`] | carrying out messages, and the sweeper |
//! | [`events`] | sends an event for each change of a status |
//! | [`config`], [`clock`], [`aws`], [`telemetry`] | the environment, time, SDK clients, logs |

pub mod api;
pub mod aws;
pub mod clock;
pub mod config;
#[cfg(feature = "events")]
pub mod events;
pub mod queue;
pub mod store;
pub mod task;
pub mod telemetry;
pub mod vector;
pub mod worker;
