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
        let table = Self::untitled(heads.split('|'));
        Self {
            text: format!("{title}:\n\n{}", table.text),
        }
    }

    /// A table without rows and without a title.
    pub fn untitled<'a>(heads: impl IntoIterator<Item = &'a str>) -> Self {
        let heads: Vec<_> = heads.into_iter().collect();
        let line = vec!["---:"; heads.len()];
        Self {
            text: format!("| {} |\n| {} |\n", heads.join(" | "), line.join(" | ")),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().collect();
        self.text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}
