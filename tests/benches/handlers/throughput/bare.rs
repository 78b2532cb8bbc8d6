//! The bare client: the handlers' SDK calls over the same kind of runner, with as many at once and with the event source's
//! batches.

use super::tasks::Tasks;
use super::{INVOCATIONS, WARM_UP, What, figures};
use crate::calls::{Call, Sdk, Steps, make};
use crate::recorded::Recorder;
use crate::requests::{Endpoint, Given, Handlers, OBJECTS};
use aws_sdk_sqs::types::Message;
use futures_util::{StreamExt, stream};
use local::Running;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::measure::{self, object_ids};
use tests::queue::{Queue, Receive};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Messages at once in each invocation, as the worker.
const MESSAGES: usize = 5;

/// The bare client, and what there is to do.
struct Bare {
    sdk: Sdk,
    queue_url: String,
    create: Vec<Steps>,
    /// By the task's id.
    work: HashMap<String, Steps>,
    /// Tasks carried out.
    done: AtomicUsize,
    all_done: Notify,
}

/// The bare client's time for the tasks after the warm-up.
pub(super) async fn measure(running: &Running, tasks: &Tasks, what: What, clients: usize) -> Value {
    let bare = Arc::new(Bare::new(running, tasks, what).await);
    let mut receivers = JoinSet::new();
    if what == What::Tasks {
        for _ in 0..INVOCATIONS {
            let bare = Arc::clone(&bare);
            receivers.spawn(async move { bare.receive().await });
        }
    }
    let all = tasks.ids.len();
    bare.create(0..WARM_UP, clients).await;
    if what == What::Tasks {
        bare.until_done(WARM_UP).await;
    }
    let processor = measure::processor_seconds();
    let began = Instant::now();
    bare.create(WARM_UP..all, clients).await;
    if what == What::Tasks {
        bare.until_done(all).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let processor = measure::processor_seconds() - processor;
    receivers.abort_all();
    figures(all - WARM_UP, seconds, processor, 0.0)
}

impl Bare {
    /// Has the handlers make and carry out one more task, and takes over their calls for all the others.
    async fn new(running: &Running, tasks: &Tasks, what: What) -> Self {
        let services = measure::addresses(running);
        let sdk = Sdk {
            dynamodb: running.clients.dynamodb.clone(),
            sqs: running.clients.sqs.clone(),
            s3vectors: running.clients.s3vectors.clone(),
        };
        let recorder = Recorder::default();
        let (listened, http_client) = recorder.in_front_of(&sdk, &services);
        let handlers = Handlers::over(&listened, http_client, &services);
        let id = object_ids(1, 1).next().expect("an id");
        let index = "the-index";
        measure::seed_index(&sdk.s3vectors, index, measure::OBJECTS_SEED, OBJECTS).await;
        let steps = async |endpoint: Endpoint| {
            let given = Given::of(endpoint, &endpoint.event(&id, index));
            assert!(handlers.handle(endpoint, given).await, "{endpoint:?}");
            recorder.take().0
        };
        let create = steps(Endpoint::Run).await;
        let work = match what {
            What::Run => Vec::new(),
            What::Tasks => steps(Endpoint::Worker).await,
        };
        // The message of that task.
        sdk.sqs
            .purge_queue()
            .queue_url(&running.queue_url)
            .send()
            .await
            .expect("SQS answers");
        let objects: Vec<_> = object_ids(measure::OBJECTS_SEED, OBJECTS).collect();
        let of = |steps: &Steps, number: usize| -> Steps {
            let mut pairs = vec![
                (id.clone(), tasks.ids[number].clone()),
                (index.to_owned(), Tasks::index(number)),
            ];
            let own = object_ids(Tasks::seed_of(number), OBJECTS);
            pairs.extend(objects.iter().cloned().zip(own));
            let step =
                |step: &Vec<Call>| step.iter().map(|call| call.clone().with(&pairs)).collect();
            steps.iter().map(step).collect()
        };
        let numbers = 0..tasks.ids.len();
        Self {
            create: numbers.clone().map(|number| of(&create, number)).collect(),
            work: numbers
                .map(|number| (tasks.ids[number].clone(), of(&work, number)))
                .collect(),
            sdk,
            queue_url: running.queue_url.clone(),
            done: AtomicUsize::new(0),
            all_done: Notify::new(),
        }
    }

    /// Creates these tasks, so many at once.
    async fn create(self: &Arc<Self>, numbers: std::ops::Range<usize>, clients: usize) {
        let next = Arc::new(AtomicUsize::new(numbers.start));
        let mut creators = JoinSet::new();
        for _ in 0..clients {
            let (bare, next, end) = (Arc::clone(self), Arc::clone(&next), numbers.end);
            creators.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return;
                    }
                    assert_eq!(make(&bare.sdk, &bare.create[number]).await, 2);
                }
            });
        }
        while let Some(ended) = creators.join_next().await {
            ended.expect("tasks are created");
        }
    }

    async fn until_done(&self, count: usize) {
        while self.done.load(Ordering::Relaxed) < count {
            self.all_done.notified().await;
        }
    }

    /// Carries out what is on the queue.
    async fn receive(&self) {
        let queue = Queue::new(&self.sdk.sqs, &self.queue_url);
        let receive = Receive {
            wait_seconds: 20,
            ..Receive::default()
        };
        loop {
            let messages = queue.receive(receive).await;
            let worked = messages.iter().map(|message| self.carry_out(message));
            let worked: Vec<_> = worked.collect();
            let count = stream::iter(worked)
                .buffer_unordered(MESSAGES)
                .count()
                .await;
            queue.delete(&messages).await;
            self.done.fetch_add(count, Ordering::Relaxed);
            self.all_done.notify_one();
        }
    }

    async fn carry_out(&self, message: &Message) {
        let body: shared::task::Message =
            serde_json::from_str(message.body.as_deref().unwrap_or_default()).expect("a message");
        let steps = &self.work[&body.task_id];
        let calls = steps.iter().map(Vec::len).sum::<usize>();
        assert_eq!(make(&self.sdk, steps).await, calls);
    }
}
