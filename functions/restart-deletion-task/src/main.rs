//! The Lambda function behind `PUT /internal/deletion-tasks/restart`: wires the endpoint, decides nothing.

use lambda_http::{Error, run, service_fn};
use shared::api::Restart;
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
    let endpoint = Restart::new(store, queue, Clock::System);
    run(service_fn(async |request| {
        Ok::<_, Error>(endpoint.handle(request).await)
    }))
    .await
}
