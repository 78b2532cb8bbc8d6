//! The least that keeps the invariants: calls, and DynamoDB's request units. Nothing here is taken
//! from what was measured, but for the sizes of the rows that a list page shows.
//!
//! What must be stored of an object is 16 bytes, as many as a UUID has; all else of an item is
//! taken to fit beside it. Calls and units are each the least by themselves, though both at once
//! may not be possible.
//!
//! | operation | the least | because |
//! |---|---|---|
//! | create | 1 put, its item and an index row; 1 message | the put is the commit point; a pending task must be in lists and be found by the sweeper |
//! | create, repeated | the refused put | the condition is the only proof that nobody has the id. A read before it would be cheaper for the repeated create, and a call more for every other |
//! | info | 1 strongly consistent read | it never shows a state older than one already shown |
//! | cancel, restart | 1 update, and 2 units for the row | the status is the index's partition, so the row is removed and written |
//! | a task of one item | create; 1 read; claim and settlement, each an update and 2 units for the row | what was seen must be durable before the first delete, what came of it after, and lists show `processing`. A message is acknowledged on what the read says, so it is strongly consistent |
//! | fan-out | 1 read; 1 update, and 2 units for the row; a send for ten chunks | before the first one no chunk has a state, so none is read |
//! | a chunk: claim | an update of its small item; a read of the task after it, which all chunks of a batch of messages share | after a cancel commits no claim makes a delete call. A transaction with a condition on the task would need no read, cost 4 units instead of 1, and be refused while another one is under way on the task |
//! | a chunk: settlement | a transaction of its small item and the task's, 2 units each, and 1 for the row; all chunks of a batch of messages share the task's part | outcomes and counters move together, and the row shows them. The last moves the row: 1 more |
//! | a chunk: reads | the task and the states, which all chunks of a batch of messages share; its ids at half price | ids never change, so an eventually consistent read would do |
//! | a list page | a query for each partition (four shards a status); the rows shown, by partition, at half price | the newest row of a partition is not known before it was asked |
//!
//! # What is left above it
//! - A task of one item pays for its ids with each write. Up to 20 UUIDs that is nothing, since all
//!   is within one unit. With 500 the item is a little over 8 KB, so each of its three writes takes
//!   9 units instead of 8, and the read 3 instead of 2. As a large task of one chunk it would take
//!   23 write units instead of 32, with a message, an invocation and six calls more: some $3.50 a
//!   million less at 500 objects, nothing below 300, and each task would wait for one more message.
//!   It was not done.
//! - Chunks of a batch share reads of the task and settlements only where they come to them at the
//!   same time, and each reads its ids and state by itself: nobody waits for the others.
//! - The last chunk's settlement is worked out twice where others have settled since it read the
//!   task: 4 units a task. And a create of many chunks asks first whether there is such a task (1
//!   read unit), so that a repeated one does not write all ids again.
//! - A chunk's ids are read strongly consistent, with its state in one call: 1 read unit a chunk,
//!   $0.13 a million chunks, against another call.
//! - A list page asks the partitions that have the rows twice, since it fetches few rows at first.
//!   Seven more queries cost one read unit more.
//! - One thing could save a unit of a small task's eight: `pending` and `processing` in one
//!   partition of the index, so that the claim changes its row in place. A list of one of the two
//!   would then read the other's rows and not show them, as many as the backlog has. It was not
//!   done.

use tests::bench::units::{read_units, write_units};

/// Bytes of an id that nothing shortens.
const ID: usize = 16;
/// Objects of a chunk: what one DeleteVectors takes. And keys of a GetVectors.
const CHUNK: usize = 500;
const LOOK: usize = 100;
/// Items of a BatchWriteItem, and messages of a batch.
const ITEMS: usize = 25;
const MESSAGES: usize = 10;

/// A new index row, or one that keeps its key; one whose key changes is removed and written.
const ROW: f64 = 1.0;
const MOVED_ROW: f64 = 2.0;
/// What an item costs that is written or checked in a transaction, if it is small.
const IN_TRANSACTION: f64 = 2.0;
/// A small item's write, and its read.
const SMALL_ITEM: f64 = 1.0;
/// An eventually consistent read is half of one.
const EVENTUAL: f64 = 0.5;

/// The least.
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

/// A create of one item: a put, which is the commit point, and its row; a message.
pub(crate) fn create(objects: usize) -> Least {
    Least {
        dynamodb: 1,
        sqs: 1,
        write: write_units(ID * objects) + ROW,
        ..Least::default()
    }
}

/// The same create again: a put that is refused, and returns the task.
pub(crate) fn repeated_create(objects: usize) -> Least {
    Least {
        dynamodb: 1,
        write: write_units(ID * objects),
        ..Least::default()
    }
}

/// The task of one item: a read, strongly consistent.
pub(crate) fn info(objects: usize) -> Least {
    Least {
        dynamodb: 1,
        read: read_units(ID * objects),
        ..Least::default()
    }
}

/// A list page: every partition must be asked once, and the rows shown are read. `partitions`: the
/// bytes shown of each.
pub(crate) fn list(partitions: &[usize]) -> Least {
    let reads = partitions.iter().map(|bytes| read_units(*bytes) * EVENTUAL);
    Least {
        dynamodb: partitions.len(),
        read: reads.sum(),
        ..Least::default()
    }
}

/// A cancel of a task of one item: an update that changes its status, and so its row's key.
pub(crate) fn cancel(objects: usize) -> Least {
    Least {
        dynamodb: 1,
        write: write_units(ID * objects) + MOVED_ROW,
        ..Least::default()
    }
}

/// A restart: the same, and a message.
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

/// A task of one item from the create to its end: the read that a message is acknowledged on, the
/// claim with what was seen before the first delete, and the settlement after it; both change the
/// status.
pub(crate) fn whole_task(objects: usize, present: usize) -> Least {
    let update = cancel(objects);
    let carried_out = info(objects).and(update).and(update);
    create(objects)
        .and(delivery())
        .and(carried_out)
        .and(vectors(objects, present))
}

/// A batch of messages, each of a chunk of one task: the reads of the task, of the ids (which never
/// change, so eventually consistent) and of the states; the claims, and a read of the task after
/// them; the settlement, a transaction with the task's counters and their row.
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

/// The message of one chunk, by itself.
pub(crate) fn delivered_chunk(objects: usize, present: usize) -> Least {
    delivered_chunks(&[objects], |_| present)
}

/// A task of chunks from the create to its end. The last settlement moves the row.
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
