//! Rows of figures, as tables in Markdown or as JSON.

use super::table::Table;
use serde_json::Value;

/// A row: its columns in order.
pub type Row = Vec<(&'static str, Value)>;

/// Prints one table for each kind of row, or one JSON object a row.
#[allow(clippy::print_stdout, reason = "for benchmarks, which print")]
pub fn print(rows: &[Row], json: bool) {
    match json {
        true => rows.iter().for_each(|row| {
            let fields = row.iter();
            let fields = fields.map(|(name, value)| ((*name).to_owned(), value.clone()));
            println!("{}", Value::Object(fields.collect()));
        }),
        false => print_tables(rows),
    }
}

#[allow(clippy::print_stdout, reason = "for benchmarks, which print")]
fn print_tables(rows: &[Row]) {
    let names = |row: &Row| row.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    for kind in rows.chunk_by(|one, next| names(one) == names(next)) {
        let mut table = Table::untitled(kind.first().map(names).unwrap_or_default());
        for row in kind {
            table.row(row.iter().map(|(_, value)| match value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            }));
        }
        println!("\n{}", table.text.trim_end());
    }
}
