use super::*;
use crate::embedded::sqs::{Queues, Sqs, create_queues};
use aws_sdk_sqs::types::QueueAttributeName;
use shared::aws;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use web::stop::{self, Stopper};
use web::{Guard, listen};

struct Bench {
    _sqs: Sqs,
    client: Client,
    queues: Queues,
    source: EventSource,
}

/// Queues without a visibility timeout: messages come back at once unless they are deleted.
async fn bench(max_receive_count: u32) -> Bench {
    bench_with(Duration::ZERO, max_receive_count).await
}

async fn bench_with(visibility_timeout: Duration, max_receive_count: u32) -> Bench {
    let sqs = Sqs::start(listen(0, "").await.unwrap(), Guard::default()).unwrap();
    let client = Client::new(&aws::local_config(
        &format!("http://{}", sqs.address()),
        None,
    ));
    let queues = create_queues(&client, "tasks", visibility_timeout, max_receive_count)
        .await
        .unwrap();
    let source = EventSource {
        client: client.clone(),
        queue_url: queues.url.clone(),
        queue_arn: queues.arn.clone(),
        batch_size: 10,
        concurrency: 1,
        worker_timeout: Duration::from_secs(30),
        clock: Clock::System,
    };
    Bench {
        _sqs: sqs,
        client,
        queues,
        source,
    }
}

impl Bench {
    async fn send(&self, bodies: &[&str]) {
        for body in bodies {
            let call = self.client.send_message().queue_url(&self.queues.url);
            call.message_body(*body).send().await.unwrap();
        }
    }

    fn run<W, F>(&self, worker: W) -> (Stopper, JoinHandle<()>)
    where
        W: Fn(SqsEvent, DateTime<Utc>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = SqsBatchResponse> + Send + 'static,
    {
        let (stopper, stop) = stop::signal();
        (stopper, tokio::spawn(self.source.clone().run(worker, stop)))
    }

    /// The numbers of waiting messages and of messages in flight.
    async fn counts(&self) -> (u32, u32) {
        let call = self
            .client
            .get_queue_attributes()
            .queue_url(&self.queues.url);
        let response = call
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .unwrap();
        let attributes = response.attributes.unwrap();
        let count = |name| attributes[&name].parse().unwrap();
        (
            count(QueueAttributeName::ApproximateNumberOfMessages),
            count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        )
    }

    async fn until_empty(&self) {
        within(async {
            while self.counts().await != (0, 0) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The next message of the dead-letter queue.
    async fn dead_letter(&self) -> String {
        let call = self
            .client
            .receive_message()
            .queue_url(&self.queues.dead_letter_url);
        let response = call.wait_time_seconds(10).send().await.unwrap();
        response.messages.unwrap().remove(0).body.unwrap()
    }
}

/// Waits for at most 20 seconds.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future)
        .await
        .expect("it takes too long")
}

fn bodies(event: &SqsEvent) -> Vec<String> {
    event
        .records
        .iter()
        .filter_map(|record| record.body.clone())
        .collect()
}

/// Fails the records whose body is `body`.
fn failing(event: &SqsEvent, body: &str) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for record in event
        .records
        .iter()
        .filter(|record| record.body.as_deref() == Some(body))
    {
        response.add_failure(record.message_id.clone().unwrap());
    }
    response
}

#[tokio::test]
async fn a_batch_arrives_as_lambda_delivers_it_and_is_deleted_once_handled() {
    let bench = bench_with(Duration::from_secs(60), 20).await;
    bench.send(&["one", "two"]).await;
    let (sender, mut events) = mpsc::unbounded_channel();
    let before = Clock::System.now();
    let (_stopper, _running) = bench.run(move |event, deadline| {
        sender.send((event, deadline)).unwrap();
        async { SqsBatchResponse::default() }
    });
    let (event, deadline) = within(events.recv()).await.unwrap();
    assert_eq!(bodies(&event), ["one", "two"]);
    assert!(deadline >= before + bench.source.worker_timeout);
    let record = &event.records[0];
    assert_eq!(record.event_source.as_deref(), Some("aws:sqs"));
    assert_eq!(
        record.event_source_arn.as_deref(),
        Some("arn:aws:sqs:us-east-1:000000000000:tasks")
    );
    assert_eq!(record.aws_region.as_deref(), Some("us-east-1"));
    assert_eq!(record.attributes["ApproximateReceiveCount"], "1");
    assert!(record.attributes.contains_key("SentTimestamp"));
    assert!(
        record.message_id.is_some()
            && record.receipt_handle.is_some()
            && record.md5_of_body.is_some()
    );
    bench.until_empty().await;
}

#[tokio::test]
async fn only_the_failed_message_of_a_batch_comes_back() {
    let bench = bench_with(Duration::from_secs(1), 20).await;
    bench.send(&["good", "bad", "fine"]).await;
    let (sender, mut events) = mpsc::unbounded_channel();
    let (_stopper, _running) = bench.run(move |event, _| {
        let again = event.records.len() == 1;
        let response = failing(&event, if again { "" } else { "bad" });
        sender.send(event).unwrap();
        async { response }
    });
    assert_eq!(
        bodies(&within(events.recv()).await.unwrap()),
        ["good", "bad", "fine"]
    );
    let second = within(events.recv()).await.unwrap();
    assert_eq!(bodies(&second), ["bad"]);
    assert_eq!(second.records[0].attributes["ApproximateReceiveCount"], "2");
    bench.until_empty().await;
}

#[tokio::test]
async fn a_message_that_keeps_failing_becomes_a_dead_letter_after_its_last_receive() {
    let bench = bench(3).await;
    bench.send(&["bad"]).await;
    let receives = Arc::new(Mutex::new(Vec::new()));
    let (_stopper, _running) = bench.run({
        let receives = Arc::clone(&receives);
        move |event, _| {
            let count = event.records[0].attributes["ApproximateReceiveCount"].clone();
            receives.lock().unwrap().push(count);
            let response = failing(&event, "bad");
            async { response }
        }
    });
    assert_eq!(within(bench.dead_letter()).await, "bad");
    assert_eq!(*receives.lock().unwrap(), ["1", "2", "3"]);
    bench.until_empty().await;
}

#[tokio::test]
async fn a_panic_fails_its_batch_and_nothing_else() {
    let bench = bench(2).await;
    bench.send(&["bad"]).await;
    let (_stopper, _running) = bench.run(|event, _| async move {
        assert_ne!(bodies(&event), ["bad"], "this panic is wanted");
        SqsBatchResponse::default()
    });
    assert_eq!(within(bench.dead_letter()).await, "bad");
    bench.send(&["good"]).await;
    bench.until_empty().await;
}

#[tokio::test]
async fn an_invocation_is_killed_at_its_deadline_and_its_messages_come_back() {
    let mut bench = bench(1).await;
    bench.source.worker_timeout = Duration::from_millis(50);
    bench.send(&["slow"]).await;
    let (dropped, mut drops) = mpsc::unbounded_channel::<()>();
    let (_stopper, _running) = bench.run(move |_, _| {
        let held = dropped.clone();
        async move {
            let _held = held;
            std::future::pending().await
        }
    });
    assert_eq!(within(bench.dead_letter()).await, "slow");
    assert!(drops.try_recv().is_err());
}

#[tokio::test]
async fn a_response_that_names_an_unknown_message_fails_the_whole_batch() {
    let bench = bench(1).await;
    bench.send(&["one"]).await;
    let (_stopper, _running) = bench.run(|_, _| async {
        let mut response = SqsBatchResponse::default();
        response.add_failure("unknown");
        response
    });
    assert_eq!(within(bench.dead_letter()).await, "one");
}

#[tokio::test]
async fn no_more_invocations_run_at_a_time_than_allowed() {
    let mut bench = bench_with(Duration::from_secs(60), 20).await;
    (bench.source.concurrency, bench.source.batch_size) = (2, 1);
    bench.send(&["1", "2", "3", "4", "5"]).await;
    let (sender, mut begun) = mpsc::unbounded_channel();
    let finish = Arc::new(Notify::new());
    let (_stopper, _running) = bench.run({
        let finish = Arc::clone(&finish);
        move |_, _| {
            let (sender, finish) = (sender.clone(), Arc::clone(&finish));
            async move {
                sender.send(()).unwrap();
                finish.notified().await;
                SqsBatchResponse::default()
            }
        }
    });
    within(begun.recv()).await.unwrap();
    within(begun.recv()).await.unwrap();
    // The third message must not be received yet, or its visibility timeout would run.
    assert_eq!(bench.counts().await, (3, 2));
    for _ in 0..3 {
        finish.notify_one();
        within(begun.recv()).await.unwrap();
        assert!(bench.counts().await.1 <= 2);
    }
    assert!(begun.is_empty());
    finish.notify_one();
    finish.notify_one();
    bench.until_empty().await;
}

#[tokio::test]
async fn stopping_ends_a_long_poll_at_once() {
    let bench = bench(20).await;
    let (stopper, running) = bench.run(|_, _| async { SqsBatchResponse::default() });
    tokio::task::yield_now().await;
    stopper.stop();
    timeout(GRACE, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn stopping_kills_an_invocation_that_does_not_end_and_keeps_its_messages() {
    let bench = bench_with(Duration::from_secs(60), 20).await;
    bench.send(&["slow"]).await;
    let (sender, mut begun) = mpsc::unbounded_channel();
    let (stopper, running) = bench.run(move |_, _| {
        sender.send(()).unwrap();
        std::future::pending()
    });
    within(begun.recv()).await.unwrap();
    stopper.stop();
    timeout(GRACE * 2, running).await.unwrap().unwrap();
    assert_eq!(bench.counts().await, (0, 1));
}

#[tokio::test]
async fn a_failed_receive_is_retried() {
    let mut bench = bench(20).await;
    bench.send(&["one"]).await;
    let (url, missing) = (
        bench.queues.url.clone(),
        format!("{}-missing", bench.queues.url),
    );
    bench.source.queue_url = missing;
    let (sender, mut events) = mpsc::unbounded_channel();
    let (_stopper, _running) = bench.run(move |event: SqsEvent, _| {
        sender.send(bodies(&event)).unwrap();
        async { SqsBatchResponse::default() }
    });
    let name = url.rsplit('/').next().unwrap();
    let queue = bench
        .client
        .create_queue()
        .queue_name(format!("{name}-missing"))
        .send()
        .await
        .unwrap();
    let call = bench
        .client
        .send_message()
        .queue_url(queue.queue_url.unwrap());
    call.message_body("later").send().await.unwrap();
    assert_eq!(within(events.recv()).await.unwrap(), ["later"]);
}
