//! What the local runner and the command line share: an HTTP server on loopback with a guard
//! against pages of other origins, and the console, the page that shows the tasks.
//!
//! The console calls the API under its own origin. The local runner serves both. A program that
//! forwards the calls to a deployed API serves the page, and requires a [`Token`] in each call.

pub mod console;
mod server;
pub mod stop;
mod token;

pub use server::{GRACE, Guard, ListenError, Reply, Server, Site, listen, problem};
pub use token::Token;
