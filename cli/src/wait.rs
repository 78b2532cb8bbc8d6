//! `dtask wait`: waits until all parts of a task have ended.

use crate::api::{Api, Progress, Task, TaskResponse};
use crate::error::Error;
use crate::parts::{CALLS_AT_ONCE, Found, Target, not_found};
use crate::screen::Screen;
use crate::session::Session;
use crate::show;
use futures_util::future::try_join_all;
use indicatif::{HumanCount, ProgressBar};
use shared::task::TaskStatus;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{interval, sleep};

/// The pauses before the first polls. They are short, since most tasks take less than a second.
/// After that the service says when to poll.
const FIRST_POLLS: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(400),
];
const USUAL_POLL: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(60);
/// How often progress is printed if no bar can be drawn.
const SAID_EVERY: Duration = Duration::from_secs(30);
const BAR: &str = "{wide_bar} {percent}% {rate} {left}{msg}";

/// Waits, and prints how the task ended.
///
/// # Errors
/// If a task failed or was canceled, or does not exist.
pub(crate) async fn wait(session: &Session, name: &str) -> Result<(), Error> {
    let target = Target::find(&session.api, name).await?;
    wait_for(session, &target).await
}

/// Waits for the tasks of a known target.
pub(crate) async fn wait_for(session: &Session, target: &Target) -> Result<(), Error> {
    session.if_cut_short(format!(
        "The task goes on. To wait for it again: {}",
        session.command("wait", target.shown())
    ));
    let watch = Watch::new(&session.screen);
    let calls = Semaphore::new(CALLS_AT_ONCE);
    let ended = target
        .ids
        .iter()
        .map(|id| until_end(&session.api, id, &calls, &watch));
    let ended = tokio::select! {
        ended = try_join_all(ended) => ended?,
        never = watch.say(&session.screen) => match never {},
    };
    session.screen.clear();
    report(session, target, &Found::of(target, ended))
}

/// Prints how tasks have ended.
fn report(session: &Session, target: &Target, found: &Found) -> Result<(), Error> {
    if session.json {
        for response in &found.responses {
            show::report(&response.json)?;
        }
    } else {
        match found.responses.as_slice() {
            [] => {}
            [one] if target.ids.len() == 1 => show::report(&show::details(session, &one.task))?,
            _ => show::report(&show::parts(session, target, found))?,
        }
    }
    let count = |status| {
        let responses = found.responses.iter();
        responses
            .filter(|response| response.task.status == status)
            .count()
    };
    if target.ids.len() == 1 {
        return match found.responses.first().map(|response| response.task.status) {
            None => Err(not_found(&target.name)),
            Some(status @ (TaskStatus::Failed | TaskStatus::Canceled)) => {
                Err(Error::Refused(format!("{} is {status}", target.name)))
            }
            Some(_) => Ok(()),
        };
    }
    let bad = [
        (count(TaskStatus::Failed), "failed"),
        (count(TaskStatus::Canceled), "canceled"),
        (found.missing.len(), "not found"),
    ];
    let bad = bad.iter().filter(|(count, _)| *count > 0);
    let bad: Vec<_> = bad.map(|(count, what)| format!("{count} {what}")).collect();
    if bad.is_empty() {
        return Ok(());
    }
    let (parts, name) = (target.ids.len(), &target.name);
    let mut text = format!("Of the {parts} parts of {name}: {}", bad.join(", "));
    if !found.missing.is_empty() {
        text += ". To create the missing ones, run the same `dtask run` again";
    }
    Err(Error::Refused(text))
}

/// Polls a task until it has ended; `None` if it does not exist.
async fn until_end(
    api: &Api,
    id: &str,
    calls: &Semaphore,
    watch: &Watch,
) -> Result<Option<TaskResponse>, Error> {
    let mut first_polls = FIRST_POLLS.into_iter();
    loop {
        let response = {
            let _permit = calls.acquire().await;
            api.info(id).await?
        };
        let Some(response) = response else {
            return Ok(None);
        };
        watch.see(&response.task);
        if response.task.status.is_terminal() {
            return Ok(Some(response));
        }
        let pause = first_polls.next().unwrap_or_else(|| {
            // Random, so that the parts are not polled together.
            poll_after(response.retry_after).mul_f64(fastrand::f64().mul_add(0.2, 1.0))
        });
        sleep(pause).await;
    }
}

/// How long to wait before the next poll. `asked`: what the service says.
fn poll_after(asked: Option<Duration>) -> Duration {
    asked.unwrap_or(USUAL_POLL).clamp(USUAL_POLL, LONGEST_POLL)
}

/// The progress of all parts.
struct Watch {
    bar: ProgressBar,
    parts: Mutex<HashMap<String, Progress>>,
}

impl Watch {
    fn new(screen: &Screen) -> Self {
        Self {
            bar: screen.bar(0, BAR),
            parts: Mutex::default(),
        }
    }

    fn see(&self, task: &Task) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = parts.insert(task.id.clone(), task.progress).is_none();
        let sum = sum(&parts);
        drop(parts);
        self.bar.set_length(sum.total);
        self.bar
            .set_position(sum.total.saturating_sub(sum.remaining));
        self.bar.set_message(words(&sum));
        if is_new {
            // Objects that were done before do not count for the rate.
            self.bar.reset_eta();
        }
    }

    /// Prints the progress from time to time, if no bar shows it.
    async fn say(&self, screen: &Screen) -> std::convert::Infallible {
        let mut ticks = interval(SAID_EVERY);
        let mut said = Progress::default();
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let sum = sum(&self.parts.lock().unwrap_or_else(PoisonError::into_inner));
            if !screen.draws() && sum != said {
                said = sum;
                screen.note(&words(&sum));
            }
        }
    }
}

fn words(sum: &Progress) -> String {
    let [remaining, total, failed] = [sum.remaining, sum.total, sum.failed].map(HumanCount);
    format!("{remaining} of {total} remain, {failed} failed")
}

fn sum(parts: &HashMap<String, Progress>) -> Progress {
    let mut sum = Progress::default();
    for progress in parts.values() {
        sum += *progress;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_neither_at_once_nor_tomorrow() {
        for (asked, expected) in [(None, 1), (Some(0), 1), (Some(7), 7), (Some(u64::MAX), 60)] {
            let asked = asked.map(Duration::from_secs);
            assert_eq!(poll_after(asked), Duration::from_secs(expected));
        }
    }
}
