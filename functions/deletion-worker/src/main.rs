//! The Lambda function that the queue triggers. It only wires the worker.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::clock::{self, Clock};
use shared::config::Environment;
use shared::queue::TaskQueue;
use shared::store::TaskStore;
use shared::vector::{Services, VectorStores};
use shared::worker::{SqsEvent, Worker};
use shared::{aws, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut env = Environment::process();
    telemetry::init(env.telemetry());
    let (store, queue_url, rules) = (env.store(), env.queue_url(), env.vector_stores());
    let (password, token) = (env.vector_store_password(), env.vector_store_token());
    let aws = env.aws();
    env.finish()?;

    let aws = aws::config(aws);
    let store = TaskStore::new(aws::dynamodb_client(&aws), store);
    let services = Services {
        aws: aws.clone(),
        password,
        token,
        clock: Clock::System,
    };
    let vectors = VectorStores::new(rules, services);
    let queue = TaskQueue::new(move || aws::sqs_client(&aws), queue_url);
    let worker = Worker::new(store, queue, vectors, Clock::System);
    let handle = async |event: LambdaEvent<SqsEvent>| {
        let deadline = clock::deadline(event.context.deadline, Clock::System.now());
        Ok::<_, Error>(worker.handle(event.payload, deadline).await)
    };
    run(service_fn(handle)).await
}
