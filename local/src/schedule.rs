//! Runs a job on a schedule, as EventBridge Scheduler runs the sweeper.

use std::time::Duration;
use web::stop::Stop;

/// Runs `job` after `first`, and again `interval` after each run has ended, until `stop`, which
/// drops a running job. A job that panics runs again the next time.
pub(crate) async fn every<J, F>(first: Duration, interval: Duration, stop: Stop, job: J)
where
    J: Fn() -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut wait = first;
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(wait) => {}
        }
        // The task contains a panic of the job. If this future is dropped, the set aborts the task.
        let mut running = tokio::task::JoinSet::new();
        running.spawn(job());
        tokio::select! {
            () = stop.requested() => return,
            _ = running.join_next() => {}
        }
        wait = interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;
    use web::stop;

    #[tokio::test]
    async fn a_job_runs_again_after_a_panic_until_it_is_stopped() {
        let (stopper, stop) = stop::signal();
        let third_run = Arc::new(Notify::new());
        let scheduled = tokio::spawn(every(Duration::ZERO, Duration::from_millis(1), stop, {
            let third_run = Arc::clone(&third_run);
            let runs = AtomicUsize::new(0);
            move || {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                if run == 2 {
                    third_run.notify_one();
                }
                async move { assert_ne!(run, 1, "the second run panics") }
            }
        }));
        third_run.notified().await;
        stopper.stop();
        scheduled.await.unwrap();
    }
}
