//! What the local runner and the command line have in common: an HTTP server on loopback with a
//! guard against pages of other origins, and the console, the page that shows the tasks.
//!
//! The console calls the API under its own origin. The local runner serves both. A program that
//! passes the calls on to a deployed API serves the page, and asks each call for a [`Token`].

pub mod console;
mod server;
pub mod stop;
mod token;

pub use server::{GRACE, Guard, ListenError, Reply, Server, Site, listen, problem};
pub use token::Token;
