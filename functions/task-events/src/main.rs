//! The Lambda function that the table's stream triggers. It only wires the events.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::clock::Clock;
use shared::config::Environment;
use shared::events::{EventBus, StreamEvent, TaskEvents};
use shared::{aws, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut env = Environment::process();
    telemetry::init(env.telemetry());
    let bus = env.event_bus();
    let aws = env.aws();
    env.finish()?;

    let aws = aws::config(aws);
    let bus = EventBus::new(aws::eventbridge_client(&aws), bus);
    bus.check().await?;
    let events = TaskEvents::new(bus, Clock::System);
    let handle =
        async |event: LambdaEvent<StreamEvent>| Ok::<_, Error>(events.handle(event.payload).await);
    run(service_fn(handle)).await
}
