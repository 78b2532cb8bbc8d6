//! The figures of one process, and the rows from the figures of all processes.

use serde_json::{Value, json};
use tests::bench::meter::Tally;
use tests::bench::table::{Row, number, row};
use tests::bench::{median, range};

/// The times of one task, or of the baseline's equivalent, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When the create had responded.
    pub(crate) created: f64,
    /// When everything was done.
    pub(crate) total: f64,
    /// The processor time that it took in this process.
    pub(crate) processor: f64,
}

/// The figures of one task size: the medians, the memory peak of the first run, and the cost of the
/// counted run.
pub(crate) fn timed(
    what: &str,
    objects: usize,
    samples: &[Sample],
    peak_mb: f64,
    tally: &Tally,
) -> Value {
    let middle = |of: fn(&Sample) -> f64| median(samples.iter().map(of));
    let total = middle(|sample| sample.total);
    let (least, most) = range(samples.iter().map(|sample| sample.total));
    json!({
        "what": what,
        "objects": objects,
        "times": samples.len(),
        "create_s": middle(|sample| sample.created),
        "total_s": total,
        "total_min_s": least,
        "total_max_s": most,
        "processor_s": middle(|sample| sample.processor),
        "objects_per_s": objects as f64 / total,
        "peak_mb": peak_mb,
        "tally": tally.to_json(),
    })
}

/// The exponent k of the power law `y = c · x^k` that fits the points best: least squares of log y
/// on log x.
fn exponent(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<_> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let (mean_x, mean_y) = logs.iter().fold((0.0, 0.0), |sum, log| {
        (sum.0 + log.0 / count, sum.1 + log.1 / count)
    });
    let slope = |pick: fn(f64, f64) -> f64| {
        let terms = logs.iter().map(|(x, y)| pick(x - mean_x, y - mean_y));
        terms.sum::<f64>()
    };
    slope(|x, y| x * y) / slope(|x, _| x * x)
}

fn float(figures: &Value, field: &str) -> f64 {
    figures[field].as_f64().unwrap_or(f64::NAN)
}

fn of<'a>(figures: &'a [Value], what: &'a str) -> impl Iterator<Item = &'a Value> {
    figures.iter().filter(move |row| row["what"] == what)
}

/// All rows.
pub(crate) fn rows(figures: &[Value]) -> Vec<Row> {
    let mut rows: Vec<_> = pairs(figures).map(times).collect();
    rows.extend(["service", "bare"].map(|what| exponents(what, figures)));
    let alone = pairs(figures).zip(of(figures, "handlers"));
    rows.extend(alone.map(|(pair, alone)| memory(pair, alone)));
    let sizes = || of(figures, "service").chain(of(figures, "bare"));
    rows.extend(sizes().map(calls));
    rows.extend(sizes().map(units));
    let mut pages: Vec<_> = of(figures, "page").collect();
    let place = |page: &Value| ["first", "middle", "last"].map(|place| page["place"] != *place);
    pages.sort_by_key(|page| {
        (
            page["filter"].to_string(),
            place(page),
            page["tasks"].as_u64(),
        )
    });
    rows.extend(pages.into_iter().map(page));
    rows
}

/// The service's figures with the bare client's, by size.
fn pairs(figures: &[Value]) -> impl Iterator<Item = (&Value, &Value)> {
    of(figures, "service").zip(of(figures, "bare"))
}

/// The seconds until `/run` had responded and until the task was done: medians, with minimum and
/// maximum.
fn times((service, bare): (&Value, &Value)) -> Row {
    let range = |figures| -> Value {
        let (least, most) = (float(figures, "total_min_s"), float(figures, "total_max_s"));
        format!("{least:.4} to {most:.4}").into()
    };
    let over = |field| number(float(service, field) / float(bare, field), 2);
    row([
        ("objects", service["objects"].clone()),
        ("times", service["times"].clone()),
        ("s, `/run`", number(float(service, "create_s"), 4)),
        ("s, done", number(float(service, "total_s"), 4)),
        ("least to most", range(service)),
        ("objects/s", number(float(service, "objects_per_s"), 0)),
        ("bare s, done", number(float(bare, "total_s"), 4)),
        ("bare least to most", range(bare)),
        ("service ÷ bare", over("total_s")),
        ("processor s", number(float(service, "processor_s"), 4)),
        ("bare processor s", number(float(bare, "processor_s"), 4)),
        ("processor, service ÷ bare", over("processor_s")),
    ])
}

/// The exponents of the times: over all sizes, and over those of 1,000 objects and more.
fn exponents(what: &str, figures: &[Value]) -> Row {
    let fit = |field: &str, least: f64| {
        let points = of(figures, what).map(|row| (float(row, "objects"), float(row, field)));
        let points: Vec<_> = points.filter(|(objects, _)| *objects >= least).collect();
        number(exponent(&points), 2)
    };
    row([
        ("exponents of", what.into()),
        ("done, all sizes", fit("total_s", 0.0)),
        ("done, from 1,000 on", fit("total_s", 1000.0)),
        ("processor, all sizes", fit("processor_s", 0.0)),
        ("processor, from 1,000 on", fit("processor_s", 1000.0)),
    ])
}

/// The peak memory in MB: of everything in one process, and of the halves in separate processes,
/// with what was resident before.
fn memory((service, bare): (&Value, &Value), alone: &Value) -> Row {
    let (ours, theirs) = (float(service, "peak_mb"), float(bare, "peak_mb"));
    let half = |name: &str, field| number(float(&alone[name], field), 1);
    row([
        ("peak MB, objects", service["objects"].clone()),
        ("service, all", number(ours, 0)),
        ("bare, all", number(theirs, 0)),
        ("service ÷ bare", number(ours / theirs, 2)),
        ("create", half("create", "peak_mb")),
        ("create before", half("create", "before_mb")),
        ("bare create", half("bare-create", "peak_mb")),
        ("bare create before", half("bare-create", "before_mb")),
        ("worker", half("work", "peak_mb")),
        ("worker before", half("work", "before_mb")),
        ("bare worker", half("bare-work", "peak_mb")),
        ("bare worker before", half("bare-work", "before_mb")),
    ])
}

/// The calls to AWS of one task, counted on the wire.
fn calls(figures: &Value) -> Row {
    let calls = figures["tally"]["calls"].as_object().into_iter().flatten();
    let count = |(_, count): (&String, &Value)| count.as_u64().unwrap_or_default();
    let sum: u64 = calls.clone().map(count).sum();
    let calls: Vec<_> = calls
        .map(|(call, count)| format!("{count} {call}"))
        .collect();
    row([
        ("calls of", figures["what"].clone()),
        ("objects", figures["objects"].clone()),
        ("calls", calls.join(", ").into()),
        ("all", sum.into()),
        (
            "per object",
            number(sum as f64 / float(figures, "objects"), 4),
        ),
    ])
}

/// The DynamoDB request units of one task.
fn units(figures: &Value) -> Row {
    let unit = |name: &str| float(&figures["tally"], name);
    let each = |name| number(unit(name) / float(figures, "objects"), 4);
    row([
        ("request units of", figures["what"].clone()),
        ("objects", figures["objects"].clone()),
        ("read", number(unit("read_units"), 1)),
        ("write", number(unit("write_units"), 1)),
        ("of these the index's", number(unit("index_write_units"), 1)),
        (
            "of these for refused writes",
            number(unit("refused_write_units"), 1),
        ),
        ("read per object", each("read_units")),
        ("write per object", each("write_units")),
        ("responses checked", number(unit("units_checked"), 0)),
        ("differing", number(unit("units_differing"), 0)),
    ])
}

/// A list page of 100.
fn page(figures: &Value) -> Row {
    let tally = &figures["tally"];
    row([
        (
            "list, filter",
            match figures["filter"].as_str() {
                None | Some("") => "none".into(),
                Some(filter) => format!("`{filter}`").into(),
            },
        ),
        ("page", figures["place"].clone()),
        ("tasks stored", figures["tasks"].clone()),
        ("rows shown", figures["rows"].clone()),
        ("ms", number(float(figures, "median_ms"), 1)),
        ("processor ms", number(float(figures, "processor_ms"), 1)),
        ("queries", tally["calls"]["DynamoDB.Query"].clone()),
        ("rows read", tally["rows_read"].clone()),
        ("read units", tally["read_units"].clone()),
    ])
}
