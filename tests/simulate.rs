//! Runs random schedules, as many as one likes, or one again.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

fn main() {
    let seed: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let count: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let t = std::time::Instant::now();
    let mut stats = tests::sim::Stats::default();
    for s in seed..seed + count {
        let r = tests::sim::run(s);
        stats.add(&r.stats);
        if count == 1 || r.violation.is_some() {
            for l in &r.trace { println!("{l}"); }
            println!("seed {s} {:?} {:x}", r.violation, r.hash);
            if r.violation.is_some() { break; }
        }
    }
    println!("{stats:?} {:?}", t.elapsed());
}
