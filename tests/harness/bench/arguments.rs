//! The arguments of every benchmark.

/// The flags that every benchmark takes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Flags {
    /// Measure fewer sizes, and each figure less often
    #[arg(long, global = true)]
    pub quick: bool,
    /// Print one JSON object per line instead of tables
    #[arg(long, global = true)]
    pub json: bool,
    /// What Cargo passes to a benchmark
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

impl Flags {
    /// Whether to measure. `cargo test --all-targets` also runs benchmarks; then this prints how to
    /// run the benchmark.
    #[allow(clippy::print_stdout, reason = "for benchmarks, which print")]
    pub fn is_bench(self, name: &str) -> bool {
        if !self.bench {
            println!("nothing is measured but by: cargo bench -p tests --bench {name}");
        }
        self.bench
    }
}
