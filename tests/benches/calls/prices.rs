//! The cost in dollars of a million operations. docs/performance.md has the source of each price.

use crate::service::Cost;

/// Prices in dollars: us-east-1, on demand, without free tier and discounts.
const API_GATEWAY: f64 = 3.50e-6;
const LAMBDA_REQUEST: f64 = 0.20e-6;
/// One gigabyte for one second, arm64.
const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;
const DYNAMODB_WRITE: f64 = 0.625e-6;
const DYNAMODB_READ: f64 = 0.125e-6;
const SQS_REQUEST: f64 = 0.40e-6;
const LOGS_BYTE: f64 = 0.50e-9;

/// A function's memory in `template.yaml`, in gigabytes.
const MEMORY: f64 = 0.25;
/// How long an invocation waits for a call. Assumed, not measured. Calls come one after the other,
/// and the invocation's own work is left out.
const SECONDS_A_CALL: f64 = 0.010;
const SECONDS_A_CALL_TO_S3_VECTORS: f64 = 0.040;
/// Lambda's own lines for each invocation (`START`, `END`, `REPORT`). Assumed, not measured.
const LAMBDA_LINES: f64 = 3.0;
const LAMBDA_LINE_BYTES: f64 = 300.0;
/// What CloudWatch Logs adds to a line ("PutLogEvents", Amazon CloudWatch Logs API Reference).
const BYTES_A_LINE: f64 = 26.0;

/// The cost of a million operations, in dollars by service.
pub(crate) struct Dollars {
    pub(crate) lines: Vec<(&'static str, f64)>,
}

impl Dollars {
    pub(crate) fn of(cost: &Cost) -> Self {
        let millions = |dollars: f64| dollars * 1e6;
        let own = cost.calls_to("DynamoDB.") + sent(cost);
        let seconds = own as f64 * SECONDS_A_CALL
            + cost.calls_to("S3Vectors.") as f64 * SECONDS_A_CALL_TO_S3_VECTORS;
        let invocations = cost.invocations as f64;
        let lambdas = [
            ("Lambda, requests", invocations * LAMBDA_REQUEST),
            ("Lambda, time", seconds * MEMORY * LAMBDA_GB_SECOND),
        ];
        let dynamodb = [
            ("DynamoDB, writes", cost.write * DYNAMODB_WRITE),
            ("DynamoDB, reads", cost.read * DYNAMODB_READ),
        ];
        let others = [
            ("SQS", cost.calls_to("SQS.") as f64 * SQS_REQUEST),
            ("CloudWatch Logs", log_bytes(cost) * LOGS_BYTE),
        ];
        let lines = dynamodb.into_iter().chain(others).chain(lambdas);
        let lines = lines.map(|(name, dollars)| (name, millions(dollars)));
        Self {
            lines: lines.collect(),
        }
    }

    /// The sum of all services.
    pub(crate) fn sum(&self) -> f64 {
        self.lines.iter().map(|(_, dollars)| dollars).sum()
    }
}

/// What API Gateway costs for a million operations.
pub(crate) fn api_gateway(cost: &Cost) -> f64 {
    cost.requests as f64 * API_GATEWAY * 1e6
}

/// The calls that send messages. A function waits only for these, because Lambda itself receives
/// and deletes messages.
fn sent(cost: &Cost) -> u64 {
    cost.calls_to("SQS.Send")
}

/// Bytes of log: our counted lines, and Lambda's.
pub(crate) fn log_bytes(cost: &Cost) -> f64 {
    let ours: usize = cost.lines.iter().map(String::len).sum();
    let invocations = cost.invocations as f64;
    let count = cost.lines.len() as f64 + invocations * LAMBDA_LINES;
    ours as f64 + invocations * LAMBDA_LINE_BYTES + count * BYTES_A_LINE
}
