//! The vector store port: check which of these ids exist; delete these ids, and report what became
//! of each.
//!
//! `port.rs` is the port, `stores.rs` reads `VECTOR_STORES` and opens the store of a model.
//! `pace.rs` and `turns.rs` keep to the rate limit of an index. Each folder, with the file of the
//! same name, is an adapter, chosen by the URL's scheme. An adapter handles the limits, connections
//! and timeouts of its service, and sorts the service's errors by meaning.

mod pace;
mod password;
mod port;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "store-protocol")]
mod protocol;
#[cfg(feature = "s3vectors")]
mod s3vectors;
#[cfg(all(
    feature = "secrets-manager",
    any(feature = "postgres", feature = "store-protocol")
))]
mod secret;
mod stores;
mod turns;
#[cfg(any(
    feature = "s3vectors",
    feature = "postgres",
    feature = "store-protocol"
))]
mod url_parts;

pub use password::Password;
pub use port::{AfterDelete, Presence, Services, VectorError, VectorErrorKind, VectorStore};
pub use stores::{Index, VectorStoreRules, VectorStores};
pub use turns::{Needed, Reserved, Turn, Turns};
