//! What happened.

use super::line::{Step, Way};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What happened, in numbers.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Kills that hit a worker in an invocation.
    pub kills: usize,
    /// Kills that hit a worker between two calls to a service.
    pub between_calls: usize,
    /// Invocations that were killed because they took longer than their timeout.
    pub timeouts: usize,
    /// Tasks that were created, and how many of them have several chunks.
    pub tasks: (usize, usize),
    /// Objects that came out as deleted, and as not found.
    pub outcomes: (usize, usize),
    /// Cancels that took effect, and restarts.
    pub controls: (usize, usize),
    /// Tasks that failed because their workers were killed too often, and were restarted.
    pub failed: usize,
    /// Messages that the sweeper sent.
    pub swept: u64,
    /// Messages that were received too often.
    pub dead_letters: usize,
    /// How long the run took.
    pub took: Duration,
    /// What happened on the way and should not have.
    pub(super) faults: Vec<String>,
    /// Calls that were in flight when their worker was killed.
    calls: BTreeMap<(Step, Way), usize>,
}

impl Report {
    pub(super) fn created(&mut self, is_large: bool) {
        self.tasks.0 += 1;
        self.tasks.1 += usize::from(is_large);
    }

    pub(super) fn killed(&mut self, calls: &[(Step, Way)]) {
        self.kills += 1;
        self.between_calls += usize::from(calls.is_empty());
        for call in calls {
            *self.calls.entry(*call).or_default() += 1;
        }
    }

    fn hits(&self, step: Step) -> (usize, usize) {
        let of = |way| self.calls.get(&(step, way)).copied().unwrap_or_default();
        (of(Way::Out), of(Way::Back))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kills,
            between_calls,
            timeouts,
            tasks: (tasks, large),
            outcomes: (deleted, absent),
            controls: (cancels, restarts),
            ..
        } = self;
        writeln!(
            f,
            "{kills} kills in {} s; {between_calls} of them between two calls",
            self.took.as_secs()
        )?;
        writeln!(
            f,
            "calls under way at the kills, not arrived yet / no response yet:"
        )?;
        for (step, name) in [
            (Step::ReadTask, "read the task"),
            (Step::ReadChunks, "read chunks"),
            (Step::FanOut, "write before a fan-out"),
            (Step::Send, "send chunks"),
            (Step::Check, "existence check"),
            (Step::Claim, "claim"),
            (Step::PutOff, "put off"),
            (Step::Delete, "delete"),
            (Step::Settle, "settle"),
        ] {
            let (out, back) = self.hits(step);
            writeln!(f, "  {name:<24}{out:>4} /{back:>4}")?;
        }
        writeln!(
            f,
            "{tasks} tasks, {large} of them of several chunks; {cancels} cancels, {restarts} restarts"
        )?;
        writeln!(
            f,
            "{} failed after too many kills and were restarted, {timeouts} invocations ran into their timeout",
            self.failed
        )?;
        writeln!(
            f,
            "{} messages sent by the sweeper, {} dead letters",
            self.swept, self.dead_letters
        )?;
        write!(
            f,
            "{} objects as they should be: {deleted} deleted, {absent} not found; none lost, none counted twice",
            deleted + absent
        )
    }
}
