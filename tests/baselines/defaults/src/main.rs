//! `create-deletion-task` with nothing tuned.
//!
//! It has the AWS SDK with its default features (its HTTP client, TLS by aws-lc, the system's
//! roots) and its default configuration, `lambda_http` with its defaults, and a thread for each
//! core. The endpoint itself, and what it does with each request, is the same.

use aws_config::BehaviorVersion;
use lambda_http::{Error, run, service_fn};
use shared::api::{Endpoint, Run};
use shared::clock::Clock;
use shared::config::Environment;
use shared::queue::TaskQueue;
use shared::store::TaskStore;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut env = Environment::process();
    let (store, queue_url, config) = (env.store(), env.queue_url(), env.api());
    env.finish()?;

    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let store = TaskStore::new(aws_sdk_dynamodb::Client::new(&aws), store);
    let sqs = aws_sdk_sqs::Client::new(&aws);
    let queue = TaskQueue::new(|| sqs, queue_url);
    let endpoint = Run::new(store, queue, config, Clock::System);
    run(service_fn(async |request| {
        Ok::<_, Error>(endpoint.handle(request).await)
    }))
    .await
}
