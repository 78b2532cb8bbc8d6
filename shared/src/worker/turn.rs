//! The turn of a delete within the limit of its index, which all workers share by grants from the
//! table.

use crate::clock::Clock;
use crate::store::{Grant, GrantRequest, TaskStore};
use crate::vector::{Needed, Reserved, Turn, Turns};
use chrono::TimeDelta;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for the turn of a delete before its chunk is claimed.
///
/// Work whose turn is further away goes back to the queue. The wait is long enough that an index
/// always has work ready, and short enough that nobody else waits long for this worker.
pub(super) const NEAR: Duration = Duration::from_secs(1);
/// How long a grant may take. If it takes longer, the process keeps to its own pace.
const GRANT_TIME: Duration = Duration::from_millis(500);
/// The most grants taken for one turn, since others of this process may use them up first.
const MAX_GRANTS: usize = 4;

/// Reserves the next delete of `objects` objects.
///
/// Returns `None` and reserves nothing if its turn is further away than `longest`, or if others
/// used up every grant.
pub(super) async fn turn(
    tasks: &TaskStore,
    clock: &Clock,
    turns: &Arc<Turns>,
    objects: usize,
    longest: Duration,
) -> Option<Turn> {
    match turns.reserve(objects, longest, clock.now()) {
        Reserved::Turn(turn) => return Some(turn),
        Reserved::Far => return None,
        Reserved::NeedsGrant(_) => {}
    }
    let _asking = turns.asking().await;
    for _ in 0..MAX_GRANTS {
        match turns.reserve(objects, longest, clock.now()) {
            Reserved::Turn(turn) => return Some(turn),
            Reserved::Far => return None,
            Reserved::NeedsGrant(needed) => take_grant(tasks, clock, turns, needed, longest).await,
        }
    }
    None
}

/// Takes a grant from the table, and passes the result to `turns`.
async fn take_grant(
    tasks: &TaskStore,
    clock: &Clock,
    turns: &Turns,
    needed: Needed,
    longest: Duration,
) {
    let now = clock.now();
    let delta = |time| TimeDelta::from_std(time).unwrap_or_default();
    let request = GrantRequest {
        time: delta(needed.time),
        earliest: now - delta(needed.burst),
        latest: now + delta(longest),
        is_idle: needed.is_idle,
    };
    let grant = tasks.take_grant(turns.address(), request);
    match tokio::time::timeout(GRANT_TIME, grant).await {
        Ok(Ok(Grant::Given(time))) => turns.granted(&time),
        Ok(Ok(Grant::TakenUntil(until))) => turns.taken(until),
        Ok(Err(_)) | Err(_) => turns.unanswered(clock.now()),
    }
}
