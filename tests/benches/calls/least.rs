//! The minimum that keeps the invariants: calls, and DynamoDB's request units.
//!
//! Nothing here comes from a measurement, except the sizes of the rows that a list page shows.
//!
//! An object needs 16 bytes of storage, the size of a UUID. The rest of an item is assumed to fit
//! beside the ids. Calls and units are each a minimum on their own. Both minimums at once may not
//! be possible.
//! | operation | the minimum | because |
//! |---|---|---|
//! | create | 1 put, its item and an index row; 1 message | the put is the commit point; a pending task must be in lists and be found by the sweeper |
//! | create, repeated | the refused put | the condition is the only proof that nobody has the id. A read before it would be cheaper for the repeated create, and one call more for every other |
//! | info | 1 strongly consistent read | it never shows a state older than one already shown |
//! | cancel, restart | 1 update, and 2 units for the row | the status is the index's partition, so the row is removed and written |
//! | a task of one item | create; 1 read; claim and settlement, each an update and 2 units for the row | what was seen must be durable before the first delete, the outcomes after it, and lists show `processing`. A message is acknowledged because of the read, so the read is strongly consistent |
//! | fan-out | 1 read; 1 update, and 2 units for the row; a send for ten chunks | before the first one no chunk has a state, so none is read |
//! | a chunk: claim | an update of its small item; a read of the task after it, which all chunks of a batch of messages share | after a cancel commits no claim makes a delete call. A transaction with a condition on the task would need no read, cost 4 units instead of 1, and be refused while another one is in progress on the task |
//! | a chunk: settlement | a transaction of its small item and the task's, 2 units each, and 1 for the row; all chunks of a batch of messages share the task's part | outcomes and counters move together, and the row shows them. The last settlement moves the row: 1 more |
//! | a chunk: reads | the task and the states, which all chunks of a batch of messages share; its ids at half price | ids never change, so an eventually consistent read would do |
//! | a list page | a query for each partition (four shards a status); the rows shown, by partition, at half price | the newest row of a partition is not known before a query |
//!
//! # What the service takes above it
//! - A task of one item pays for its ids with each write. Up to 20 UUIDs this costs nothing,
//!   because everything fits in one unit. With 500 UUIDs the item is a little over 8 KB, so each of
//!   its three writes takes 9 units instead of 8, and the read takes 3 instead of 2. As a large
//!   task of one chunk it would take 23 write units instead of 32, but one message, one invocation
//!   and six calls more. That would save about $3.50 a million tasks at 500 objects and nothing
//!   below 300, and each task would wait for one more message. It was not done.
//! - Chunks of a batch share reads of the task and settlements only if they reach them at the same
//!   time. Each chunk reads its ids and state on its own. No chunk waits for the others.
//! - The last chunk's settlement is calculated twice if other chunks have settled since it read the
//!   task: 4 units a task. A create of many chunks first checks for an existing task (1 read unit),
//!   so that a repeated create does not write all ids again.
//! - A chunk's ids are read strongly consistently, in one call with its state. This costs 1 read
//!   unit a chunk, $0.13 a million chunks, and saves a call.
//! - A list page queries the partitions with the rows twice, because it fetches few rows at first.
//!   Seven more queries cost one read unit more.
//! - A small task could take seven units instead of eight if `pending` and `processing` shared a
//!   partition of the index, so that the claim would change its row in place. A list of one of the
//!   two would then read and skip the other's rows, as many as the backlog has. It was not done.

use tests::bench::units::{read_units, write_units};

/// Bytes of an id that cannot be compressed.
const ID: usize = 16;
/// Objects in a chunk, which is what one DeleteVectors accepts, and keys in a GetVectors.
const CHUNK: usize = 500;
const LOOK: usize = 100;
/// Items of a BatchWriteItem, and messages of a batch.
const ITEMS: usize = 25;
const MESSAGES: usize = 10;

/// The units of a new index row, or of one that keeps its key. A row whose key changes is removed
/// and written.
const ROW: f64 = 1.0;
const MOVED_ROW: f64 = 2.0;
/// The units of a small item that is written or checked in a transaction.
const IN_TRANSACTION: f64 = 2.0;
/// The units of a write, and of a read, of a small item.
const SMALL_ITEM: f64 = 1.0;
/// The cost of an eventually consistent read, relative to a strongly consistent one.
const EVENTUAL: f64 = 0.5;

/// The minimum for an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Least {
    pub(crate) dynamodb: usize,
    pub(crate) sqs: usize,
    pub(crate) s3vectors: usize,
    pub(crate) read: f64,
    pub(crate) write: f64,
}

impl Least {
    fn and(self, other: Self) -> Self {
        Self {
            dynamodb: self.dynamodb + other.dynamodb,
            sqs: self.sqs + other.sqs,
            s3vectors: self.s3vectors + other.s3vectors,
            read: self.read + other.read,
            write: self.write + other.write,
        }
    }
}

/// A create of one item: a put, which is the commit point, its row, and a message.
pub(crate) fn create(objects: usize) -> Least {
    Least {
        dynamodb: 1,
        sqs: 1,
        write: write_units(ID * objects) + ROW,
        ..Least::default()
    }
}

/// A repeated create: a put that is refused and returns the task.
pub(crate) fn repeated_create(objects: usize) -> Least {
    Least {
        dynamodb: 1,
        write: write_units(ID * objects),
        ..Least::default()
    }
}

/// The `/info` of a task of one item: a strongly consistent read.
pub(crate) fn info(objects: usize) -> Least {
    Least {
        dynamodb: 1,
        read: read_units(ID * objects),
        ..Least::default()
    }
}

/// A list page: one query for each partition, and the reads of the rows shown. `partitions` has the
/// bytes shown of each partition.
pub(crate) fn list(partitions: &[usize]) -> Least {
    let reads = partitions.iter().map(|bytes| read_units(*bytes) * EVENTUAL);
    Least {
        dynamodb: partitions.len(),
        read: reads.sum(),
        ..Least::default()
    }
}

/// A cancel of a task of one item: an update that changes its status and therefore the key of its
/// row.
pub(crate) fn cancel(objects: usize) -> Least {
    Least {
        dynamodb: 1,
        write: write_units(ID * objects) + MOVED_ROW,
        ..Least::default()
    }
}

/// A restart: as a cancel, and a message.
pub(crate) fn restart(objects: usize) -> Least {
    Least {
        sqs: 1,
        ..cancel(objects)
    }
}

/// Receiving a batch of messages, and deleting it.
fn delivery() -> Least {
    Least {
        sqs: 2,
        ..Least::default()
    }
}

/// The calls to the vector store for a chunk.
fn vectors(objects: usize, present: usize) -> Least {
    Least {
        s3vectors: objects.div_ceil(LOOK) + present.div_ceil(CHUNK),
        ..Least::default()
    }
}

/// A task of one item from its create to its end: the read that decides about the message, the
/// claim with what was seen before the first delete, and the settlement after it. Claim and
/// settlement both change the status.
pub(crate) fn whole_task(objects: usize, present: usize) -> Least {
    let update = cancel(objects);
    let carried_out = info(objects).and(update).and(update);
    create(objects)
        .and(delivery())
        .and(carried_out)
        .and(vectors(objects, present))
}

/// A batch of messages, each for a chunk of one task: the reads of the task, of the ids (eventually
/// consistent, because ids never change) and of the states; the claims, and a read of the task
/// after them; and the settlement, a transaction with the task's counters and their row.
fn delivered_chunks(sizes: &[usize], present: impl Fn(usize) -> usize) -> Least {
    let shared = Least {
        dynamodb: 4,
        read: 2.0 * SMALL_ITEM,
        write: IN_TRANSACTION + ROW,
        ..Least::default()
    };
    sizes.iter().fold(delivery().and(shared), |sum, size| {
        let chunk = Least {
            dynamodb: 1,
            read: read_units(ID * size) * EVENTUAL + SMALL_ITEM,
            write: SMALL_ITEM + IN_TRANSACTION,
            ..vectors(*size, present(*size))
        };
        sum.and(chunk)
    })
}

/// The message of one chunk on its own.
pub(crate) fn delivered_chunk(objects: usize, present: usize) -> Least {
    delivered_chunks(&[objects], |_| present)
}

/// A task of several chunks from its create to its end. The last settlement moves the row.
pub(crate) fn large_task(objects: usize, present: usize) -> Least {
    let chunks = objects.div_ceil(CHUNK);
    let sizes = (0..chunks).map(|number| (objects - number * CHUNK).min(CHUNK));
    let sizes: Vec<_> = sizes.collect();
    let create = Least {
        dynamodb: chunks.div_ceil(ITEMS) + 1,
        sqs: 1,
        write: sizes.iter().map(|size| write_units(ID * size)).sum::<f64>() + SMALL_ITEM + ROW,
        ..Least::default()
    };
    let fan_out = Least {
        dynamodb: 2,
        sqs: chunks.div_ceil(MESSAGES),
        read: SMALL_ITEM,
        write: SMALL_ITEM + MOVED_ROW,
        ..Least::default()
    };
    let ended = Least {
        write: MOVED_ROW - ROW,
        ..Least::default()
    };
    let fixed = create.and(delivery()).and(fan_out).and(ended);
    sizes.chunks(MESSAGES).fold(fixed, |sum, sizes| {
        sum.and(delivered_chunks(sizes, |size| present * size / objects))
    })
}
