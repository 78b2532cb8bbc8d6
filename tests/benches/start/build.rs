//! Builds what is measured. Each function is built alone, as for a deployment, so that the features
//! of others do not add up in it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::runtime_api::{cargo, function_names};

/// A binary to measure.
#[derive(Debug)]
pub(super) struct Binary {
    /// Its name in the figures.
    pub(super) name: String,
    /// The function whose variables and event it runs with.
    pub(super) function: String,
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    pub(super) stripped_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A baseline: the minimal function.
    Hello,
    /// A baseline: `create-deletion-task`, untuned.
    Defaults,
    /// Responds to API Gateway.
    Api,
    /// Responds to a queue, a schedule or a stream.
    Background,
}

/// The worker is also measured without this adapter.
const LEFT_OUT: &str = "store-protocol";

/// The baselines, then the functions whose names contain `only`.
pub(super) fn all(only: &str) -> Vec<Binary> {
    let target = target();
    let baselines = target.join("baselines");
    let mut binaries = Vec::new();
    for (name, profile, directory, kind) in [
        ("hello", "release", "release", Kind::Hello),
        ("defaults", "plain", "plain", Kind::Defaults),
    ] {
        let manifest = ["--manifest-path", "tests/baselines/Cargo.toml"];
        build(&manifest, name, profile, &baselines);
        let binary = Binary {
            function: "create-deletion-task".to_owned(),
            ..stripped(name, name, kind, &baselines.join(directory))
        };
        binaries.push(binary);
    }
    let release = target.join("release");
    for name in function_names() {
        if !name.contains(only) {
            continue;
        }
        let kind = match name.as_str() {
            "deletion-worker" | "task-sweeper" | "task-events" => Kind::Background,
            _ => Kind::Api,
        };
        build(&[], &name, "release", &target);
        binaries.push(stripped(&name, &name, kind, &release));
        if name == "deletion-worker" {
            let features = default_features_but(LEFT_OUT, &name);
            let features = ["--no-default-features", "--features", &features];
            build(&features, &name, "release", &target);
            let without = format!("{name} without {LEFT_OUT}");
            binaries.push(stripped(&without, &name, kind, &release));
        }
    }
    binaries
}

/// A package's default features except one, in the form for `cargo build`.
fn default_features_but(left_out: &str, package: &str) -> String {
    let metadata = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|it| it["name"] == package);
    let features = &package.expect("a package of the workspace")["features"]["default"];
    let features = features.as_array().expect("default features").iter();
    let mut features: Vec<_> = features.filter_map(Value::as_str).collect();
    let all = features.len();
    features.retain(|feature| *feature != left_out);
    assert_eq!(features.len(), all - 1, "{left_out} is one of them");
    features.join(",")
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

/// Strips a binary that was just built, under its name in the figures. The next build may replace
/// the original.
fn stripped(name: &str, package: &str, kind: Kind, directory: &Path) -> Binary {
    let path = directory.join(format!("{name}.stripped"));
    let strip = Command::new("strip")
        .arg("-o")
        .arg(&path)
        .arg(directory.join(package))
        .status();
    assert!(strip.expect("strip (binutils) runs").success());
    let stripped_bytes = std::fs::metadata(&path).expect("strip wrote it").len();
    Binary {
        name: name.to_owned(),
        function: package.to_owned(),
        kind,
        path,
        stripped_bytes,
    }
}
