//! The minimal Lambda function behind API Gateway with `lambda_http`: no SDK, no logs, no
//! configuration.

use lambda_http::{Body, Error, Response, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(async |_| {
        Ok::<_, Error>(Response::new(Body::from("hello")))
    }))
    .await
}
