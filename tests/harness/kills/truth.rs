//! Compares what the service says with what is true.

use super::World;
use super::load::{BYSTANDER, Known};
use crate::seed;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const NOT_FOUND: &str = "Object not found in index";
/// How many tasks are read at once.
const AT_ONCE: usize = 4;
/// How many faults are reported at most.
const MAX_FAULTS: usize = 20;

impl World {
    /// Records a task as a response shows it. The request was sent at `began`.
    ///
    /// # Panics
    /// When the response contradicts itself or an earlier one.
    pub(super) fn observe(&self, began: Instant, task: &Value) {
        let progress = &task["progress"];
        let [total, deleted, failed, remaining] =
            ["total", "deleted", "failed", "remaining"].map(|name| progress[name].as_u64());
        let sum = deleted.zip(failed).zip(remaining);
        assert_eq!(sum.map(|((d, f), r)| d + f + r), total, "{progress}");
        let mut tasks = self.tasks();
        let known = tasks.iter_mut().find(|known| task["id"] == known.id);
        let known = known.expect("a task of ours");
        assert_eq!(total, Some(known.objects.len() as u64), "{}", known.id);
        if let Some((at, before)) = &known.shown {
            if began < *at {
                // If two requests overlap in time, either response may be the older.
                return;
            }
            let (attempt, last) = (task["attempt"].as_u64(), before["attempt"].as_u64());
            let told = || format!("first {before}, then {}", brief(task));
            assert!(attempt >= last, "{}", told());
            assert!(
                deleted >= before["progress"]["deleted"].as_u64(),
                "{}",
                told()
            );
            if attempt == last {
                let (from, to) = (&before["status"], &task["status"]);
                let moves = match from.as_str().unwrap_or_default() {
                    "pending" => true,
                    "processing" => to != "pending",
                    _ => from == to,
                };
                assert!(moves, "{}", told());
            }
        }
        known.shown = Some((Instant::now(), brief(task)));
    }
}

/// A task without its long list of failures.
fn brief(task: &Value) -> Value {
    let fields = [
        "id",
        "status",
        "attempt",
        "progress",
        "detail",
        "updated_at",
    ];
    let fields = fields.map(|name| (name.to_owned(), task[name].clone()));
    fields.into_iter().collect::<serde_json::Map<_, _>>().into()
}

async fn read(world: &World, id: &str) {
    let began = Instant::now();
    let task = world.service.task(id).await;
    world.observe(began, &task);
}

/// Reads random tasks, one after the other, as long as kills are to come.
pub(super) async fn watch(world: &World) {
    let mut rng = fastrand::Rng::with_seed(world.plan.seed ^ 0x3a7c);
    while world.goes_on() {
        sleep(Duration::from_millis(100)).await;
        let created = |task: &&Known| task.shown.is_some();
        let ids: Vec<_> = world
            .tasks()
            .iter()
            .filter(created)
            .map(|t| t.id.clone())
            .collect();
        if let Some(id) = rng.choice(ids) {
            read(world, &id).await;
        }
    }
}

/// Waits until every task is in a terminal status.
pub(super) async fn all_ended(world: &World) {
    let mut ids: Vec<_> = world.tasks().iter().map(|task| task.id.clone()).collect();
    while !ids.is_empty() {
        let reads = ids.iter().map(|id| read(world, id));
        stream::iter(reads)
            .buffer_unordered(AT_ONCE)
            .collect::<()>()
            .await;
        let tasks = world.tasks().clone();
        ids = tasks
            .into_iter()
            .filter(|task| !task.has_ended())
            .map(|task| task.id)
            .collect();
        sleep(Duration::from_millis(500)).await;
    }
}

/// The tasks that have not ended, as they were last shown.
pub(super) async fn open(world: &World) -> String {
    let tasks = world.tasks().clone();
    let open = tasks.into_iter().filter(|task| !task.has_ended());
    let open = open.map(|task| task.shown.map_or(task.id, |(_, shown)| shown.to_string()));
    open.take(MAX_FAULTS).collect::<Vec<_>>().join("\n")
}

/// Compares each task's outcomes with the truth. `finally` means that everything has been restarted
/// until it was done. Before that, objects of a canceled task may remain, and objects may have been
/// given up because their workers were killed too often.
///
/// # Panics
/// When there are differences. The message names the first ones.
pub(super) async fn check_all(world: &World, finally: bool) {
    let tasks = world.tasks().clone();
    let checks = tasks.iter().map(|task| check(world, task, finally));
    let checks: Vec<_> = stream::iter(checks)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let faults: Vec<_> = checks.iter().flat_map(|(_, faults)| faults).collect();
    let first: Vec<_> = faults
        .iter()
        .take(MAX_FAULTS)
        .map(|fault| fault.as_str())
        .collect();
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        first.join("\n")
    );
    let mut report = world.report();
    assert!(report.faults.is_empty(), "{}", report.faults.join("\n"));
    report.outcomes = (0, 0);
    for ([deleted, absent], _) in checks {
        report.outcomes.0 += deleted;
        report.outcomes.1 += absent;
    }
}

/// Returns how many objects of a task were deleted, how many were not found, and what is wrong.
async fn check(world: &World, task: &Known, finally: bool) -> ([usize; 2], Vec<String>) {
    let (shown, items) = world.service.items(&task.id, "all").await;
    let in_index = seed::all(&world.service.running.clients.s3vectors, &task.id).await;
    let status = shown["status"].as_str().unwrap_or_default();
    let mut faults = Vec::new();
    let mut fault = |what: String| faults.push(format!("{}: {what}: {}", task.id, brief(&shown)));
    if finally && status != "done" {
        fault("is not done".to_owned());
    }
    let ids = items.iter().map(|item| &item["object_id"]);
    if !ids.eq(task.objects.iter().map(|(id, _)| id)) {
        fault("its outcomes are not of its objects, each once, in their order".to_owned());
    }
    let (mut deleted, mut absent, mut failed, mut remaining) = (0, 0, 0, 0);
    for (item, (id, was_present)) in items.iter().zip(task.objects.iter()) {
        let detail = item["detail"].as_str();
        let (is_present, gave_up) = (in_index.contains(id), detail != Some(NOT_FOUND));
        let (count, is_right) = match item["outcome"].as_str().unwrap_or_default() {
            "deleted" => (
                &mut deleted,
                *was_present && !is_present && detail.is_none(),
            ),
            "failed" if gave_up => (&mut failed, !finally && status != "done" && *was_present),
            "failed" => (&mut absent, !was_present && !is_present),
            _ => (&mut remaining, !finally && status == "canceled"),
        };
        *count += 1;
        if !is_right {
            fault(format!(
                "{item}, was there: {was_present}, is there: {is_present}"
            ));
        }
    }
    let counts = json!({
        "total": task.objects.len(),
        "deleted": deleted,
        "failed": absent + failed,
        "remaining": remaining,
    });
    if shown["progress"] != counts {
        fault(format!("its outcomes count {counts}"));
    }
    if !in_index.contains(BYSTANDER) {
        fault("an object that nobody named is gone".to_owned());
    }
    ([deleted, absent], faults)
}
