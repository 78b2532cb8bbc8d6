//! Counts what a program does, with valgrind's callgrind.
//!
//! The counts are the same on every run, whatever else the machine does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::process::Command;

/// One run of a program under callgrind.
#[derive(Debug)]
pub struct Callgrind {
    output: PathBuf,
}

/// The counts, by callgrind's names: `Ir` are instructions.
#[derive(Debug)]
pub struct Counts(HashMap<String, u64>);

impl Callgrind {
    /// Returns the command of a run with these callgrind options. The caller adds the program's
    /// arguments.
    pub fn of(program: &Path, options: &[&str]) -> (Self, Command) {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let name = format!("callgrind-{}-{number}", std::process::id());
        let output = std::env::temp_dir().join(name);
        let mut command = Command::new("valgrind");
        command
            .args(["--quiet", "--tool=callgrind"])
            .arg(format!("--callgrind-out-file={}", output.display()))
            .args(options)
            .arg(program);
        (Self { output }, command)
    }

    /// Returns the counts, after the program has ended.
    ///
    /// # Panics
    /// When callgrind reported none.
    pub fn counts(self) -> Counts {
        let text = std::fs::read_to_string(&self.output).expect("callgrind wrote it");
        let _ = std::fs::remove_file(&self.output);
        let words = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().split_whitespace()
        };
        let totals = words("totals:").map(|total| total.parse().expect("a number"));
        let names = words("events:").map(str::to_owned);
        Counts(names.zip(totals).collect())
    }
}

impl Counts {
    /// The count of this name.
    ///
    /// # Panics
    /// When it was not counted.
    pub fn of(&self, name: &str) -> u64 {
        *self.0.get(name).expect("it was counted")
    }
}
