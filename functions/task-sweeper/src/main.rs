//! The Lambda function that the schedule triggers. It only wires the sweeper.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::clock::{self, Clock};
use shared::config::Environment;
use shared::queue::TaskQueue;
use shared::store::TaskStore;
use shared::worker::{Sweeper, Tick};
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
    let sweeper = Sweeper::new(store, queue, Clock::System);
    let handle = async |event: LambdaEvent<Tick>| {
        let deadline = clock::deadline(event.context.deadline, Clock::System.now());
        let errors = sweeper.sweep(deadline).await.errors;
        if errors > 0 {
            let error = format!("{errors} calls failed; the next sweep tries again");
            return Err(Error::from(error));
        }
        Ok(())
    };
    run(service_fn(handle)).await
}
