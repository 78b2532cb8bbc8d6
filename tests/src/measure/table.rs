//! The tables that the benchmarks print.

/// A table in Markdown.
#[derive(Clone, Debug)]
pub struct Table {
    /// What there is of it.
    pub text: String,
}

impl Table {
    /// A table without rows. `heads`: of its columns, with `|` between two.
    pub fn new(title: &str, heads: &str) -> Self {
        let line = heads.split('|').map(|_| "---:").collect::<Vec<_>>();
        let heads = heads.replace('|', " | ");
        Self {
            text: format!("{title}:\n\n| {heads} |\n| {} |\n", line.join(" | ")),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().collect();
        self.text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}
