//! What a request makes the processor do, counted by callgrind: instructions, and misses in a simple model of caches and of a
//! branch predictor. From event to answer, beside the same SDK calls bare; see `processor.rs`.

use crate::processor::{hosts, requests_arguments};
use crate::requests::Endpoint;
use std::process::Stdio;
use tests::measure::callgrind::{Callgrind, Counts};
use tests::measure::rows::Row;
use tests::measure::{addresses, child_of, this_program};

/// What is counted, by callgrind's names. A data miss is one of a read or of a write.
const INSTRUCTIONS: &[&str] = &["Ir"];
const INSTRUCTION_MISSES: &[&str] = &["I1mr"];
const DATA_MISSES: &[&str] = &["D1mr", "D1mw"];
const MISPREDICTIONS: &[&str] = &["Bcm", "Bim"];

/// Counts each endpoint's requests.
pub(crate) async fn measure(quick: bool) -> Vec<Row> {
    let times = if quick { "10" } else { "40" };
    let mut rows = Vec::new();
    for endpoint in Endpoint::ALL {
        // A request is measured once by the handler and twice by the bare client.
        let handler = count(endpoint, "*poll_handler*", times, 1.0).await;
        let bare = count(endpoint, "*poll_bare*", times, 2.0).await;
        let number = |side: &Per, names| format!("{:.1}", side.thousands(names)).into();
        let over = |names| {
            let quotient = handler.thousands(names) / bare.thousands(names);
            format!("{quotient:.3}").into()
        };
        rows.push(vec![
            ("a request", endpoint.name().into()),
            ("instructions, thousand", number(&handler, INSTRUCTIONS)),
            ("bare", number(&bare, INSTRUCTIONS)),
            ("÷", over(INSTRUCTIONS)),
            (
                "missed in the cache of instructions ÷ bare",
                over(INSTRUCTION_MISSES),
            ),
            ("in that of data ÷ bare", over(DATA_MISSES)),
            ("mispredicted branches ÷ bare", over(MISPREDICTIONS)),
        ]);
    }
    rows
}

/// What was counted, of so many requests.
struct Per {
    counts: Counts,
    requests: f64,
}

impl Per {
    /// Thousands of these in a request.
    fn thousands(&self, names: &[&str]) -> f64 {
        let sum: u64 = names.iter().map(|name| self.counts.of(name)).sum();
        sum as f64 / self.requests / 1000.0
    }
}

/// Counts what happens within one function alone: `polled`, a pattern of its name.
async fn count(endpoint: Endpoint, polled: &str, times: &str, a_turn: f64) -> Per {
    eprintln!("profile, {}, {polled}", endpoint.name());
    let hosts = hosts(endpoint).await;
    let services = addresses(&hosts).to_string();
    let toggle = format!("--toggle-collect={polled}");
    let options = ["--cache-sim=yes", "--branch-sim=yes", &toggle];
    let (callgrind, mut command) = Callgrind::of(&this_program(), &options);
    command.args(requests_arguments(endpoint, "event", "1", times, &services));
    child_of(command, Stdio::null()).await;
    hosts.shutdown().await;
    let times: f64 = times.parse().expect("a number");
    let counts = callgrind.counts();
    assert!(counts.of("Ir") > 0, "no function is named like {polled}");
    Per {
        counts,
        requests: 2.0 * times * a_turn, // with the round that is the warm-up
    }
}
