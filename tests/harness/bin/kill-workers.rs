//! Kills workers while they work, and checks that nothing is lost and nothing is counted twice.

use clap::Parser;
use std::io::Write;
use tests::kills::{Plan, run};

/// Kill built workers with SIGKILL at random moments under load, and compare what the service says
/// about each object with the truth.
///
/// DynamoDB is on disk, in a new directory for each run. A run takes some minutes.
#[derive(Debug, Parser)]
#[command(name = "kill-workers")]
struct Arguments {
    /// How many workers to kill
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    kills: usize,

    /// The seed of all random choices
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

fn say(text: impl std::fmt::Display) {
    // The output may be closed.
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[tokio::main]
async fn main() {
    let Arguments { kills, seed } = Arguments::parse();
    let report = run(Plan::thorough(kills, seed), |news| say(news)).await;
    say(report);
}
