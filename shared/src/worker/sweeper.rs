//! The sweeper: sends work again that is due because its message was lost or its worker died.
//!
//! A sweep visits the index partitions of the tasks that have not ended. Its pages and its time are
//! bounded, and each partition has an equal share of what those before it have left. If a sweep
//! does not reach the end of a partition, the next sweep continues there, after the row where this
//! one stopped. So each partition moves on in every sweep, whatever the others hold, and every task
//! is visited. Without a backlog every sweep reads all rows, and nothing is stored.

use crate::clock::Clock;
use crate::queue::{MAX_BATCH, TaskQueue};
use crate::store::{DueTask, Partition, SweepPositions, TaskPosition, TaskStore, Written};
use crate::task::Message;
use crate::telemetry::{self, Line, Metric, Metrics, ShortText};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::fmt;
use tracing::Level;

/// Tasks that are taken over at once.
const CONCURRENT_TASKS: usize = 10;
/// Nothing further is begun with less time left than this.
///
/// It is enough for four calls at their slowest, the last of which stores where the sweep stopped.
const MARGIN: TimeDelta = TimeDelta::seconds(33);

/// Sends due work again.
#[derive(Clone, Debug)]
pub struct Sweeper {
    tasks: TaskStore,
    queue: TaskQueue,
    clock: Clock,
    bounds: SweepBounds,
}

/// The bounds of what one sweep reads. No variable sets them; tests make them small.
#[derive(Clone, Copy, Debug)]
pub struct SweepBounds {
    /// The number of pages, but at least one in each partition.
    ///
    /// A page is what DynamoDB reads in one query: 1 MB, which is 128 read units and some 2,500 to
    /// 4,400 tasks. With 64 pages in each sweep, 10 million tasks are visited in about an hour,
    /// which is the longest time between two sends of a task. This takes at most 8,192 read units a
    /// minute: a tenth of a cent, and only as long as there is such a backlog.
    pub pages: usize,
    /// The rows of a page, if it is to be less than 1 MB.
    pub rows: Option<i32>,
}

impl Default for SweepBounds {
    fn default() -> Self {
        Self {
            pages: 64,
            rows: None,
        }
    }
}

/// The share of a sweep that a partition may use.
struct Share {
    pages: usize,
    until: DateTime<Utc>,
}

/// The schedule's event. Its content is not used.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Tick {}

/// The result of one sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Tasks that were due.
    pub due: usize,
    /// Messages sent.
    pub sent: usize,
    /// Calls that failed, and messages that the queue did not take. Their work is due again later.
    pub errors: usize,
}

impl Sweeper {
    /// Creates a sweeper over a store and a queue.
    pub fn new(tasks: TaskStore, queue: TaskQueue, clock: Clock) -> Self {
        Self {
            tasks,
            queue,
            clock,
            bounds: SweepBounds::default(),
        }
    }

    /// Returns the same sweeper with other bounds.
    pub fn bounded(self, bounds: SweepBounds) -> Self {
        Self { bounds, ..self }
    }

    /// Visits the processing and pending tasks, oldest first in each partition, and sends those
    /// that are due.
    ///
    /// It ends when all are visited, when it has read as much as it may, or when the deadline is
    /// near. Errors are logged and counted, and the next sweep tries again.
    pub async fn sweep(&self, deadline: DateTime<Utc>) -> SweepReport {
        let began = self.clock.now();
        let mut report = SweepReport::default();
        let mut log = SweepLog::default();
        // This comes first, since it matters most if a backlog leaves no time for it.
        match self.tasks.oldest_pending(began).await {
            Ok(since) => {
                let age = since.map_or(0, |since| (began - since).num_seconds());
                log.oldest_pending_age = Some(age.max(0));
            }
            Err(error) => log.failed(&mut report, error),
        }
        let mut positions = match self.tasks.sweep_positions().await {
            Ok(positions) => positions,
            Err(error) => {
                log.failed(&mut report, error);
                // The sweep begins anew in every partition. The stored item is not changed, since
                // it was not read.
                SweepPositions::default()
            }
        };
        let end = deadline - MARGIN;
        let mut pages = self.bounds.pages;
        let mut partitions = self.tasks.open_partitions();
        // The partitions that the last sweep read to their end mostly need one page. They leave the
        // rest of their share to the others.
        partitions.sort_by_key(|partition| positions.get(partition).is_some());
        let mut unvisited = partitions.len();
        for partition in partitions {
            let now = self.clock.now();
            let mut share = Share {
                pages: (pages / unvisited).max(1),
                until: now + (end - now) / i32::try_from(unvisited).unwrap_or(i32::MAX),
            };
            pages = pages.saturating_sub(share.pages);
            let from = positions.get(&partition);
            let left_at = self
                .sweep_partition(&partition, from, &mut share, &mut report, &mut log)
                .await;
            // The pages that it did not need are for the partitions after it.
            pages += share.pages;
            positions.set(partition, left_at);
            unvisited -= 1;
            if self.clock.now() > end {
                break;
            }
        }
        if let Err(error) = self.tasks.move_sweep_if_unmoved(&positions).await {
            log.failed(&mut report, error);
        }
        let cut_short = unvisited > 0 || !positions.is_empty();
        log.write(&report, cut_short, self.clock.now() - began);
        report
    }

    /// Sends the due tasks of one partition after row `from`, page by page, until its share is used
    /// up.
    ///
    /// It reads at least one page, and sends at least ten tasks of that. Returns the row after
    /// which the next sweep continues, or `None` at the end of the partition. If a page cannot be
    /// read, that page and those after it are left to the next sweep.
    async fn sweep_partition(
        &self,
        partition: &Partition,
        mut from: Option<TaskPosition>,
        share: &mut Share,
        report: &mut SweepReport,
        log: &mut SweepLog,
    ) -> Option<TaskPosition> {
        while share.pages > 0 {
            let now = self.clock.now();
            let page = self
                .tasks
                .due_tasks(partition, from.as_ref(), self.bounds.rows, now);
            let page = match page.await {
                Ok(page) => page,
                Err(error) => {
                    log.failed(report, error);
                    return from;
                }
            };
            share.pages -= 1;
            report.due += page.tasks.len();
            let mut batches = page.tasks.chunks(MAX_BATCH).peekable();
            while let Some(tasks) = batches.next() {
                self.send_again(tasks, report, log).await;
                if self.clock.now() > share.until && batches.peek().is_some() {
                    return tasks.last().map(|task| task.position.clone());
                }
            }
            from = page.next;
            if from.is_none() || self.clock.now() > share.until {
                break;
            }
        }
        from
    }

    /// Takes over up to ten due tasks and sends their messages.
    ///
    /// A task is taken over first. If this process dies before it sends, the task is due again
    /// later. In the reverse order two sweepers would send it twice.
    async fn send_again(&self, tasks: &[DueTask], report: &mut SweepReport, log: &mut SweepLog) {
        let now = self.clock.now();
        let taken: Vec<_> = stream::iter(tasks.to_vec())
            .map(|due| async move { (self.tasks.redispatch_if_due(&due, now).await, due) })
            .buffered(CONCURRENT_TASKS)
            .collect()
            .await;
        let mut messages = Vec::with_capacity(taken.len());
        for (result, due) in taken {
            match result {
                Ok(Written::Applied(())) => messages.push((
                    due.model,
                    Message {
                        task_id: due.id.to_string(),
                        attempt: due.attempt,
                        chunk: None,
                    },
                )),
                Ok(Written::NotApplied(())) => {}
                Err(error) => log.failed(report, error),
            }
        }
        if messages.is_empty() {
            return;
        }
        let with_models = messages.iter().map(|(model, message)| (model, message));
        match self.queue.send_batch(with_models).await {
            Ok(sent) => {
                report.sent += sent;
                report.errors += messages.len() - sent;
            }
            Err(error) => log.failed(report, error),
        }
    }
}

/// The part of a sweep's log line that is not in its report.
#[derive(Debug, Default)]
struct SweepLog {
    /// In seconds. 0 if no task is pending, `None` if it is not known.
    oldest_pending_age: Option<i64>,
    /// The last thing that went wrong.
    cause: Option<ShortText>,
}

impl SweepLog {
    /// Notes that a call failed.
    fn failed(&mut self, report: &mut SweepReport, cause: impl fmt::Display) {
        report.errors += 1;
        self.cause = Some(ShortText::new(cause));
    }

    fn write(self, report: &SweepReport, cut_short: bool, duration: TimeDelta) {
        let mut metrics = Metrics::default();
        if let Some(age) = self.oldest_pending_age {
            metrics.add(Metric::OldestPendingTaskAge, age);
        }
        metrics.add(Metric::SweeperResends, report.sent as i64);
        // Nothing ended here. But the metric then has a value in every minute, so that the alarm on
        // failed tasks can divide by it even if no task was ever done.
        metrics.add(Metric::TasksDone, 0);
        let level = if report.errors == 0 {
            Level::INFO
        } else {
            Level::WARN
        };
        let line = SweepLine {
            outcome: "swept",
            due: report.due,
            errors: report.errors,
            cut_short,
            cause: self.cause,
            metrics,
            duration_ms: Some(duration.num_milliseconds()),
        };
        telemetry::log(level, line);
    }
}

/// A sweep's line, as it is written.
#[derive(Debug, Serialize)]
struct SweepLine {
    outcome: &'static str,
    due: usize,
    errors: usize,
    cut_short: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ShortText>,
    #[serde(flatten)]
    metrics: Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
}

impl Line for SweepLine {
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn shorten(&mut self) -> bool {
        self.duration_ms.take().is_some() || self.cause.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_loses_its_duration_and_then_its_cause() {
        let mut line = SweepLine {
            outcome: "swept",
            due: 1,
            errors: 1,
            cut_short: false,
            cause: Some(ShortText::new("a cause")),
            metrics: Metrics::default(),
            duration_ms: Some(1),
        };
        assert!(line.shorten() && line.duration_ms.is_none() && line.cause.is_some());
        assert!(line.shorten() && line.cause.is_none());
        assert!(!line.shorten(), "nothing is left to leave out");
    }
}
