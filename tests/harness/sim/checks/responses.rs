//! What responses must show. [1, 10]

use super::Checks;
use serde_json::Value;
use shared::task::TaskStatus;
use std::collections::BTreeMap;

/// A task as a response shows it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    attempt: u32,
    status: TaskStatus,
    deleted: u64,
    failed: u64,
    /// The objects that have an outcome in the response.
    outcomes: BTreeMap<String, String>,
}

/// The newest state of a task that callers have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    newest: Option<Shown>,
    created: u32,
    /// Whether a create succeeded.
    pub(crate) accepted: bool,
}

impl Shown {
    /// Reads a response that shows a task.
    pub(crate) fn of(body: &Value) -> Option<Self> {
        let progress = &body["progress"];
        let items = body["items"].as_array().into_iter().flatten();
        let items = items.filter(|item| item["outcome"] != "remaining");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            attempt: body["attempt"].as_u64()?.try_into().ok()?,
            status: body["status"].as_str()?.parse().ok()?,
            deleted: progress["deleted"].as_u64()?,
            failed: progress["failed"].as_u64()?,
            outcomes: items
                .filter_map(|item| Some((text(&item["object_id"])?, text(&item["outcome"])?)))
                .collect(),
        })
    }

    /// Whether this state can follow `before`.
    fn follows(&self, before: &Self) -> bool {
        let stage = |status: TaskStatus| match status {
            TaskStatus::Pending => 0,
            TaskStatus::Processing => 1,
            TaskStatus::Done | TaskStatus::Failed | TaskStatus::Canceled => 2,
        };
        if self.attempt != before.attempt {
            return self.attempt > before.attempt;
        }
        let is_later = if before.status.is_terminal() {
            self.status == before.status
        } else {
            stage(self.status) >= stage(before.status)
        };
        is_later && self.deleted >= before.deleted && self.failed >= before.failed
    }
}

impl Told {
    fn learn(&mut self, shown: Shown) {
        match &mut self.newest {
            Some(newest) if shown.attempt == newest.attempt => {
                let outcomes = std::mem::take(&mut newest.outcomes);
                if shown.follows(newest) {
                    *newest = shown;
                }
                newest.outcomes.extend(outcomes);
            }
            Some(newest) if !shown.follows(newest) => {}
            _ => self.newest = Some(shown),
        }
    }
}

impl Checks {
    /// What callers have seen of a task before a request.
    pub(crate) fn told_of(&self, id: &str) -> Told {
        self.told.get(id).cloned().unwrap_or_default()
    }

    /// Checks a response that shows a task. `before` is what callers had seen at the time of the
    /// request.
    pub(crate) fn shown(&mut self, id: &str, shown: Shown, before: &Told) -> Result<(), String> {
        let checked = match &before.newest {
            Some(newest) if !shown.follows(newest) => Err(format!(
                "{id} is shown as {shown:?} after it was shown as {newest:?}"
            )),
            Some(newest) if shown.attempt == newest.attempt => {
                let changed = newest.outcomes.iter().find(|(key, outcome)| {
                    shown
                        .outcomes
                        .get(*key)
                        .is_some_and(|shown| shown != *outcome)
                });
                match changed {
                    Some((key, was)) => Err(format!("{key} of {id} was shown as {was} before")),
                    None => Ok(()),
                }
            }
            Some(_) | None => Ok(()),
        };
        self.told.entry(id.to_owned()).or_default().learn(shown);
        checked
    }

    /// Checks the response to a create, which created the task or found one.
    pub(crate) fn accepted(&mut self, id: &str, replayed: bool) -> Result<(), String> {
        let told = self.told.entry(id.to_owned()).or_default();
        told.accepted = true;
        told.created += u32::from(!replayed);
        match (told.created, self.tasks.contains_key(id)) {
            (_, false) => Err(format!("{id} was accepted, but is not stored")),
            (0 | 1, true) => Ok(()),
            (_, true) => Err(format!("{id} was created twice")),
        }
    }
}
