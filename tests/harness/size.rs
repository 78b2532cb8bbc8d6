//! Tasks of one chunk and of several chunks, for tests of what must hold for both.

use crate::service::Service;
use crate::wire::Hold;
use crate::wire::call::{DELETE, GET_TASK, READ_CHUNKS, SETTLE_CHUNKS, WRITE_TASK};
use crate::{ids, run_body};
use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::store::TaskChunk;
use shared::task::TaskId;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Whether a task has one chunk, stored in the task's own item, or several, each stored in an item
/// of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One chunk.
    Small,
    /// Two chunks.
    Large,
}

/// The service with the task `t`.
///
/// The test is about the first two objects of the task: the index `index` has `o-0` and not `o-1`.
///
/// A large task has two more objects, in a second chunk that no worker has begun. It is fanned out.
/// No message is on the queue.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The service.
    pub service: Arc<Service>,
    /// The task's size.
    pub size: Size,
}

impl Size {
    /// Both sizes.
    pub const BOTH: [Self; 2] = [Self::Small, Self::Large];

    /// How many objects the task has.
    pub fn objects(self) -> usize {
        match self {
            Self::Small => 2,
            Self::Large => 4,
        }
    }

    /// The call that settles.
    pub fn settle(self) -> &'static str {
        match self {
            Self::Small => WRITE_TASK,
            Self::Large => SETTLE_CHUNKS,
        }
    }

    /// The calls that read the task and the first two objects.
    pub fn reads(self) -> &'static [&'static str] {
        match self {
            Self::Small => &[GET_TASK],
            Self::Large => &[GET_TASK, READ_CHUNKS],
        }
    }

    /// The body of the `/run` that creates the task.
    pub fn body(self) -> Value {
        run_body("index", "t", &ids("o", self.objects()))
    }
}

impl Begun {
    /// Starts the service, creates the task and fans out a large one.
    pub async fn begin(size: Size) -> Self {
        let begun = Self::create(size).await;
        begun.fan_out(1).await;
        begun
    }

    /// As [`Self::begin`], but a large task is not fanned out yet.
    pub async fn create(size: Size) -> Self {
        let begun = Self::before_create(size).await;
        begun.service.run(&size.body()).await.ok();
        begun.service.lose_messages().await;
        begun.service.wire.calls();
        begun
    }

    /// As [`Self::begin`], but there is no task yet: [`Size::body`] creates it.
    pub async fn before_create(size: Size) -> Self {
        let service = Service::start_with_chunks_of(2).await;
        service.seed("index", &["o-0", "o-2"]).await;
        let service = Arc::new(service);
        Self { service, size }
    }

    /// Begins an attempt: fans out a large task, and loses all messages.
    pub async fn fan_out(&self, attempt: u32) {
        if self.size == Size::Large {
            self.service.deliver(&[&self.whole(attempt)]).await;
        }
        self.service.lose_messages().await;
        self.service.wire.calls();
    }

    /// Restarts the task and begins its new attempt. `query` follows `task_id` in the query.
    /// Returns the response.
    pub async fn restart(&self, query: &str) -> Value {
        let task = self.service.restart(&format!("task_id=t{query}")).await;
        let task = task.ok();
        let attempt = task["attempt"].as_u64().expect("an attempt");
        self.fan_out(attempt.try_into().expect("a small number"))
            .await;
        task
    }

    /// The message of the whole task.
    pub fn whole(&self, attempt: u32) -> String {
        json!({"task_id": "t", "attempt": attempt}).to_string()
    }

    /// The message for the first two objects: that of the whole task, or of chunk 0.
    pub fn message(&self, attempt: u32) -> String {
        match self.chunk() {
            None => self.whole(attempt),
            Some(chunk) => json!({"task_id": "t", "attempt": attempt, "chunk": chunk}).to_string(),
        }
    }

    /// The number of the chunk of the first two objects.
    pub fn chunk(&self) -> Option<u32> {
        match self.size {
            Size::Small => None,
            Size::Large => Some(0),
        }
    }

    /// The call that settles.
    pub fn settle(&self) -> &'static str {
        self.size.settle()
    }

    /// Lets a worker carry out the message for the first two objects. Returns whether the message
    /// comes back.
    pub async fn deliver(&self, attempt: u32) -> bool {
        self.service.deliver(&[&self.message(attempt)]).await == 1
    }

    /// Starts a worker on that message. The test can hold or kill it half-way.
    pub fn start(&self, attempt: u32) -> JoinHandle<usize> {
        self.service.start_delivery(&self.message(attempt))
    }

    /// As [`Self::start`], but waits until the worker has deleted. The worker is then held before
    /// it settles, until it is released.
    pub async fn start_to_settlement(&self, attempt: u32) -> (JoinHandle<usize>, Hold) {
        let deleted = self.service.wire.hold_response(DELETE);
        let work = self.start(attempt);
        deleted.reached().await;
        let settle = self.service.wire.hold(self.settle());
        deleted.release();
        settle.reached().await;
        (work, settle)
    }

    /// Carries out the other chunk of a large task.
    pub async fn carry_out_rest(&self, attempt: u32) {
        if self.size == Size::Large {
            let rest = json!({"task_id": "t", "attempt": attempt, "chunk": 1}).to_string();
            assert_eq!(self.service.deliver(&[&rest]).await, 0);
        }
    }

    /// The first two objects as the store holds them.
    pub async fn stored(&self) -> TaskChunk {
        let store = &self.service.running.handlers.store;
        let id = TaskId::new("t").expect("a valid id");
        let task = store.load(&id).await.expect("DynamoDB responds");
        let chunk = store.load_chunk(task.expect("the task"), self.chunk());
        let chunk = chunk.await.expect("DynamoDB responds");
        chunk.expect("the chunk")
    }

    /// The task as `/info` shows it.
    pub async fn task(&self) -> Value {
        self.service.task("t").await
    }

    /// How many of the first two objects are deleted, failed and remaining. No worker may have
    /// begun the other chunk.
    pub async fn progress(&self) -> (u64, u64, u64) {
        let progress = &self.task().await["progress"];
        let number = |name: &str| progress[name].as_u64().expect("a number");
        let others = self.size.objects() as u64 - 2;
        (
            number("deleted"),
            number("failed"),
            number("remaining") - others,
        )
    }

    /// Fails the test unless the message for the first two objects is sent this many seconds from
    /// now, and not a second before.
    pub async fn assert_sent_in(&self, attempt: u32, seconds: i64, story: &str) {
        let service = &self.service;
        match self.size {
            Size::Small => service.assert_due_in(seconds, story).await,
            Size::Large => {
                if seconds > 0 {
                    service.pass(TimeDelta::seconds(seconds - 1));
                    service.deliver(&[&self.whole(attempt)]).await;
                    let sent = service.lose_messages().await;
                    assert_eq!(sent, 0, "{story}: a second before");
                    service.pass(TimeDelta::seconds(1));
                }
                service.deliver(&[&self.whole(attempt)]).await;
            }
        }
        assert_eq!(service.lose_messages().await, 1, "{story}");
    }

    /// Fails the test unless the task is done and the outcome of each object matches what the index
    /// held at the start.
    pub async fn assert_exact(&self, story: &str) {
        let size = self.size;
        let task = self.task().await;
        assert_eq!(task["status"], "done", "{size:?}, {story}: {task}");
        let half = size.objects() / 2;
        let progress = json!({"total": 2 * half, "deleted": half, "failed": half, "remaining": 0});
        assert_eq!(task["progress"], progress, "{size:?}, {story}");
        let objects = ids("o", size.objects());
        let expected: Vec<_> = objects
            .iter()
            .zip(["deleted", "failed"].into_iter().cycle())
            .map(|(id, outcome)| (id.clone(), outcome.to_owned()))
            .collect();
        let outcomes = self.service.outcomes("t").await;
        assert_eq!(outcomes, expected, "{size:?}, {story}");
        for item in task["failed_item_ids"].as_array().expect("a list") {
            assert_eq!(item["detail"], "Object not found in index", "{story}");
        }
        let present = self.service.present("index", &objects).await;
        assert!(present.is_empty(), "{size:?}, {story}: {present:?}");
    }
}
