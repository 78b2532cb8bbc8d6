//! Kills workers while they work, as often as wished, and proves that nothing is lost and nothing
//! is counted twice.

use clap::Parser;
use std::io::Write;
use tests::kills::{Plan, run};

/// Kill really built workers with SIGKILL at random moments under load, and compare what the
/// service says of each object with the truth.
///
/// DynamoDB is on disk, in a directory of its own for this run. It takes some minutes.
#[derive(Debug, Parser)]
#[command(name = "kill-workers")]
struct Arguments {
    /// How many workers to kill
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    kills: usize,

    /// Of all random choices
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

fn say(text: impl std::fmt::Display) {
    // Whoever started this may not listen.
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[tokio::main]
async fn main() {
    let Arguments { kills, seed } = Arguments::parse();
    let report = run(Plan::thorough(kills, seed), |news| say(news)).await;
    say(report);
}
