//! The Lambda function behind `GET /internal/deletion-tasks/list`. It only wires the endpoint.

use lambda_http::Error;
use shared::api::{self, List};
use shared::clock::Clock;
use shared::config::Environment;
use shared::store::TaskStore;
use shared::{aws, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut env = Environment::process();
    telemetry::init(env.telemetry());
    let store = env.store();
    let aws = env.aws();
    env.finish()?;

    let aws = aws::config(aws);
    let store = TaskStore::new(aws::dynamodb_client(&aws), store);
    api::serve(List::new(store, Clock::System)).await
}
