//! The packages that each function is built from.
//!
//! They are those of a build of the function alone, as for a deployment. A build together with the
//! tests does not count, because features add up there.

use super::*;
use tests::runtime_api::cargo;

/// The packages that a function is built from, itself included.
fn packages_of(function: &str) -> BTreeSet<String> {
    let mut cargo = cargo();
    cargo
        .args(["tree", "--package", function, "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .args(["--locked", "--offline"]);
    let tree = cargo.output().expect("cargo runs");
    let said = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{said}");
    let lines = String::from_utf8(tree.stdout).unwrap();
    let names = lines.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn a_function_is_built_from_what_it_uses() {
    // A second cryptography, TLS or HTTP library, and a protocol that no function speaks.
    let nobody = ["aws-lc-rs", "aws-lc-sys", "openssl", "native-tls", "h2"];
    let nobody = nobody
        .into_iter()
        .chain(["aws-smithy-http-client", "tracing-subscriber"]);
    let worker = [
        "tokio-postgres",
        "aws-sdk-s3vectors",
        "aws-sdk-secretsmanager",
    ];
    for function in function_names() {
        let packages = packages_of(&function);
        assert!(packages.contains("rustls"), "{packages:?}");
        for package in nobody.clone() {
            assert!(!packages.contains(package), "{function}: {package}");
        }
        for package in worker {
            let is_linked = packages.contains(package);
            assert_eq!(
                is_linked,
                function == "deletion-worker",
                "{function}: {package}"
            );
        }
    }
}
