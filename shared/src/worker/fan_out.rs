//! The message of a whole task of several chunks: its first one, or one that the sweeper sends.
//!
//! It is fanned out into a message for each chunk that is due.

use super::budget::Budget;
use super::log::MessageLog;
use super::{Verdict, Worker};
use crate::queue::{MAX_BATCH, QueueError};
use crate::store::{StoreError, StoredTask, Written};
use crate::task::{Message, ModelId, TaskStatus};
use futures_util::{StreamExt, stream};

/// Batches of messages that are sent at once.
const CONCURRENT_SENDS: usize = 5;

impl Worker {
    /// Sends a message for each open chunk of `read`.
    ///
    /// If it is done twice, messages are sent twice. This does no harm: one worker claims a chunk,
    /// and a chunk that has ended is left alone.
    ///
    /// The guarded write comes first. If this worker dies before all messages are sent, the sweeper
    /// finds the task due, and chunks that no worker has claimed are sent again.
    pub(super) async fn fan_out(
        &self,
        read: StoredTask,
        budget: &Budget,
        log: &mut MessageLog,
    ) -> Result<Verdict, StoreError> {
        let now = self.clock.now();
        let mut read = read;
        let open = self.tasks.open_chunks(&read, now).await?;
        let begins = read.task.status == TaskStatus::Pending;
        let is_complete = read.task.progress.remaining() == 0;
        if open.numbers.is_empty() && !begins && !is_complete {
            if open.next_due.is_some() {
                // If another fan-out was first, it has recorded the same.
                let _ = self.tasks.fan_out_if_unmoved(&read, &open, now).await?;
            }
            return Ok(Verdict::Dropped("all its chunks are on their way"));
        }
        let moved = || Ok(Verdict::Dropped("moved before it was begun"));
        if begins && is_complete {
            // A pending task with no object left to try becomes `processing` before it ends.
            match self.tasks.fan_out_if_unmoved(&read, &open, now).await? {
                Written::Applied(_) => {}
                Written::NotApplied(()) => return moved(),
            }
            read = match self.tasks.load(&read.task.id).await? {
                Some(begun) if begun.task.attempt == read.task.attempt => begun,
                _ => return moved(),
            };
        }
        match self.tasks.fan_out_if_unmoved(&read, &open, now).await? {
            Written::Applied(TaskStatus::Processing) => {}
            Written::Applied(status) => {
                log.ended(status);
                return Ok(Verdict::Recorded {
                    status,
                    has_more_to_do: false,
                });
            }
            Written::NotApplied(()) => return moved(),
        }
        let messages = open.numbers.iter();
        let messages: Vec<_> = messages
            .map(|number| Message::of_chunk(&read.task, Some(*number)))
            .collect();
        let batches: Vec<_> = messages.chunks(MAX_BATCH).map(<[_]>::to_vec).collect();
        let results: Vec<_> = stream::iter(batches)
            .map(|batch| self.send_chunks(&read.task.model, batch, budget))
            .buffer_unordered(CONCURRENT_SENDS)
            .collect()
            .await;
        let mut sent = 0;
        for result in results {
            match result {
                Ok(taken) => sent += taken,
                Err(error) => log.cause(error),
            }
        }
        Ok(Verdict::FannedOut {
            sent,
            unsent: messages.len() - sent,
        })
    }

    /// Sends a batch and returns how many messages the queue took.
    ///
    /// The others are sent again when the sweeper finds the task due.
    async fn send_chunks(
        &self,
        model: &ModelId,
        batch: Vec<Message>,
        budget: &Budget,
    ) -> Result<usize, QueueError> {
        if budget.allows_a_call() {
            let messages = batch.iter().map(|message| (model, message));
            self.queue.send_batch(messages).await
        } else {
            Ok(0)
        }
    }
}
