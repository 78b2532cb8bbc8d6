//! The connections of a server: how many it holds, and which one it closes to accept another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

/// The most connections of one server. With four servers and the handlers' own connections, the
/// process stays below the common limit of 1,024 open files.
const MAX_CONNECTIONS: usize = 200;

/// Whether a handler is working on a request of a connection. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_at_work: AtomicBool,
    /// The number of the connection's last event; a lower number is older.
    since: AtomicU64,
}

/// Held while a handler works on a request.
#[derive(Debug)]
pub(super) struct AtWork<'a>(&'a Activity);

impl Activity {
    /// Marks that a whole request has arrived.
    pub(super) fn begins(&self) -> AtWork<'_> {
        self.0.is_at_work.store(true, Ordering::Relaxed);
        AtWork(self)
    }

    fn touch(&self) {
        static EVENTS: AtomicU64 = AtomicU64::new(0);
        let now = EVENTS.fetch_add(1, Ordering::Relaxed);
        self.0.since.store(now, Ordering::Relaxed);
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.touch();
        self.0.0.is_at_work.store(false, Ordering::Relaxed);
    }
}

/// The open connections. Dropping this closes them.
#[derive(Debug, Default)]
pub(super) struct Connections {
    running: JoinSet<()>,
    held: HashMap<Id, (AbortHandle, Activity)>,
}

impl Connections {
    /// Adds a connection.
    pub(super) fn hold(
        &mut self,
        activity: Activity,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        activity.touch();
        let task = self.running.spawn(connection);
        self.held.insert(task.id(), (task, activity));
    }

    /// Waits until a connection has ended, for ever if there is none.
    pub(super) async fn one_ended(&mut self) {
        match self.running.join_next_with_id().await {
            Some(ended) => {
                let id = ended.map_or_else(|error: JoinError| error.id(), |(id, ())| id);
                self.held.remove(&id);
            }
            None => std::future::pending().await,
        }
    }

    /// Makes room for one more connection. It closes the one that has waited longest for a whole
    /// request. If a handler is working for every connection, it waits until one ends.
    pub(super) async fn room_for_one_more(&mut self) {
        while self.held.len() >= MAX_CONNECTIONS {
            self.close_an_idle_one();
            self.one_ended().await;
        }
    }

    /// Closes the connection that has waited longest for a whole request, if there is one.
    pub(super) fn close_an_idle_one(&self) {
        let idle = self.held.values();
        let idle = idle.filter(|(_, activity)| !activity.0.is_at_work.load(Ordering::Relaxed));
        let oldest = idle.min_by_key(|(_, activity)| activity.0.since.load(Ordering::Relaxed));
        if let Some((task, _)) = oldest {
            task.abort();
        }
    }
}
