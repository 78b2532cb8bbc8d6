//! Times one deletion.

use local::Options;
use serde_json::json;
use tests::bench::{self, process};
use tests::seed;
use tokio::time::Instant;

/// The model of [`service`]'s task.
pub(crate) const MODEL: &str = "items";

/// What one deletion took, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) elapsed: f64,
    /// The part of it until `/run` had responded. Nothing is deleted before that.
    pub(crate) created: f64,
    /// The processor time of this process: the client's, or the service's and its embedded
    /// services'. A database's time is not included.
    pub(crate) processor: f64,
}

/// Times this work.
pub(crate) async fn time(work: impl Future<Output = ()>) -> Sample {
    let (processor, began) = (process::processor_seconds(), Instant::now());
    work.await;
    Sample {
        elapsed: began.elapsed().as_secs_f64(),
        created: 0.0,
        processor: process::processor_seconds() - processor,
    }
}

/// Times a task of all these objects, from the request until it is done.
pub(crate) async fn service(url: &str, objects: usize) -> Sample {
    let options = Options {
        settings: vec![("VECTOR_STORES".to_owned(), json!({ "*": url }).to_string())],
        ..Options::default()
    };
    let running = bench::start(options).await;
    let dynamodb = &running.clients.dynamodb;
    let body = seed::run_text(MODEL, "task", 1, objects);
    let mut created = 0.0;
    let sample = time(async {
        let began = Instant::now();
        bench::run(&running, body).await;
        created = began.elapsed().as_secs_f64();
        bench::until(began, async || bench::has_ended(dynamodb, "task").await).await;
    })
    .await;
    let deleted = bench::attribute(dynamodb, "task", "deleted").await;
    assert_eq!(deleted, objects.to_string());
    running.shutdown().await;
    Sample { created, ..sample }
}
