//! The whole service in one process, and what a test does with it.

use crate::handlers;
use crate::http::{self, ROOT, Reply};
use crate::queue::{self, Queue, Receive};
use crate::seed::{self, DEMO_INDEX};
use crate::wire::Wire;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use chrono::{DateTime, TimeDelta, Utc};
use local::{NAME, Options, Running, Throttle};
use serde_json::{Value, json};
use shared::aws;
use shared::clock::{Clock, ManualClock};
use shared::task::ChunkLimits;
use shared::vector::{Services, VectorStore};
use shared::worker::{SweepBounds, SweepReport, Sweeper, Worker};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long one worker invocation may take.
const WORKER_TIMEOUT: TimeDelta = TimeDelta::seconds(30);

/// The running service. Its clock stands still. Its worker and sweeper run only when the test calls
/// them.
#[derive(Debug)]
pub struct Service {
    /// What runs: addresses, clients that bypass [`Self::wire`], and the handlers.
    pub running: Running,
    /// The handlers' calls to AWS.
    pub wire: Wire,
    /// The handlers' time.
    pub clock: ManualClock,
    /// Whether the embedded S3 Vectors keeps the real one's rates.
    pub throttle: Throttle,
}

impl Service {
    /// Starts the service with the default settings.
    pub async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// Starts the service with these settings, by their variables' names.
    pub async fn start_with(settings: Vec<(&str, &str)>) -> Self {
        Self::start_limited(ChunkLimits::default(), settings).await
    }

    /// Starts the service with chunks of this many objects, so that few objects make a large task.
    pub async fn start_with_chunks_of(objects: usize) -> Self {
        Self::start_chunked(objects, Vec::new()).await
    }

    /// As [`Self::start_with_chunks_of`], with these settings.
    pub async fn start_chunked(objects: usize, settings: Vec<(&str, &str)>) -> Self {
        let limits = ChunkLimits {
            objects,
            ..ChunkLimits::default()
        };
        Self::start_limited(limits, settings).await
    }

    async fn start_limited(chunk_limits: ChunkLimits, settings: Vec<(&str, &str)>) -> Self {
        let noon = DateTime::parse_from_rfc3339("2024-05-21T12:00:00Z").expect("a valid time");
        let clock = ManualClock::at(noon.to_utc());
        let wire = Wire::default();
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let throttle = Throttle::default();
        let options = Options {
            throttle: throttle.clone(),
            worker_concurrency: 0,
            sweep_interval: None,
            clock: Clock::Manual(clock.clone()),
            chunk_limits,
            settings: settings.into_iter().map(own).collect(),
            http_client: Some(wire.http_client()),
            ..Options::default()
        };
        let running = local::start(options).await.expect("the service starts");
        Self {
            running,
            wire,
            clock,
            throttle,
        }
    }

    /// Makes the worker use this store from now on, whatever the model.
    pub fn work_on(&mut self, store: Arc<dyn VectorStore>) {
        let services = Services {
            aws: aws::local_config("http://nowhere", None),
            password: None,
            token: None,
            clock: Clock::Manual(self.clock.clone()),
        };
        let stores = handlers::stores(handlers::UNPACED_STORES, services);
        let stores = stores.wrapped(move |_| Arc::clone(&store));
        let handlers = &mut self.running.handlers;
        let (tasks, queue) = (handlers.store.clone(), handlers.queue.clone());
        let clock = Clock::Manual(self.clock.clone());
        handlers.worker = Arc::new(Worker::new(tasks, queue, stores, clock));
    }

    /// Makes a sweep read at most this many pages of this many rows from now on.
    pub fn bound_sweeps(&mut self, pages: usize, rows: i32) {
        let handlers = &mut self.running.handlers;
        let (tasks, queue) = (handlers.store.clone(), handlers.queue.clone());
        let sweeper = Sweeper::new(tasks, queue, Clock::Manual(self.clock.clone()));
        let rows = Some(rows);
        handlers.sweeper = Arc::new(sweeper.bounded(SweepBounds { pages, rows }));
    }

    /// The handlers' time.
    pub fn now(&self) -> DateTime<Utc> {
        Clock::Manual(self.clock.clone()).now()
    }

    /// Sends any request.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: impl Into<hyper::body::Bytes>,
    ) -> Reply {
        http::send(self.running.api, method, path, content_type, body).await
    }

    /// Sends any request with these headers.
    pub async fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<hyper::body::Bytes>,
    ) -> Reply {
        http::send_with(self.running.api, method, path, headers, body).await
    }

    /// `POST /run` with this JSON.
    pub async fn run(&self, body: &Value) -> Reply {
        let path = format!("{ROOT}/run");
        self.send("POST", &path, Some("application/json"), body.to_string())
            .await
    }

    /// `GET /info` with this query.
    pub async fn info(&self, query: &str) -> Reply {
        self.send("GET", &format!("{ROOT}/info?{query}"), None, "")
            .await
    }

    /// `GET /list` with this query.
    pub async fn list(&self, query: &str) -> Reply {
        self.send("GET", &format!("{ROOT}/list?{query}"), None, "")
            .await
    }

    /// `PUT /restart` with this query.
    pub async fn restart(&self, query: &str) -> Reply {
        self.send("PUT", &format!("{ROOT}/restart?{query}"), None, "")
            .await
    }

    /// `PUT /cancel` with this query.
    pub async fn cancel(&self, query: &str) -> Reply {
        self.send("PUT", &format!("{ROOT}/cancel?{query}"), None, "")
            .await
    }

    /// The task as `/info` shows it. Its id must need no encoding.
    pub async fn task(&self, id: &str) -> Value {
        self.info(&format!("task_id={id}")).await.ok()
    }

    /// Fails the test unless [`crate::seed::example`] came out as documented, by its record and in
    /// the index.
    pub async fn assert_documented_outcome(&self, story: &str) {
        let task = self.task("delete-xyz").await;
        assert_eq!(task["status"], "done", "{story}");
        assert_eq!(task["progress"]["deleted"], 1, "{story}");
        let failed = json!([{"object_id": "obj-2", "detail": "Object not found in index"}]);
        assert_eq!(task["failed_item_ids"], failed, "{story}");
        let present = self.present(DEMO_INDEX, &["obj-1"]).await;
        assert!(present.is_empty(), "{story}");
    }

    /// The task's objects with their outcomes, as `/info` pages through them.
    pub async fn outcomes(&self, id: &str) -> Vec<(String, String)> {
        self.outcomes_of(id, "all").await
    }

    /// The task's objects that `outcome` selects, with their outcomes.
    pub async fn outcomes_of(&self, id: &str, outcome: &str) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (_, items) = self.items(id, outcome).await;
        let items = items.iter();
        items
            .map(|item| (text(&item["object_id"]), text(&item["outcome"])))
            .collect()
    }

    /// The task, and the items of all pages of `/info` with this `outcome`.
    pub async fn items(&self, id: &str, outcome: &str) -> (Value, Vec<Value>) {
        let mut items = Vec::new();
        let mut query = format!("task_id={id}&outcome={outcome}");
        loop {
            let mut page = self.info(&query).await.ok();
            items.append(page["items"].as_array_mut().expect("a page of items"));
            match page["items_cursor"].as_str() {
                Some(cursor) => query = format!("task_id={id}&outcome={outcome}&cursor={cursor}"),
                None => return (page, items),
            }
        }
    }

    /// Lets the worker carry out one batch from the queue, as Lambda does, and deletes the messages
    /// that did not fail. Returns how many messages there were.
    pub async fn work_once(&self) -> usize {
        self.work_once_within(WORKER_TIMEOUT).await
    }

    /// As [`Self::work_once`], in an invocation that may take this long.
    pub async fn work_once_within(&self, time: TimeDelta) -> usize {
        let work = async |event| self.carry_out_within(time, event).await;
        self.queue().work_once(Receive::default(), work).await
    }

    /// Works until nothing is on the queue.
    pub async fn work(&self) {
        while self.work_once().await > 0 {}
    }

    /// Lets the worker carry out messages with these bodies, whatever is on the queue. Returns how
    /// many of them it reports as failed.
    pub async fn deliver(&self, bodies: &[&str]) -> usize {
        self.deliver_within(WORKER_TIMEOUT, bodies).await
    }

    /// As [`Self::deliver`], in an invocation that may take this long.
    pub async fn deliver_within(&self, time: TimeDelta, bodies: &[&str]) -> usize {
        let numbered = bodies.iter().enumerate();
        let messages =
            numbered.map(|(number, body)| (format!("message-{number}"), (*body).to_owned()));
        let response = self.carry_out_within(time, queue::event(messages)).await;
        response.batch_item_failures.len()
    }

    async fn carry_out_within(&self, time: TimeDelta, event: SqsEvent) -> SqsBatchResponse {
        let deadline = self.now() + time;
        // A clone shares no calls with others, like the worker of another process.
        let worker = Worker::clone(&self.running.handlers.worker);
        worker.handle(event, deadline).await
    }

    fn queue(&self) -> Queue {
        Queue::of(&self.running)
    }

    /// Starts the worker on what is on the queue. The test can hold or kill it half-way.
    pub fn start_work(self: &Arc<Self>) -> JoinHandle<usize> {
        let service = Arc::clone(self);
        tokio::spawn(async move { service.work_once().await })
    }

    /// Starts the worker on this message. The test can hold or kill it half-way.
    pub fn start_delivery(self: &Arc<Self>, body: &str) -> JoinHandle<usize> {
        let (service, body) = (Arc::clone(self), body.to_owned());
        tokio::spawn(async move { service.deliver(&[&body]).await })
    }

    /// Runs the sweeper once. Returns how many messages it sent.
    pub async fn sweep(&self) -> usize {
        let report = self.sweep_within(TimeDelta::seconds(60)).await;
        assert_eq!(report.errors, 0);
        report.sent
    }

    /// Runs the sweeper once, in an invocation that may take this long.
    pub async fn sweep_within(&self, time: TimeDelta) -> SweepReport {
        let deadline = self.now() + time;
        self.running.handlers.sweeper.sweep(deadline).await
    }

    /// Fails the test unless the sweeper sends one message this many seconds from now, and none a
    /// second before.
    pub async fn assert_due_in(&self, seconds: i64, story: &str) {
        self.assert_due_at(self.now() + TimeDelta::seconds(seconds), story)
            .await;
    }

    /// Fails the test unless the sweeper sends one message at this time, and none a second before.
    pub async fn assert_due_at(&self, time: DateTime<Utc>, story: &str) {
        let second = TimeDelta::seconds(1);
        let early = time - second - self.now();
        if early >= TimeDelta::zero() {
            self.pass(early);
            assert_eq!(self.sweep().await, 0, "{story}: a second before {time}");
            self.pass(second);
        }
        assert_eq!(self.sweep().await, 1, "{story}: at {time}");
    }

    /// Starts the sweeper once. The test can hold it half-way.
    pub fn start_sweep(self: &Arc<Self>) -> JoinHandle<usize> {
        let service = Arc::clone(self);
        tokio::spawn(async move { service.sweep().await })
    }

    /// Makes an index that holds these objects.
    pub async fn seed(&self, index: &str, object_ids: &[impl AsRef<str>]) {
        seed::index(&self.running.clients.s3vectors, index, object_ids).await;
    }

    /// Puts these objects into an index, as somebody else would.
    pub async fn insert(&self, index: &str, object_ids: &[impl AsRef<str>]) {
        seed::insert(&self.running.clients.s3vectors, index, object_ids).await;
    }

    /// Takes these objects out of an index, as somebody else would.
    pub async fn remove(&self, index: &str, object_ids: &[impl AsRef<str>]) {
        seed::remove(&self.running.clients.s3vectors, index, object_ids).await;
    }

    /// Which of these objects are in an index.
    pub async fn present(&self, index: &str, object_ids: &[impl AsRef<str>]) -> Vec<String> {
        seed::present(&self.running.clients.s3vectors, index, object_ids).await
    }

    /// Moves the handlers' clock.
    pub fn pass(&self, time: TimeDelta) {
        self.clock.advance(time);
    }

    /// Empties the queue: every message on it is lost. Returns how many there were.
    pub async fn lose_messages(&self) -> usize {
        self.queue().lose_all().await
    }

    /// How many items the table holds, expired ones included.
    pub async fn stored_items(&self) -> usize {
        let scan = self.running.clients.dynamodb.scan();
        let response = scan.table_name(NAME).consistent_read(true).send().await;
        response.expect("DynamoDB responds").items().len()
    }

    /// The values of this attribute in all items that have it as a number.
    pub async fn stored_numbers(&self, attribute: &str) -> Vec<i64> {
        let scan = self.running.clients.dynamodb.scan();
        let response = scan.table_name(NAME).consistent_read(true).send().await;
        let response = response.expect("DynamoDB responds");
        let numbers = response
            .items()
            .iter()
            .filter_map(|item| item.get(attribute));
        numbers
            .filter_map(|value| value.as_n().ok()?.parse().ok())
            .collect()
    }

    /// How many messages wait on a queue. Messages in flight are not counted.
    pub async fn waiting(&self, queue_url: &str) -> usize {
        let sqs = &self.running.clients.sqs;
        Queue::new(sqs, queue_url).waiting().await
    }

    /// Waits until a condition holds.
    ///
    /// # Panics
    /// When it does not hold within ten seconds.
    pub async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let holds = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), holds).await;
        waited.unwrap_or_else(|_| panic!("never came true: {what}"));
    }
}

/// Kills a worker at the point that it has reached.
///
/// # Panics
/// When it has ended before.
pub async fn kill(work: JoinHandle<usize>) {
    work.abort();
    let end = work.await;
    assert!(end.is_err_and(|error| error.is_cancelled()), "it has ended");
}

/// Returns a task from `/info` in the form of a list row: without `reason`, `created_by` and
/// `changed_by`.
///
/// # Panics
/// If it is not a task.
pub fn as_listed(mut task: Value) -> Value {
    for name in ["reason", "created_by", "changed_by"] {
        let removed = task.as_object_mut().and_then(|task| task.remove(name));
        assert!(removed.is_some(), "no {name}: {task}");
    }
    task
}
