//! The output of the benchmarks: rows of figures, as tables in Markdown or as JSON.

use serde_json::{Map, Value};

/// A row: its columns in order, each with its heading. A row of another kind has other columns.
pub type Row = Vec<(String, Value)>;

/// A row of these columns.
pub fn row<const N: usize>(columns: [(&str, Value); N]) -> Row {
    columns
        .map(|(head, value)| (head.to_owned(), value))
        .to_vec()
}

/// A number with this many digits after the decimal point.
pub fn number(value: f64, digits: usize) -> Value {
    format!("{value:.digits$}").into()
}

/// Prints a table for each kind of row, or one JSON object per row.
#[allow(clippy::print_stdout, reason = "for benchmarks, which print")]
pub fn print(rows: &[Row], json: bool) {
    if json {
        for row in rows {
            println!("{}", Value::Object(Map::from_iter(row.iter().cloned())));
        }
        return;
    }
    for kind in rows.chunk_by(|one, next| heads(one).eq(heads(next))) {
        let heads: Vec<_> = heads(&kind[0]).collect();
        println!("\n| {} |", heads.join(" | "));
        println!("| {} |", vec!["---:"; heads.len()].join(" | "));
        for row in kind {
            let cells = row.iter().map(|(_, value)| match value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            });
            println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        }
    }
}

fn heads(row: &Row) -> impl Iterator<Item = &str> {
    row.iter().map(|(head, _)| head.as_str())
}
