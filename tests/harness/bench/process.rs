//! Starts processes that measure, and reads what this process has used from proc(5).

use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::Command;

/// Runs this program with these arguments in a separate process. Returns the JSON in the last line
/// that it prints.
///
/// # Panics
/// When it fails.
pub async fn child(arguments: &[&str]) -> Value {
    let mut command = Command::new(this_program());
    command.args(arguments);
    child_of(command).await
}

/// As [`child`], for any command.
///
/// # Panics
/// When it fails.
pub async fn child_of(mut command: Command) -> Value {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let ended = child.wait_with_output().await.expect("it ends");
    assert!(ended.status.success(), "{command:?}: {}", ended.status);
    let printed = ended.stdout.trim_ascii_end();
    let last = printed.rsplit(|byte| *byte == b'\n').next();
    serde_json::from_slice(last.unwrap_or_default()).expect("it prints JSON")
}

/// The path of this program.
///
/// # Panics
/// When the system does not provide it.
pub fn this_program() -> PathBuf {
    std::env::current_exe().expect("this program has a path")
}

/// The most memory this process has had resident since [`forget_peak`], in megabytes (`VmHWM`).
pub fn peak_megabytes() -> f64 {
    status_megabytes("VmHWM:")
}

/// The memory this process has resident now, in megabytes (`VmRSS`).
pub fn resident_megabytes() -> f64 {
    status_megabytes("VmRSS:")
}

fn status_megabytes(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes =
        kilobytes.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}

/// Resets the peak to what is resident now (`clear_refs`).
pub fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process reset its own peak");
}

/// The processor time that this process's threads have used, in seconds (`schedstat`, the first
/// field, in nanoseconds).
pub fn processor_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux lists a process's threads");
    let nanoseconds = threads.filter_map(|thread| {
        let path = thread.ok()?.path().join("schedstat");
        let text = std::fs::read_to_string(path).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}
