//! One scenario with one fault at one AWS call, which together cover every boundary of the service.

use super::faults::{Death, Fate, Planner};
use super::index::Bad;
use super::schedule::{Report, on_paused_time, report};
use super::service::{Reply, Service, Trust};
use super::unsound::{Unsound, UnsoundKey};
use super::world::World;
use chrono::TimeDelta;
use shared::task::{ChunkLimits, TaskStatus};
use shared::worker::SweepBounds;

/// What happens in a run. Each request is repeated until there is a response, as a caller would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A create.
    Create,
    /// A repeated create, and a create of other objects under the same id.
    RepeatedCreate,
    /// The work on a task.
    Work,
    /// The work on a task with ids that the store refuses.
    WorkOnBadIds,
    /// The work on a task with objects that their first delete keeps or that are deleted in parts.
    WorkOnUnsoundDeletes,
    /// The work on a task for a model that no store holds.
    WorkWithoutStore,
    /// A cancel of a pending task, and the work on its message.
    CancelPending,
    /// A cancel of a processing task, and the work on its messages.
    CancelProcessing,
    /// A restart of a task that is done, and the work on the objects that were not deleted.
    Restart,
    /// A restart of every object, and the work on them.
    RestartAll,
    /// A sweep that finds a task whose message was lost, and the work.
    Sweep,
    /// A sweep that finds a task whose worker died after it had claimed, and the work.
    SweepAfterDeath,
    /// A read of a task and of all its objects.
    Info,
}

/// What happens to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call never arrives. The sender notices at once, and the SDK may send it again.
    Unsent,
    /// The call never arrives. The sender notices at its timeout.
    UnsentUnnoticed,
    /// The call never arrives, because its sender dies first.
    DiesBefore,
    /// The call is carried out, and the response is lost. The sender notices at once.
    ResponseLost,
    /// The call is carried out, and the response is lost. The sender notices at its timeout.
    ResponseLostUnnoticed,
    /// The call is carried out, and its sender dies.
    DiesAfter,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Create,
        Self::RepeatedCreate,
        Self::Work,
        Self::WorkOnBadIds,
        Self::WorkOnUnsoundDeletes,
        Self::WorkWithoutStore,
        Self::CancelPending,
        Self::CancelProcessing,
        Self::Restart,
        Self::RestartAll,
        Self::Sweep,
        Self::SweepAfterDeath,
        Self::Info,
    ];

    /// Whether the scenario itself brings the task to an end.
    fn works(self) -> bool {
        !matches!(self, Self::Create | Self::RepeatedCreate | Self::Info)
    }
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Unsent,
        Self::UnsentUnnoticed,
        Self::DiesBefore,
        Self::ResponseLost,
        Self::ResponseLostUnnoticed,
        Self::DiesAfter,
    ];

    fn planned(self) -> (Fate, Option<Death>) {
        match self {
            Self::Unsent => (Fate::Unsent { noticed: true }, None),
            Self::UnsentUnnoticed => (Fate::Unsent { noticed: false }, None),
            Self::DiesBefore => (Fate::Served, Some(Death::Before)),
            Self::ResponseLost => (Fate::ResponseLost { noticed: true }, None),
            Self::ResponseLostUnnoticed => (Fate::ResponseLost { noticed: false }, None),
            Self::DiesAfter => (Fate::Served, Some(Death::After)),
        }
    }
}

const ID: &str = "task";
const TIMEOUT: TimeDelta = TimeDelta::seconds(30);

/// Plays `scenario` with a small or a large task.
///
/// `fault` hits the call with that number, counted from 0 at the start of the scenario. Then the
/// queue and the sweeper run on. The function also returns how many calls the scenario itself made.
///
/// # Panics
/// When the simulation itself is wrong.
#[must_use]
pub fn play(scenario: Scenario, is_large: bool, fault: Option<(usize, Fault)>) -> (Report, usize) {
    on_paused_time(0, async move {
        let world = World::new(0, Planner::Calm);
        let limits = ChunkLimits {
            objects: if is_large { 3 } else { 500 },
            ..ChunkLimits::default()
        };
        let trust = match scenario {
            Scenario::WorkOnUnsoundDeletes => Trust::ReadBack,
            _ => Trust::Acknowledgement,
        };
        // A sweep reads only one row, so it has to store where it stopped.
        let one_row = SweepBounds {
            pages: 1,
            rows: Some(1),
        };
        let stage = Stage {
            service: Service::new(&world, limits, 1, trust, None).sweeping(one_row),
            model: match scenario {
                Scenario::WorkWithoutStore => "nowhere",
                _ => "embed",
            },
        };
        stage.prepare(scenario).await;
        let began = world.with(|state| state.stats.calls);
        if let Some((at, fault)) = fault {
            let (fate, death) = fault.planned();
            let at = usize::try_from(began).expect("few calls") + at;
            world.with(|state| state.planner = Planner::At(at, fate, death));
        }
        stage.act(scenario).await;
        let calls = world.with(|state| state.stats.calls) - began;
        // If the SDK notices a lost call, it sends the call again, and that succeeds: a write that
        // meets its own earlier copy is a success. So nothing has to wait for the sweeper.
        if matches!(fault, Some((_, Fault::Unsent | Fault::ResponseLost))) && scenario.works() {
            let (open, message) =
                world.with(|state| (state.checks.open_tasks(), state.queue.next_visible()));
            stage.expect(open.is_empty(), "the task is left for later");
            // Only the messages of workers that died in the preparation still have to come back.
            let all_done = message.is_none() || scenario == Scenario::CancelProcessing;
            stage.expect(all_done, "a message is handed back");
        }
        stage.finish(scenario).await;
        let calls = usize::try_from(calls).expect("few calls");
        (report(0, &world), calls)
    })
}

struct Stage {
    service: Service,
    model: &'static str,
}

impl Stage {
    /// Prepares what exists before the scenario begins.
    async fn prepare(&self, scenario: Scenario) {
        self.service.world.with(|state| {
            for key in present() {
                state.insert_object(&key);
            }
            if scenario == Scenario::WorkOnUnsoundDeletes {
                for (key, keeps, parts) in [("o-0", 1, 0), ("o-1", 0, 2), ("o-5", 1, 1)] {
                    let unsound = Unsound {
                        keeps,
                        parts,
                        ..Unsound::default()
                    };
                    let key = key.to_owned();
                    state.index.unsound.insert(key, UnsoundKey::new(unsound));
                }
            }
            if scenario == Scenario::WorkOnBadIds {
                for (key, bad) in [("o-0", Bad::InDeletes), ("o-3", Bad::InEveryCall)] {
                    state.index.bad.insert(key.to_owned(), bad);
                    state.checks.bad.insert(key.to_owned());
                }
            }
        });
        if scenario == Scenario::Create {
            return;
        }
        self.create().await;
        match scenario {
            Scenario::CancelProcessing | Scenario::SweepAfterDeath => {
                // The work stops after the claims: each worker dies at its first delete call.
                self.service
                    .world
                    .with(|state| state.planner = Planner::DeathAt("DeleteVectors"));
                self.work().await;
                self.service
                    .world
                    .with(|state| state.planner = Planner::Calm);
            }
            Scenario::Restart | Scenario::RestartAll | Scenario::Info => {
                self.work().await;
                self.service.world.with(|state| state.insert_object("o-1"));
            }
            Scenario::Sweep => self.service.world.with(|state| state.queue.lose_all()),
            _ => {}
        }
        if matches!(scenario, Scenario::Sweep | Scenario::SweepAfterDeath) {
            self.service.world.with(|state| state.queue.lose_all());
            self.service
                .wait_until(self.service.now() + TimeDelta::minutes(2))
                .await;
        }
    }

    /// The scenario itself.
    async fn act(&self, scenario: Scenario) {
        match scenario {
            Scenario::Create => self.create().await,
            Scenario::RepeatedCreate => {
                self.create().await;
                let others = ["p-0".to_owned()];
                self.until_response(async || self.service.run(ID, self.model, &others).await)
                    .await;
            }
            Scenario::Work
            | Scenario::WorkOnBadIds
            | Scenario::WorkOnUnsoundDeletes
            | Scenario::WorkWithoutStore => {
                self.work().await;
            }
            Scenario::CancelPending | Scenario::CancelProcessing => {
                self.control("cancel?task_id=task").await;
                self.work().await;
            }
            Scenario::Restart => {
                self.control("restart?task_id=task&attempt=1").await;
                self.work().await;
            }
            Scenario::RestartAll => {
                self.control("restart?task_id=task&attempt=1&scope=all")
                    .await;
                self.work().await;
            }
            Scenario::Sweep | Scenario::SweepAfterDeath => {
                self.service.sweep().await;
                self.work().await;
            }
            Scenario::Info => {
                self.until_response(async || {
                    let path = "info?task_id=task&outcome=all";
                    self.service.shows(ID, "GET", path, None).await
                })
                .await;
            }
        }
    }

    /// Waits until everything is at rest after the fault, and checks that each object has the
    /// outcome that fits the index.
    async fn finish(&self, scenario: Scenario) {
        self.service.recover().await;
        let status = self.status();
        let expected = match scenario {
            Scenario::WorkWithoutStore => TaskStatus::Failed,
            Scenario::CancelPending | Scenario::CancelProcessing => TaskStatus::Canceled,
            _ => TaskStatus::Done,
        };
        self.expect(
            status == Some(expected),
            &format!("the task is {status:?} in the end"),
        );
        if expected == TaskStatus::Canceled {
            self.control("restart?task_id=task").await;
            self.service.recover().await;
        }
        let is_gone = |key: &String| match scenario {
            Scenario::WorkWithoutStore => false,
            Scenario::WorkOnBadIds => key != "o-0" && key != "o-3" && present().contains(key),
            _ => present().contains(key),
        };
        let expected: Vec<_> = objects()
            .into_iter()
            .map(|key| {
                // The restart tries every object again. It does not find what the first attempt
                // deleted, except `o-1`, which others inserted again.
                let is_found = scenario != Scenario::RestartAll || key == "o-1";
                let outcome = if is_gone(&key) && is_found {
                    "deleted"
                } else {
                    "failed"
                };
                (key, outcome)
            })
            .collect();
        let items = self
            .service
            .world
            .with(|state| state.checks.expected_items(ID));
        self.expect(items == expected, &format!("the outcomes are {items:?}"));
    }

    async fn create(&self) {
        let ids = objects();
        self.until_response(async || self.service.run(ID, self.model, &ids).await)
            .await;
    }

    async fn control(&self, path: &str) {
        self.until_response(async || self.service.shows(ID, "PUT", path, None).await)
            .await;
    }

    /// Repeats a request until there is a response other than "try again".
    async fn until_response(&self, ask: impl AsyncFn() -> Option<Reply>) {
        for _ in 0..10 {
            match ask().await {
                Some(reply) if reply.status != 503 => return,
                Some(_) | None => {}
            }
        }
        self.expect(false, "a caller never has a response");
    }

    async fn work(&self) {
        while self.service.invoke(TIMEOUT).await {}
    }

    fn status(&self) -> Option<TaskStatus> {
        let statuses = self.service.world.with(|state| state.checks.statuses());
        statuses.first().map(|(_, status)| *status)
    }

    fn expect(&self, holds: bool, otherwise: &str) {
        if !holds {
            self.service.world.with(|state| state.violated(otherwise));
        }
    }
}

/// The task's objects.
fn objects() -> Vec<String> {
    (0..7).map(|number| format!("o-{number}")).collect()
}

/// The task's objects that are in the index.
fn present() -> Vec<String> {
    [0, 1, 3, 5, 6].map(|number| format!("o-{number}")).to_vec()
}
