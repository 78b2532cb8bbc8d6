//! A signal to stop that any number of tasks can wait for.

use tokio::sync::watch;

/// Gives the signal. Dropping it gives the signal too, so that nothing outlives its owner.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Waits for the signal.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A signal that has not been given yet.
pub fn signal() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Gives the signal.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Waits until the signal has been given.
    pub async fn requested(&self) {
        let _ = self.0.clone().wait_for(|given| *given).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_signal_reaches_tasks_that_wait_and_tasks_that_wait_later() {
        let (stopper, stop) = signal();
        let early = tokio::spawn({
            let stop = stop.clone();
            async move { stop.requested().await }
        });
        stopper.stop();
        early.await.unwrap();
        stop.requested().await;
    }

    #[tokio::test]
    async fn dropping_the_owner_is_the_signal() {
        let (stopper, stop) = signal();
        drop(stopper);
        stop.requested().await;
    }
}
