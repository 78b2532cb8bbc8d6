//! Where files are.

use std::path::PathBuf;

/// A file of the repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

/// A file of the target directory. Tests keep there what they fetched.
pub(crate) fn in_target(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a program has a path");
    // <target directory>/<profile>/deps/<test>
    let target = test.ancestors().nth(3).expect("a target directory");
    target.join(name)
}
