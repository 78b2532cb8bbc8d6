//! What the store is set to.

use crate::task::ChunkLimits;

/// Where tasks are stored.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The DynamoDB table's name.
    pub table_name: String,
    /// Index partitions a status.
    pub list_shards: u32,
    /// How large a chunk of a task may be. No variable sets it: it follows from what a vector
    /// store's delete and a DynamoDB item take. Tests make it small.
    pub chunk_limits: ChunkLimits,
}
