//! Deletion Tasks on one machine: DynamoDB, SQS and S3 Vectors embedded and served on loopback, the
//! five endpoints behind an HTTP server, the worker behind the queue, and the sweeper on its
//! schedule.
//!
//! Each listener is a server of the crate `web`, behind its guard. That crate also serves the
//! console at `/`.
//!
//! The handlers are the deployed ones. They reach the services through the AWS SDK and do not know
//! that they run locally.
//!
//! | file | replaces |
//! |---|---|
//! | `http.rs` | API Gateway and the five functions |
//! | `event_source.rs` | Lambda's event source mapping from SQS to the worker |
//! | `stream_source.rs` | Lambda's event source mapping from the table's stream to the function that sends events |
//! | `schedule.rs` | EventBridge Scheduler |
//! | `embedded/` | DynamoDB, SQS, S3 Vectors |
//! | `docs.rs` | nothing: it serves the API's document, and Swagger UI to try it |
//! | `running.rs` | `template.yaml`: it wires everything |

pub mod cli;
mod docs;
mod embedded;
mod error;
mod event_source;
mod http;
pub mod logs;
mod options;
pub mod output;
mod running;
mod schedule;
pub mod signals;
mod stream_source;

pub use error::StartError;
pub use options::{DEFAULT_VECTOR_STORES, Events, Options, Ports, Throttle};
pub use running::{Clients, Handlers, NAME, Running, start};
