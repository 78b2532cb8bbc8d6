//! Rows of figures, and the tables made of them.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::measure::median;
use tests::measure::meter::Tally;
use tests::measure::table::Table;

/// One task, or what the baseline does in its place, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When the create had answered.
    pub(crate) created: f64,
    /// When all was done.
    pub(crate) total: f64,
    /// The processor time that it took in this process.
    pub(crate) processor: f64,
}

/// A row of one task size: the medians, the peak of the first time, and what the counted time cost.
pub(crate) fn timed(
    what: &str,
    objects: usize,
    samples: &[Sample],
    peak_mb: f64,
    tally: &Tally,
) -> Value {
    let totals = samples.iter().map(|sample| sample.total);
    let total = median(totals.clone().collect());
    json!({
        "what": what,
        "objects": objects,
        "times": samples.len(),
        "create_s": median(samples.iter().map(|sample| sample.created).collect()),
        "total_s": total,
        "total_min_s": totals.clone().fold(f64::INFINITY, f64::min),
        "total_max_s": totals.fold(0.0, f64::max),
        "processor_s": median(samples.iter().map(|sample| sample.processor).collect()),
        "objects_per_s": objects as f64 / total,
        "peak_mb": peak_mb,
        "tally": tally.to_json(),
    })
}

/// The exponent k of the power law `y = c · x^k` that fits the points best: least squares of log y on log x.
pub(crate) fn exponent(points: &[(f64, f64)]) -> f64 {
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

/// The exponents of the rows' time, total and processor's: over all sizes, and over those of 1,000 objects and more.
pub(crate) fn exponents(what: &str, rows: &[Value]) -> Value {
    let fit = |field: &str, least: f64| {
        let points = of(rows, what).map(|row| (number(row, "/objects"), number(row, field)));
        let points: Vec<_> = points.filter(|(objects, _)| *objects >= least).collect();
        exponent(&points)
    };
    json!({
        "what": "exponent",
        "of": what,
        "total_all": fit("/total_s", 0.0),
        "total_from_1000": fit("/total_s", 1000.0),
        "processor_all": fit("/processor_s", 0.0),
        "processor_from_1000": fit("/processor_s", 1000.0),
    })
}

fn number(row: &Value, pointer: &str) -> f64 {
    row.pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or(f64::NAN)
}

fn of<'a>(rows: &'a [Value], what: &'a str) -> impl Iterator<Item = &'a Value> {
    rows.iter().filter(move |row| row["what"] == what)
}

/// All tables, as Markdown.
pub(crate) fn tables(rows: &[Value]) -> String {
    let parts = [
        times(rows),
        memory(rows),
        by_call(
            rows,
            "calls",
            "Calls to AWS of one task, as they are on the wire",
        ),
        by_call(rows, "units", "DynamoDB request units of one task, by call"),
        units(rows),
        pages(rows),
    ];
    parts.join("\n")
}

fn times(rows: &[Value]) -> String {
    let mut table = Table::new(
        "Seconds from `/run` sent until it answered, and until the task was done (median, and least to most); of processor time (median)",
        "objects|times|`/run`|done|least to most|objects/s|bare done|least to most|service ÷ bare|processor|bare processor|service ÷ bare",
    );
    for (service, bare) in of(rows, "service").zip(of(rows, "bare")) {
        let range = |row| {
            let (least, most) = (number(row, "/total_min_s"), number(row, "/total_max_s"));
            format!("{least:.4} to {most:.4}")
        };
        let ratio = |field| format!("{:.2}", number(service, field) / number(bare, field));
        table.row([
            service["objects"].to_string(),
            service["times"].to_string(),
            format!("{:.4}", number(service, "/create_s")),
            format!("{:.4}", number(service, "/total_s")),
            range(service),
            format!("{:.0}", number(service, "/objects_per_s")),
            format!("{:.4}", number(bare, "/total_s")),
            range(bare),
            ratio("/total_s"),
            format!("{:.4}", number(service, "/processor_s")),
            format!("{:.4}", number(bare, "/processor_s")),
            ratio("/processor_s"),
        ]);
    }
    let mut fits = Table::new(
        "Fitted exponents of these times",
        "of|done, all sizes|done, from 1,000 on|processor, all sizes|processor, from 1,000 on",
    );
    for row in of(rows, "exponent") {
        let fields = [
            "total_all",
            "total_from_1000",
            "processor_all",
            "processor_from_1000",
        ];
        let fields = fields.map(|field| format!("{:.2}", number(row, &format!("/{field}"))));
        let what = row["of"].as_str().unwrap_or_default().to_owned();
        fits.row(std::iter::once(what).chain(fields));
    }
    format!("{}\n{}", table.text, fits.text)
}

fn memory(rows: &[Value]) -> String {
    let mut table = Table::new(
        "Peak memory in MB (VmHWM): all in one process; and the handlers and the bare client in processes of their own, with what was resident before",
        "objects|service, all|bare, all|÷|create|before|bare create|before|worker|before|bare worker|before",
    );
    let all = of(rows, "service").zip(of(rows, "bare"));
    for ((service, bare), alone) in all.zip(of(rows, "handlers")) {
        let (ours, theirs) = (number(service, "/peak_mb"), number(bare, "/peak_mb"));
        let mut cells = vec![
            service["objects"].to_string(),
            format!("{ours:.0}"),
            format!("{theirs:.0}"),
            format!("{:.2}", ours / theirs),
        ];
        for half in ["create", "bare-create", "work", "bare-work"] {
            for field in ["peak_mb", "before_mb"] {
                cells.push(format!("{:.1}", number(alone, &format!("/{half}/{field}"))));
            }
        }
        table.row(cells);
    }
    table.text
}

/// What the tallies hold under `field` for each call, its sum, and its sum per object.
fn by_call(rows: &[Value], field: &str, title: &str) -> String {
    let sized: Vec<_> = of(rows, "service").chain(of(rows, "bare")).collect();
    let heads = sized.iter().map(|row| {
        let what = row["what"].as_str().unwrap_or_default();
        format!("{what} {}", row["objects"])
    });
    let heads: Vec<_> = std::iter::once("call".to_owned()).chain(heads).collect();
    let mut table = Table::new(title, &heads.join("|"));
    let names: BTreeSet<_> = sized
        .iter()
        .flat_map(|row| row["tally"][field].as_object().into_iter().flatten())
        .map(|(name, _)| name.as_str())
        .collect();
    let count = |row: &Value, name: &str| row["tally"][field][name].as_f64().unwrap_or_default();
    for name in &names {
        let counts = sized.iter().map(|row| count(row, name).to_string());
        table.row(std::iter::once((*name).to_owned()).chain(counts));
    }
    let sum = |row: &Value| names.iter().map(|name| count(row, name)).sum::<f64>();
    let sums = sized.iter().map(|row| sum(row).to_string());
    table.row(std::iter::once("all".to_owned()).chain(sums));
    let each = sized
        .iter()
        .map(|row| format!("{:.4}", sum(row) / number(row, "/objects")));
    table.row(std::iter::once("per object".to_owned()).chain(each));
    table.text
}

fn units(rows: &[Value]) -> String {
    let mut table = Table::new(
        "DynamoDB request units of one task",
        "what|objects|read|write|of these the index's|of these for refused writes|read per object|write per object|answers checked|differing",
    );
    for row in of(rows, "service").chain(of(rows, "bare")) {
        let unit = |name: &str| number(row, &format!("/tally/{name}"));
        let objects = number(row, "/objects");
        table.row([
            row["what"].as_str().unwrap_or_default().to_owned(),
            row["objects"].to_string(),
            format!("{:.1}", unit("read_units")),
            format!("{:.1}", unit("write_units")),
            format!("{:.1}", unit("index_write_units")),
            format!("{:.1}", unit("refused_write_units")),
            format!("{:.4}", unit("read_units") / objects),
            format!("{:.4}", unit("write_units") / objects),
            format!("{:.0}", unit("units_checked")),
            format!("{:.0}", unit("units_differing")),
        ]);
    }
    table.text
}

fn pages(rows: &[Value]) -> String {
    let mut table = Table::new(
        "A list page, `limit=100`",
        "filter|page|tasks stored|rows shown|ms (median)|processor ms (median)|queries|rows read|read units",
    );
    let mut pages: Vec<_> = of(rows, "page").collect();
    let place = |row: &Value| {
        let places = ["first", "middle", "last"];
        places.iter().position(|place| row["place"] == *place)
    };
    let filter = |row: &Value| row["filter"].as_str().unwrap_or_default().to_owned();
    pages.sort_by_key(|row| (filter(row), place(row), row["tasks"].as_u64()));
    for row in pages {
        let tally = |name: &str| number(row, &format!("/tally/{name}"));
        table.row([
            match filter(row).as_str() {
                "" => "none".to_owned(),
                filter => format!("`{filter}`"),
            },
            row["place"].as_str().unwrap_or_default().to_owned(),
            row["tasks"].to_string(),
            row["rows"].to_string(),
            format!("{:.1}", number(row, "/median_ms")),
            format!("{:.1}", number(row, "/processor_ms")),
            format!("{:.0}", tally("calls/DynamoDB.Query")),
            format!("{:.0}", tally("rows_read")),
            format!("{:.1}", tally("read_units")),
        ]);
    }
    table.text
}
