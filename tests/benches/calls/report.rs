//! What was counted, as tables or as JSON.

use crate::operations::Row;
use crate::prices::{Dollars, api_gateway, log_bytes};
use crate::service::Cost;
use serde_json::json;
use tests::measure::table::Table;

/// As tables in Markdown.
pub(crate) fn tables(rows: &[Row], costs: &[(String, Cost)]) -> String {
    [units(rows), calls(rows), lines(rows), dollars(costs)].join("\n")
}

fn ratio(found: f64, least: f64) -> String {
    match (found > 0.0, least > 0.0) {
        (_, true) => format!("{:.2}", found / least),
        (false, false) => "1.00".to_owned(),
        (true, false) => "none is needed".to_owned(),
    }
}

fn units(rows: &[Row]) -> String {
    let mut table = Table::new(
        "Calls and DynamoDB request units, beside the least",
        "operation|DynamoDB calls|least|SQS calls|least|S3 Vectors calls|least|write units|least|ratio|read units|least|ratio",
    );
    for row in rows {
        let (cost, least) = (&row.cost, &row.least);
        table.row([
            row.name.to_owned(),
            cost.calls_to("DynamoDB.").to_string(),
            least.dynamodb.to_string(),
            cost.calls_to("SQS.").to_string(),
            least.sqs.to_string(),
            cost.calls_to("S3Vectors.").to_string(),
            least.s3vectors.to_string(),
            format!("{:.0}", cost.write),
            format!("{:.0}", least.write),
            ratio(cost.write, least.write),
            format!("{:.1}", cost.read),
            format!("{:.1}", least.read),
            ratio(cost.read, least.read),
        ]);
    }
    table.text
}

fn calls(rows: &[Row]) -> String {
    let mut table = Table::new("Calls by kind", "operation|calls");
    for row in rows {
        let calls = row.cost.calls.iter();
        let calls: Vec<_> = calls
            .map(|(call, count)| format!("{count} {call}"))
            .collect();
        table.row([row.name.to_owned(), calls.join(", ")]);
    }
    table.text
}

fn lines(rows: &[Row]) -> String {
    let mut table = Table::new(
        "Lines of log, and the longest in bytes beside its task's id (400 at most)",
        "operation|invocations|lines|longest",
    );
    for row in rows {
        table.row([
            row.name.to_owned(),
            row.cost.invocations.to_string(),
            row.cost.lines.len().to_string(),
            row.cost.longest_line().to_string(),
        ]);
    }
    let longest = rows.iter().map(|row| row.cost.longest_line()).max();
    let longest = longest.unwrap_or_default().to_string();
    table.row([
        "the longest of all".to_owned(),
        String::new(),
        String::new(),
        longest,
    ]);
    table.text
}

fn dollars(costs: &[(String, Cost)]) -> String {
    let heads: Vec<_> = costs.iter().map(|(name, _)| name.as_str()).collect();
    let heads = format!("a million small tasks|{}", heads.join("|"));
    let mut table = Table::new("Dollars for a million small tasks", &heads);
    let priced: Vec<_> = costs.iter().map(|(_, cost)| Dollars::of(cost)).collect();
    let mut row = |name: &str, cell: &dyn Fn(usize) -> String| {
        let cells = (0..costs.len()).map(cell);
        table.row(std::iter::once(name.to_owned()).chain(cells));
    };
    row("write units of one", &|at| {
        format!("{:.0}", costs[at].1.write)
    });
    row("read units of one", &|at| {
        format!("{:.1}", costs[at].1.read)
    });
    row("calls of one to DynamoDB", &|at| {
        costs[at].1.calls_to("DynamoDB.").to_string()
    });
    row("bytes of log of one", &|at| {
        format!("{:.0}", log_bytes(&costs[at].1))
    });
    for (line, (name, _)) in priced[0].lines.iter().enumerate() {
        row(name, &|at| format!("${:.2}", priced[at].lines[line].1));
    }
    row("**in all, without API Gateway and S3 Vectors**", &|at| {
        format!("**${:.2}**", priced[at].sum())
    });
    row("the service ÷ this", &|at| {
        format!("{:.2}", priced[0].sum() / priced[at].sum())
    });
    row("API Gateway, REST", &|at| {
        format!("${:.2}", api_gateway(&costs[at].1))
    });
    let with = |at: usize| priced[at].sum() + api_gateway(&costs[at].1);
    row("in all, with API Gateway", &|at| {
        format!("${:.2}", with(at))
    });
    row("the service ÷ this", &|at| {
        format!("{:.2}", with(0) / with(at))
    });
    table.text
}

/// As JSON, an object a line.
pub(crate) fn json(rows: &[Row], costs: &[(String, Cost)]) {
    for row in rows {
        let (cost, least) = (&row.cost, &row.least);
        let row = json!({
            "what": "operation",
            "name": row.name,
            "calls": cost.calls,
            "read_units": cost.read,
            "write_units": cost.write,
            "least": {
                "DynamoDB": least.dynamodb, "SQS": least.sqs, "S3Vectors": least.s3vectors,
                "read_units": least.read, "write_units": least.write,
            },
            "invocations": cost.invocations,
            "lines": cost.lines.len(),
            "longest_line": cost.longest_line(),
        });
        println!("{row}");
    }
    for (name, cost) in costs {
        let dollars = Dollars::of(cost);
        let by_service: serde_json::Map<_, _> = dollars
            .lines
            .iter()
            .map(|(service, dollars)| ((*service).to_owned(), json!(dollars)))
            .collect();
        let row = json!({
            "what": "dollars for a million small tasks",
            "of": name,
            "calls": cost.calls,
            "read_units": cost.read,
            "write_units": cost.write,
            "log_bytes": log_bytes(cost),
            "dollars": by_service,
            "sum": dollars.sum(),
            "api_gateway": api_gateway(cost),
        });
        println!("{row}");
    }
}
