//! The counts as rows.

use crate::operations::Row as Operation;
use crate::prices::{Dollars, api_gateway, log_bytes};
use crate::service::Cost;
use serde_json::Value;
use tests::bench::table::{Row, number, row};

/// For each operation, a row with its costs next to the minimum, and one with its calls and log
/// lines.
pub(crate) fn operations(operations: &[Operation]) -> Vec<Row> {
    let costs = operations.iter().map(|Operation { name, cost, least }| {
        row([
            ("operation", (*name).into()),
            ("DynamoDB calls", cost.calls_to("DynamoDB.").into()),
            ("least DynamoDB", least.dynamodb.into()),
            ("SQS calls", cost.calls_to("SQS.").into()),
            ("least SQS", least.sqs.into()),
            ("S3 Vectors calls", cost.calls_to("S3Vectors.").into()),
            ("least S3 Vectors", least.s3vectors.into()),
            ("write units", number(cost.write, 0)),
            ("least write", number(least.write, 0)),
            ("write ÷ least", ratio(cost.write, least.write)),
            ("read units", number(cost.read, 1)),
            ("least read", number(least.read, 1)),
            ("read ÷ least", ratio(cost.read, least.read)),
        ])
    });
    let calls = operations.iter().map(|Operation { name, cost, .. }| {
        let calls = cost.calls.iter();
        let calls: Vec<_> = calls
            .map(|(call, count)| format!("{count} {call}"))
            .collect();
        row([
            ("operation", (*name).into()),
            ("calls", calls.join(", ").into()),
            ("invocations", cost.invocations.into()),
            ("lines of log", cost.lines.len().into()),
            (
                "bytes of the longest, beside its task's id",
                cost.longest_line().into(),
            ),
        ])
    });
    costs.chain(calls).collect()
}

/// A row for each design, with the dollars for a million small tasks. The first design is the
/// service.
pub(crate) fn dollars(designs: &[(String, Cost)]) -> Vec<Row> {
    let priced: Vec<_> = designs.iter().map(|(_, cost)| Dollars::of(cost)).collect();
    let with_gateway = |at: usize| priced[at].sum() + api_gateway(&designs[at].1);
    let rows = designs.iter().enumerate().map(|(at, (name, cost))| {
        let mut columns = row([
            ("a million small tasks", name.as_str().into()),
            ("write units of one", number(cost.write, 0)),
            ("read units of one", number(cost.read, 1)),
            (
                "calls of one to DynamoDB",
                cost.calls_to("DynamoDB.").into(),
            ),
            ("bytes of log of one", number(log_bytes(cost), 0)),
        ]);
        let lines = priced[at].lines.iter();
        columns.extend(lines.map(|(name, dollars)| ((*name).to_owned(), in_dollars(*dollars))));
        columns.extend(row([
            (
                "in all, without API Gateway and S3 Vectors",
                in_dollars(priced[at].sum()),
            ),
            (
                "the service ÷ this",
                number(priced[0].sum() / priced[at].sum(), 2),
            ),
            ("API Gateway, REST", in_dollars(api_gateway(cost))),
            ("in all, with API Gateway", in_dollars(with_gateway(at))),
            (
                "the service ÷ this, with API Gateway",
                number(with_gateway(0) / with_gateway(at), 2),
            ),
        ]));
        columns
    });
    rows.collect()
}

fn in_dollars(dollars: f64) -> Value {
    format!("${dollars:.2}").into()
}

fn ratio(found: f64, least: f64) -> Value {
    if least > 0.0 {
        number(found / least, 2)
    } else if found > 0.0 {
        "none is needed".into()
    } else {
        "1.00".into()
    }
}
