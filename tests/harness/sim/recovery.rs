//! The recovery once faults stop: the queue and the sweeper run on until everything is at rest.
//! Then the checks for the state at rest follow.

use super::faults::{LONGEST_WAY, Planner};
use super::service::Service;
use super::world::State;
use chrono::{DateTime, TimeDelta, Utc};
use shared::task::TaskStatus;

/// How long an invocation may take when there are no faults.
const TIMEOUT: TimeDelta = TimeDelta::seconds(60);
/// A task that is not at rest after this time is stuck.
const PATIENCE: TimeDelta = TimeDelta::days(3);

impl State {
    /// Stops all faults.
    pub(crate) fn heal(&mut self) {
        self.note(0, "faults stop");
        self.planner = Planner::Calm;
        (self.inserted_again, self.inserted_at_once) = (0.0, 0.0);
        self.meddler = None;
        self.queue.heal();
        self.table.stop_lagging();
    }
}

impl Service {
    /// Stops all faults, waits until everything is at rest, and checks it.
    pub(crate) async fn recover(&self) {
        self.world.with(State::heal);
        // Requests in flight arrive, and running processes end.
        tokio::time::sleep(LONGEST_WAY + TIMEOUT.to_std().expect("not negative") * 2).await;
        let began = self.now();
        while !self.is_violated() {
            while self.invoke(TIMEOUT).await {}
            let (next_message, open) = self
                .world
                .with(|state| (state.queue.next_visible(), state.checks.open_tasks()));
            if next_message.is_none() && open.is_empty() {
                break;
            }
            let Some(due) = open
                .iter()
                .map(|(_, due)| *due)
                .min()
                .unwrap_or(Some(i64::MAX))
            else {
                let what = format!("an open task is never due: {open:?}");
                self.world.with(|state| state.violated(what));
                return;
            };
            let due = DateTime::from_timestamp_secs(due).unwrap_or(DateTime::<Utc>::MAX_UTC);
            // A sweep does nothing if nothing is due, so time moves to the first sweep that finds
            // something.
            let next_sweep = due.max(self.now() + TimeDelta::seconds(1));
            match next_message {
                Some(visible) if visible <= next_sweep => self.wait_until(visible).await,
                _ => {
                    self.wait_until(next_sweep).await;
                    self.sweep().await;
                }
            }
            if self.now() - began > PATIENCE {
                let what = format!("tasks are stuck: {open:?}");
                self.world.with(|state| state.violated(what));
            }
        }
        self.tell_all().await;
        self.check_at_rest().await;
    }

    async fn check_at_rest(&self) {
        let statuses = self.world.with(|state| {
            let checked = state.checks.at_rest();
            state.expect(checked);
            state.checks.statuses()
        });
        for (id, _) in statuses {
            self.check_info(&id).await;
        }
    }

    /// Checks that `/info` reports the same outcome for every object as the task's chunks.
    async fn check_info(&self, id: &str) {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("info?task_id={id}&outcome=all{cursor}");
            let Some(reply) = self.shows(id, "GET", &path, None).await else {
                return;
            };
            let body = &reply.body;
            let progress = &body["progress"];
            let shown = (
                body["status"].as_str().and_then(|word| word.parse().ok()),
                progress["total"].as_u64(),
                progress["deleted"].as_u64(),
                progress["failed"].as_u64(),
            );
            self.world.with(|state| {
                let expected = state.checks.expected_progress(id);
                let expected: Option<(TaskStatus, u32, u32, u32)> = expected;
                let expected = expected.map(|(status, total, deleted, failed)| {
                    let [total, deleted, failed] = [total, deleted, failed].map(|n| Some(n.into()));
                    (Some(status), total, deleted, failed)
                });
                if expected != Some(shown) {
                    state.violated(format!("{id} is shown as {shown:?}, and is {expected:?}"));
                }
            });
            for item in body["items"].as_array().into_iter().flatten() {
                let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
                items.push((text("object_id"), text("outcome")));
            }
            match body["items_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        self.world.with(|state| {
            let expected = state.checks.expected_items(id);
            let expected = expected
                .into_iter()
                .map(|(key, word)| (key, word.to_owned()));
            if !expected.eq(items) {
                state.violated(format!("the pages of {id} do not show what is stored"));
            }
        });
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.world.with(|state| state.now())
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.world.with(|state| state.violation().is_some())
    }

    pub(crate) async fn wait_until(&self, time: DateTime<Utc>) {
        let wait = (time - self.now()).to_std().unwrap_or_default();
        tokio::time::sleep(wait).await;
    }
}
