//! `dtask wait`: until all parts of a task have ended.

use crate::api::{Api, Progress, Task, TaskResponse};
use crate::error::Error;
use crate::parts::{CALLS_AT_ONCE, Target};
use crate::screen::{Screen, safe};
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

/// The first polls come quickly, since most tasks take less than a second; then the service says when.
const FIRST_POLLS: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(400),
];
const USUAL_POLL: Duration = Duration::from_secs(1);
/// How often progress is said where no bar can be drawn.
const SAID_EVERY: Duration = Duration::from_secs(30);
const BAR: &str = "{wide_bar} {human_pos}/{human_len} {rate} {eta} left {msg}";

/// Waits, and prints how it ended.
///
/// # Errors
/// If a task failed or was canceled, or does not exist.
pub(crate) async fn wait(session: &Session, name: &str) -> Result<(), Error> {
    let target = Target::find(&session.api, name).await?;
    wait_for(session, &target).await
}

/// The same for known tasks.
pub(crate) async fn wait_for(session: &Session, target: &Target) -> Result<(), Error> {
    session.when_interrupted(format!(
        "The task goes on. To wait for it again: dtask {}wait {}",
        session.options(),
        show::quoted(&target.name)
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
    report(session, target, ended)
}

/// Prints tasks that have ended.
fn report(
    session: &Session,
    target: &Target,
    ended: Vec<Option<TaskResponse>>,
) -> Result<(), Error> {
    let missing = target
        .ids
        .iter()
        .zip(&ended)
        .filter(|(_, ended)| ended.is_none());
    let missing: Vec<_> = missing.map(|(id, _)| id.clone()).collect();
    let ended: Vec<_> = ended.into_iter().flatten().collect();
    if session.json {
        for response in &ended {
            show::report(&response.json)?;
        }
    }
    let tasks: Vec<Task> = ended.into_iter().map(|response| response.task).collect();
    if !session.json {
        show::report(&match tasks.as_slice() {
            [task] if target.ids.len() == 1 => show::details(task),
            tasks => show::parts(&target.name, tasks, &missing),
        })?;
    }
    let count = |status| tasks.iter().filter(|task| task.status == status).count();
    let (failed, canceled) = (count(TaskStatus::Failed), count(TaskStatus::Canceled));
    let name = safe(&target.name);
    if target.ids.len() == 1 {
        return match (tasks.first(), failed + canceled) {
            (None, _) => Err(Error::Refused(format!("Task with ID `{name}` not found"))),
            (Some(_), 0) => Ok(()),
            (Some(task), _) => Err(Error::Refused(format!("{name} is {}", task.status))),
        };
    }
    let found = [
        (failed, "failed"),
        (canceled, "canceled"),
        (missing.len(), "not found"),
    ];
    let found = found.iter().filter(|(count, _)| *count > 0);
    let found: Vec<_> = found
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    let mut text = format!(
        "Of the {} parts of {name}: {}",
        target.ids.len(),
        found.join(", ")
    );
    if !missing.is_empty() {
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
            let asked = response.retry_after.unwrap_or(USUAL_POLL);
            // Apart from one another.
            asked.mul_f64(fastrand::f64().mul_add(0.2, 1.0))
        });
        sleep(pause).await;
    }
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
        parts.insert(task.id.clone(), task.progress);
        let sum = sum(&parts);
        drop(parts);
        self.bar.set_length(sum.total);
        self.bar.set_position(sum.total - sum.remaining);
        self.bar
            .set_message(format!("{} failed", HumanCount(sum.failed)));
    }

    /// Says the progress now and then, if no bar shows it.
    async fn say(&self, screen: &Screen) -> std::convert::Infallible {
        let mut ticks = interval(SAID_EVERY);
        let mut said = Progress::default();
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let sum = sum(&self.parts.lock().unwrap_or_else(PoisonError::into_inner));
            if !screen.is_terminal() && sum != said {
                said = sum;
                let [remaining, total, failed] =
                    [sum.remaining, sum.total, sum.failed].map(HumanCount);
                screen.note(&format!(
                    "{remaining} of {total} objects remain, {failed} failed"
                ));
            }
        }
    }
}

fn sum(parts: &HashMap<String, Progress>) -> Progress {
    let mut sum = Progress::default();
    for progress in parts.values() {
        sum += *progress;
    }
    sum
}
