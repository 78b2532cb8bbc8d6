//! Workers that are killed (SIGKILL) while they work. `cargo run -p tests --bin kill-workers` kills
//! many more.

use tests::kills::{Plan, run};

#[allow(
    clippy::print_stdout,
    reason = "for whoever runs this test with `--nocapture`"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_killed_workers_leave_is_carried_out_and_counted_once() {
    let report = run(Plan::brief(10, 1), |_| {}).await;
    assert!(report.kills >= 10, "{report}");
    assert_eq!(report.dead_letters, 0, "{report}");
    println!("{report}");
}
