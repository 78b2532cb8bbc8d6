//! The sweeper: sends again what is due, because its message was lost or its worker died.

use crate::clock::Clock;
use crate::queue::{MAX_BATCH, TaskQueue};
use crate::store::{DueTask, TaskStore, Written};
use crate::task::{Message, TaskStatus};
use crate::telemetry::{self, Line, Metric, Metrics, ShortText};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::fmt;
use tracing::Level;

/// Tasks that are taken over at once.
const CONCURRENT_TASKS: usize = 10;
/// With less time than this nothing further is begun: three calls at their slowest.
const MARGIN: TimeDelta = TimeDelta::seconds(25);

/// Sends due work again.
#[derive(Clone, Debug)]
pub struct Sweeper {
    tasks: TaskStore,
    queue: TaskQueue,
    clock: Clock,
}

/// The schedule's event. Nothing in it matters.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Tick {}

/// What one sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Tasks that were due.
    pub due: usize,
    /// Messages sent.
    pub sent: usize,
    /// Calls that failed. What they were for is due again later.
    pub errors: usize,
}

impl Sweeper {
    /// A sweeper over a store and a queue.
    pub fn new(tasks: TaskStore, queue: TaskQueue, clock: Clock) -> Self {
        Self {
            tasks,
            queue,
            clock,
        }
    }

    /// Goes through the processing and pending tasks, oldest first in each partition, until it is through or the
    /// deadline is near, and sends those that are due. Errors are logged and counted; the next sweep tries again.
    pub async fn sweep(&self, deadline: DateTime<Utc>) -> SweepReport {
        let began = self.clock.now();
        let mut report = SweepReport::default();
        let mut log = SweepLog::default();
        // This comes first, since it matters most where a backlog leaves no time for it.
        match self.tasks.oldest_pending(began).await {
            Ok(since) => {
                let age = since.map_or(0, |since| (began - since).num_seconds());
                log.oldest_pending_age = Some(age.max(0));
            }
            Err(error) => log.failed(&mut report, error),
        }
        for partition in self.tasks.open_partitions(began) {
            self.sweep_partition(partition, deadline, &mut report, &mut log)
                .await;
            if self.is_late(deadline) {
                break;
            }
        }
        log.write(&report, self.is_late(deadline), self.clock.now() - began);
        report
    }

    /// Sends the due tasks of one partition, page by page, until the deadline is near. A page that cannot be read is left to
    /// the next sweep, with those after it.
    async fn sweep_partition(
        &self,
        partition: (TaskStatus, u32),
        deadline: DateTime<Utc>,
        report: &mut SweepReport,
        log: &mut SweepLog,
    ) {
        let mut start = None;
        loop {
            let page = self.tasks.due_tasks(partition, start, self.clock.now());
            let page = match page.await {
                Ok(page) => page,
                Err(error) => return log.failed(report, error),
            };
            report.due += page.tasks.len();
            for tasks in page.tasks.chunks(MAX_BATCH) {
                self.send_again(tasks, report, log).await;
                if self.is_late(deadline) {
                    return;
                }
            }
            start = page.next;
            if start.is_none() || self.is_late(deadline) {
                return;
            }
        }
    }

    /// Whether what is left is for the next sweep.
    fn is_late(&self, deadline: DateTime<Utc>) -> bool {
        self.clock.now() + MARGIN > deadline
    }

    /// Takes over up to ten due tasks and sends their messages. A task is taken over first: should this process die
    /// before it sends, the task is due again later; the other way round, two sweepers would send it twice.
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

/// What a sweep's one line of log says beside its report.
#[derive(Debug, Default)]
struct SweepLog {
    /// In seconds; 0 where no task is pending; `None` where it is not known.
    oldest_pending_age: Option<i64>,
    /// The last thing that went wrong.
    cause: Option<ShortText>,
}

impl SweepLog {
    /// A call failed.
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
