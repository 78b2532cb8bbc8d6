//! Times starts, from the exec of a function to its first request for an event.
//!
//! The Runtime API here is minimal, so that mainly the function is timed: it accepts a connection
//! and reads once.

use super::build::Binary;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::bus::Bus;

/// The number of starts that are not measured. After them each binary is in the page cache.
const WARM_UP: usize = 2;

/// Times this many starts of each binary, in milliseconds. The starts come in rounds, so that a
/// disturbance affects all binaries. Each round has another order, because the end of a large
/// process disturbs the next start.
pub(super) fn starts(binaries: &[Binary], times: usize, bus: &Bus) -> Vec<Vec<f64>> {
    let mut all = vec![Vec::new(); binaries.len()];
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..times + WARM_UP {
        let mut order: Vec<_> = binaries.iter().zip(&mut all).collect();
        random.shuffle(&mut order);
        for (binary, times) in order {
            let took = start(binary, bus);
            if round >= WARM_UP {
                times.push(took.as_secs_f64() * 1e3);
            }
        }
    }
    all
}

fn start(binary: &Binary, bus: &Bus) -> Duration {
    let api = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = api.local_addr().expect("an address").to_string();
    let mut command = Command::new(&binary.path);
    command
        .env_clear()
        .envs(VARIABLES)
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let began = Instant::now();
    let mut process = command.spawn().expect("it starts");
    let (mut asking, _) = api.accept().expect("it connects");
    let mut request = [0; 1024];
    let length = asking.read(&mut request).expect("it asks");
    let took = began.elapsed();
    let asked = request.get(..length).unwrap_or_default();
    assert!(asked.starts_with(b"GET /2018-06-01/runtime/invocation/next"));
    process.kill().expect("it can be killed");
    process.wait().expect("it ends");
    took
}

const VARIABLES: [(&str, &str); 15] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "function"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/function"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
    ("AWS_REGION", "eu-west-1"),
    ("AWS_DEFAULT_REGION", "eu-west-1"),
    ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
    (
        "AWS_SECRET_ACCESS_KEY",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ),
    ("AWS_SESSION_TOKEN", "token"),
    ("TABLE_NAME", "deletion-tasks"),
    (
        "QUEUE_URL",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/deletion-tasks",
    ),
    (
        "VECTOR_STORES",
        r#"{"*": "s3vectors://demo/{embedding_model_id}"}"#,
    ),
    ("EVENT_BUS", "default"),
    ("METRICS_NAMESPACE", "DeletionTasks/live"),
];
