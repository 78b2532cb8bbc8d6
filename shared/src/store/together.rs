//! Calls for one key, one at a time.
//!
//! Requests that arrive while a call is in flight share the next one.
//!
//! Each request waits for its turn in its own future. The request whose turn it is makes a call for
//! all that wait. If a future is dropped, only its own request is lost: the next in line makes the
//! call for the others.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// The requests that wait, by key.
///
/// A clone has requests of its own: it waits for none of the original's.
pub(super) struct Together<A, R, S> {
    lines: Lines<A, R, S>,
    /// The longest time that a call waits for announced requests.
    patience: Duration,
}

type Lines<A, R, S> = Arc<Mutex<HashMap<String, Arc<Line<A, R, S>>>>>;

/// The requests for one key.
struct Line<A, R, S> {
    /// Held by the request that makes the call. Keeps what one call learned for the next.
    turn: tokio::sync::Mutex<S>,
    members: Mutex<Members<A, R>>,
    /// Notified when no announced request is missing any more.
    all_arrived: Notify,
}

struct Members<A, R> {
    waiting: Vec<Arc<Asked<A, R>>>,
    /// How many requests are announced and have not arrived yet.
    announced: usize,
}

/// A request that waits for its response.
pub(super) struct Asked<A, R> {
    /// The content of the request.
    pub(super) what: A,
    /// Taken when the response is sent.
    waits: Mutex<Option<oneshot::Sender<R>>>,
}

impl<A, R> Asked<A, R> {
    /// Sends the response, which ends the wait.
    pub(super) fn respond(&self, response: R) {
        if let Some(waits) = lock(&self.waits).take() {
            // Nobody waits any more if the future was dropped.
            let _ = waits.send(response);
        }
    }

    fn is_waiting(&self) -> bool {
        lock(&self.waits).is_some()
    }
}

impl<A, R, S> Together<A, R, S>
where
    A: Send + Sync + 'static,
    R: Send + 'static,
    S: Default + Send + 'static,
{
    /// Creates an instance without requests.
    ///
    /// A call waits at most `patience` for announced requests.
    pub(super) fn with_patience(patience: Duration) -> Self {
        Self {
            lines: Lines::default(),
            patience,
        }
    }

    /// Announces a request for `key`. The announcement lasts until the returned value is dropped.
    pub(super) fn announce(&self, key: &str) -> Announced {
        let place = self.join(key, |members| members.announced += 1);
        Announced(Box::new(Announcement(place)))
    }

    /// Makes a request for `key`, which may have been announced, and returns its response.
    ///
    /// `serve` makes one call for all requests that wait, oldest first. All of them arrived before
    /// the call begins. It responds to those that the call decided. The others wait for the next
    /// call, which begins with what this one returns.
    pub(super) async fn ask<F>(
        &self,
        key: &str,
        what: A,
        announced: Option<Announced>,
        serve: impl Fn(Vec<Arc<Asked<A, R>>>, S) -> F,
    ) -> R
    where
        F: Future<Output = S>,
    {
        let (waits, mut response) = oneshot::channel();
        let asked = Arc::new(Asked {
            what,
            waits: Mutex::new(Some(waits)),
        });
        let place = Waiting {
            place: self.join(key, |members| members.waiting.push(Arc::clone(&asked))),
            asked,
        };
        drop(announced);
        let line = &place.place.line;
        loop {
            // Biased: a request that has its response makes no call.
            tokio::select! {
                biased;
                Ok(response) = &mut response => return response,
                mut turn = line.turn.lock() => {
                    // Requests that are made at the same moment, such as those of a batch of
                    // messages, share the call.
                    tokio::task::yield_now().await;
                    let _ = tokio::time::timeout(self.patience, line.until_all_arrived()).await;
                    *turn = serve(line.waiting(), std::mem::take(&mut *turn)).await;
                }
            }
        }
    }

    fn join(&self, key: &str, join: impl FnOnce(&mut Members<A, R>)) -> Place<A, R, S> {
        let mut lines = lock(&self.lines);
        let line = Arc::clone(lines.entry(key.to_owned()).or_default());
        join(&mut lock(&line.members));
        Place {
            lines: Arc::clone(&self.lines),
            key: key.to_owned(),
            line,
        }
    }
}

impl<A, R, S> Line<A, R, S> {
    fn waiting(&self) -> Vec<Arc<Asked<A, R>>> {
        let mut waiting = lock(&self.members).waiting.clone();
        waiting.retain(|asked| asked.is_waiting());
        waiting
    }

    async fn until_all_arrived(&self) {
        while lock(&self.members).announced > 0 {
            self.all_arrived.notified().await;
        }
    }
}

/// A place in a line.
struct Place<A, R, S> {
    lines: Lines<A, R, S>,
    key: String,
    line: Arc<Line<A, R, S>>,
}

impl<A, R, S> Place<A, R, S> {
    /// Takes a member out of the line. The last member removes the line.
    fn leave(&self, leave: impl FnOnce(&mut Members<A, R>)) {
        let mut lines = lock(&self.lines);
        let mut members = lock(&self.line.members);
        leave(&mut members);
        if members.announced == 0 {
            self.line.all_arrived.notify_one();
            if members.waiting.is_empty() {
                lines.remove(&self.key);
            }
        }
    }
}

/// A request's place. The request leaves it when its future ends or is dropped.
struct Waiting<A, R, S> {
    place: Place<A, R, S>,
    asked: Arc<Asked<A, R>>,
}

impl<A, R, S> Drop for Waiting<A, R, S> {
    fn drop(&mut self) {
        self.place.leave(|members| {
            let others = |asked: &Arc<_>| !Arc::ptr_eq(asked, &self.asked);
            members.waiting.retain(others);
        });
    }
}

/// An announced request that has not arrived yet. Dropping it takes the announcement back.
#[derive(Debug)]
pub(super) struct Announced(
    #[expect(dead_code, reason = "it is only dropped")] Box<dyn Any + Send + Sync>,
);

/// The place of an announced request.
struct Announcement<A, R, S>(Place<A, R, S>);

impl<A, R, S> Drop for Announcement<A, R, S> {
    fn drop(&mut self) {
        self.0.leave(|members| members.announced -= 1);
    }
}

impl<A, R, S> Clone for Together<A, R, S> {
    fn clone(&self) -> Self {
        Self {
            lines: Lines::default(),
            patience: self.patience,
        }
    }
}

impl<A, R, S: Default> Default for Line<A, R, S> {
    fn default() -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            members: Mutex::new(Members {
                waiting: Vec::new(),
                announced: 0,
            }),
            all_arrived: Notify::new(),
        }
    }
}

impl<A, R, S> fmt::Debug for Together<A, R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use futures_util::poll;
    use std::pin::pin;
    use tokio::sync::Semaphore;

    const PATIENCE: Duration = Duration::from_millis(20);

    /// Calls that wait for a permit, each recorded with the requests that it served.
    struct Calls {
        together: Together<u32, usize, usize>,
        gate: Semaphore,
        served: Mutex<Vec<Vec<u32>>>,
    }

    impl Calls {
        fn new() -> Self {
            Self {
                together: Together::with_patience(PATIENCE),
                gate: Semaphore::new(0),
                served: Mutex::default(),
            }
        }

        /// Makes a request, and returns the number of the call that served it.
        async fn ask(&self, what: u32) -> usize {
            let serve = async |asked: Vec<Arc<Asked<u32, usize>>>, call| {
                let call = call + 1;
                let whats = asked.iter().map(|one| one.what).collect();
                lock(&self.served).push(whats);
                self.gate.acquire().await.unwrap().forget();
                asked.iter().for_each(|one| one.respond(call));
                call
            };
            self.together.ask("key", what, None, serve).await
        }

        fn served(&self) -> Vec<Vec<u32>> {
            lock(&self.served).clone()
        }
    }

    #[tokio::test]
    async fn requests_that_arrive_in_one_moment_share_a_call_and_those_that_arrive_during_it_the_next()
     {
        let calls = Calls::new();
        let mut first = pin!(join_all([calls.ask(1), calls.ask(2)]));
        while calls.served().is_empty() {
            assert!(poll!(&mut first).is_pending());
        }
        let mut next = pin!(join_all([calls.ask(3), calls.ask(4)]));
        assert!(poll!(&mut next).is_pending());
        assert_eq!(calls.served(), [vec![1, 2]], "one call is under way");
        calls.gate.add_permits(2);
        let (first, next) = tokio::join!(first, next);
        assert_eq!((first, next), (vec![1, 1], vec![2, 2]));
        assert_eq!(calls.served(), [vec![1, 2], vec![3, 4]]);
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_while_it_serves_takes_no_other_with_it() {
        let calls = Calls::new();
        let mut first = Box::pin(calls.ask(1));
        let mut second = pin!(calls.ask(2));
        while calls.served().is_empty() {
            assert!(poll!(&mut first).is_pending());
        }
        assert!(poll!(&mut second).is_pending());
        drop(first);
        calls.gate.add_permits(1);
        second.await;
        assert_eq!(calls.served(), [vec![1], vec![2]]);
    }

    #[tokio::test]
    async fn a_call_waits_for_requests_that_are_announced_but_not_for_long() {
        let calls = Calls::new();
        calls.gate.add_permits(10);
        let announced = calls.together.announce("key");
        let mut first = pin!(calls.ask(1));
        assert!(poll!(&mut first).is_pending());
        assert!(calls.served().is_empty(), "it waits for the other");
        let mut second = pin!(calls.ask(2));
        assert!(poll!(&mut second).is_pending());
        drop(announced);
        join_all([first, second]).await;
        assert_eq!(calls.served(), [vec![1, 2]]);

        let began = tokio::time::Instant::now();
        let _never = calls.together.announce("key");
        calls.ask(3).await;
        assert!(began.elapsed() >= PATIENCE);
    }

    #[tokio::test]
    async fn nothing_is_kept_of_requests_that_have_their_response_or_were_dropped() {
        let calls = Calls::new();
        let mut dropped = Box::pin(calls.ask(1));
        assert!(poll!(&mut dropped).is_pending());
        drop(dropped);
        calls.gate.add_permits(1);
        calls.ask(2).await;
        drop(calls.together.announce("key"));
        assert!(lock(&calls.together.lines).is_empty());
    }
}
