//! A deterministic simulation.
//!
//! It runs the real handlers over the real AWS SDK clients. Below them there is no network, but a
//! world that owns the time, the faults, the queue and the index.
//!
//! Everything runs on one thread and on tokio's paused clock. So the same seed gives the same run,
//! and hours take milliseconds. DynamoDB is the embedded one, called in the same process.
//!
//! | file | holds |
//! |---|---|
//! | `world.rs` | the state of everything, and which processes live |
//! | `faults.rs` | what happens to a call, by chance or by plan |
//! | `connector.rs` | the path of a call from the SDK to its service and back |
//! | `dynamodb.rs`, `queue.rs`, `index.rs` | the services |
//! | `stream.rs` | the table's stream, the event bus, and the function between them |
//! | `unsound.rs` | deletes that are acknowledged but not carried out, and the store that reports it |
//! | `images.rs` | what is stored, as the checks read it |
//! | `checks/` | what must hold at every write, at every delete, in every response, and at the end |
//! | `service.rs` | the handlers, and processes that run them |
//! | `recovery.rs` | the recovery once faults stop |
//! | `schedule.rs`, `shape.rs` | one random schedule |
//! | `boundary.rs` | one scenario with one fault at one call |
//! | `overload.rs` | ten large tasks on one slow store |

pub mod boundary;
mod checks;
mod connector;
mod dynamodb;
mod faults;
mod images;
mod index;
pub mod overload;
mod queue;
mod recovery;
pub mod schedule;
mod service;
mod shape;
mod stream;
mod unsound;
mod world;

pub use schedule::{Report, replay_command, run, run_believing};
pub use world::Stats;
