//! The Lambda function behind `PUT /internal/deletion-tasks/restart`. It only wires the endpoint.

use lambda_http::Error;
use shared::api::{self, Restart};
use shared::clock::Clock;
use shared::config::Environment;
use shared::queue::TaskQueue;
use shared::store::TaskStore;
use shared::{aws, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut env = Environment::process();
    telemetry::init(env.telemetry());
    let (store, queue_url) = (env.store(), env.queue_url());
    let aws = env.aws();
    env.finish()?;

    let aws = aws::config(aws);
    let store = TaskStore::new(aws::dynamodb_client(&aws), store);
    let queue = TaskQueue::new(move || aws::sqs_client(&aws), queue_url);
    api::serve(Restart::new(store, queue, Clock::System)).await
}
