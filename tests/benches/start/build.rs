//! Builds what is measured. Each function is built alone, as for a deployment: features of others must not add up in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use tests::runtime_api::{cargo, function_names};

/// What is measured.
#[derive(Debug)]
pub(super) struct Binary {
    /// What it is called in the figures.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    pub(super) stripped_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A baseline: the least there can be.
    Hello,
    /// A baseline: `create-deletion-task`, untuned.
    Defaults,
    /// Responds to API Gateway.
    Api,
    /// Responds to a queue, a schedule or a stream.
    Background,
}

/// The baselines, then the functions.
pub(super) fn all() -> Vec<Binary> {
    let target = target();
    let baselines = target.join("baselines");
    let mut binaries = Vec::new();
    for (name, profile, directory, kind) in [
        ("hello", "release", "release", Kind::Hello),
        ("defaults", "plain", "plain", Kind::Defaults),
    ] {
        build(
            &["--manifest-path", "tests/baselines/Cargo.toml"],
            name,
            profile,
            &baselines,
        );
        binaries.push(binary(name, kind, baselines.join(directory)));
    }
    for name in function_names() {
        let kind = match name.as_str() {
            "deletion-worker" | "task-sweeper" | "task-events" => Kind::Background,
            _ => Kind::Api,
        };
        build(&[], &name, "release", &target);
        binaries.push(binary(&name, kind, target.join("release")));
    }
    binaries
}

/// The target directory that this benchmark was built in: `<it>/<profile>/deps/<this>`.
fn target() -> PathBuf {
    let this = std::env::current_exe().expect("this program has a path");
    let target = this.ancestors().nth(3);
    target
        .expect("it is where Cargo puts benchmarks")
        .to_owned()
}

fn build(more: &[&str], package: &str, profile: &str, target: &Path) {
    eprintln!("building {package} ({profile})");
    let built = cargo()
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            package,
            "--profile",
            profile,
        ])
        .args(more)
        .arg("--target-dir")
        .arg(target)
        .status()
        .expect("cargo runs");
    assert!(built.success(), "{package} is not built: {built}");
}

fn binary(name: &str, kind: Kind, directory: PathBuf) -> Binary {
    let path = directory.join(name);
    let stripped = directory.join(format!("{name}.stripped"));
    let strip = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(&path)
        .status();
    assert!(strip.expect("strip (binutils) runs").success());
    let stripped_bytes = std::fs::metadata(&stripped).expect("strip wrote it").len();
    Binary {
        name: name.to_owned(),
        kind,
        path: stripped,
        stripped_bytes,
    }
}
