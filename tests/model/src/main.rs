//! Searches every scenario. Then shows which invariant each broken variant breaks, and how.
//!
//! Run it with `cargo run --release -p model`. With `-- WORD` it runs only the scenarios and
//! variants whose names contain the word.

use model::scenario::Scenario;
use model::search::{Report, search};
use model::step::Model;
use model::variant::Variant;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let mut as_expected = true;
    let word = std::env::args().nth(1).unwrap_or_default();
    writeln!(
        out,
        "{:<34} {:>10} {:>11} {:>6} {:>8}",
        "scenario", "states", "steps", "depth", "seconds"
    )?;
    for scenario in Scenario::SMALL.into_iter().chain(Scenario::LARGE) {
        if !scenario.name.contains(&word) {
            continue;
        }
        let variant = Variant::Faithful;
        let (report, seconds) = timed(&Model { scenario, variant }, true);
        writeln!(
            out,
            "{:<34} {:>10} {:>11} {:>6} {seconds:>8.1}",
            scenario.name, report.states, report.steps, report.depth
        )?;
        as_expected &= report.violation.is_none();
        show(&mut out, &report)?;
    }
    for variant in Variant::BROKEN {
        if !variant.to_string().contains(&word) {
            continue;
        }
        let scenario = variant.scenario();
        let (report, seconds) = timed(&Model { scenario, variant }, false);
        writeln!(
            out,
            "\n{variant} ({}, {} states, {seconds:.1} s)",
            scenario.name, report.states
        )?;
        let broken = report.violation.as_ref().map(|found| found.invariant);
        as_expected &= broken == variant.breaks();
        show(&mut out, &report)?;
    }
    Ok(if as_expected {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let Some(violation) = &report.violation else {
        return Ok(());
    };
    writeln!(out, "  breaks {}:", violation.invariant)?;
    for (number, label) in (1..).zip(&violation.trace) {
        writeln!(out, "  {number:>3}. {label}")?;
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "to say how long a search took")]
fn timed(model: &Model, workers_in_order: bool) -> (Report, f64) {
    let began = std::time::Instant::now();
    let report = search(model, workers_in_order);
    (report, began.elapsed().as_secs_f64())
}
