//! Builds the functions. `cargo test` does not build the binaries of other packages, so the tests
//! do it.

use crate::files::in_repository;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// How long the build may take. Right after `cargo test` only the functions have to be linked, but
/// the build may have to wait for another one to end.
const BUILD_TIMEOUT: Duration = Duration::from_secs(30 * 60);

type Binaries = BTreeMap<String, PathBuf>;

/// The binary of this function, up to date with its source.
///
/// # Panics
/// When the functions cannot be built, or there is no function of this name.
pub(super) async fn built(function: &str) -> PathBuf {
    // A failure here fails every test in the same way, so it is not tried again.
    static BUILT: OnceCell<Result<Binaries, String>> = OnceCell::const_new();
    match BUILT.get_or_init(build).await {
        Ok(binaries) => binaries
            .get(function)
            .unwrap_or_else(|| panic!("there is no function `{function}`"))
            .clone(),
        Err(why) => panic!("the functions cannot be built: {why}"),
    }
}

/// Builds the functions next to this test or program, from the dependencies that were compiled for
/// it. It uses this test's profile and target directory. The features of the dependencies are the
/// same, because this package is selected too.
async fn build() -> Result<Binaries, String> {
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    // <target directory>/<profile's directory>/deps/<test>, or without `deps` when it is a program
    let mut folders = test.ancestors().skip(1);
    let profile = folders.find(|folder| !folder.ends_with("deps"));
    let profile = profile.unwrap_or(Path::new(""));
    let (Some(target), Some(name)) = (profile.parent(), profile.file_name()) else {
        return Err(format!("{} is not where Cargo puts tests", test.display()));
    };
    let mut cargo = Command::from(cargo());
    cargo
        .args(["build", "--workspace", "--exclude", "local", "--bins"])
        // Everything that this test was built from is already here, and the functions need nothing
        // else.
        .args(["--locked", "--offline"])
        .arg("--message-format=json-render-diagnostics")
        .arg("--target-dir")
        .arg(target)
        .arg("--profile")
        .arg(if name == "debug" {
            "dev".as_ref()
        } else {
            name
        })
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let built = timeout(BUILD_TIMEOUT, cargo.output()).await;
    let built = built.map_err(|_| format!("not done within {BUILD_TIMEOUT:?}"))?;
    let built = built.map_err(|error| format!("{}: {error}", env!("CARGO")))?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr);
        return Err(format!("`cargo build` {}\n{said}", built.status));
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    Ok(messages.lines().filter_map(executable).collect())
}

/// Returns a command for cargo in the repository, as if called from a shell.
pub fn cargo() -> std::process::Command {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.current_dir(in_repository(""));
    // Cargo sets variables that tell a test its package. Build scripts that watch these variables
    // (such as ring's) would run again, and everything that depends on them would be compiled
    // again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// A binary that Cargo reports, with its name.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message["executable"].as_str()?;
    let name = message["target"]["name"].as_str()?;
    Some((name.to_owned(), path.into()))
}
