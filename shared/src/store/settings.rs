//! The settings of the store.

use crate::task::ChunkLimits;

/// The place where tasks are stored, and how.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The DynamoDB table's name.
    pub table_name: String,
    /// Index partitions for each status.
    pub list_shards: u32,
    /// The largest size of a chunk.
    ///
    /// No variable sets it: it follows from the limits of a vector store's delete and of a DynamoDB
    /// item. Tests make it small.
    pub chunk_limits: ChunkLimits,
}
