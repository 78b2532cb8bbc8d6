//! What the local runner and the command line have in common: an HTTP server on loopback with a guard against pages of other
//! origins.

mod server;
pub mod stop;
mod token;

pub use server::{GRACE, Guard, ListenError, Reply, Server, Site, listen, problem};
pub use token::Token;
