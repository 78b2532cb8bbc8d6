//! Deletes that the index acknowledges and does not do, does in part, or cannot confirm yet; and
//! the store of the port that says so.

use super::connector::current_process;
use super::world::{ProcessId, State, World};
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use futures_util::future::BoxFuture;
use shared::vector::{AfterDelete, Presence, VectorError, VectorStore};
use std::sync::Arc;

/// A key that is kept through so many deletes is never deleted.
const FOR_EVER: u32 = u32::MAX;

/// How deletes of one key go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsound {
    /// So many deletes leave the object as it is.
    pub(crate) keeps: u32,
    /// So many deletes of an object that was inserted take a part of it each, and the next one
    /// takes the rest.
    pub(crate) parts: u32,
    /// For so long a delete cannot be confirmed. Existence checks are current nevertheless.
    pub(crate) unconfirmed: TimeDelta,
}

impl Unsound {
    /// Draws how deletes of one key go, by the chances that they are kept, go in parts, and are not
    /// confirmed at once. `None`: they go as they should. Those of a gentle schedule do not make a
    /// task fail.
    pub(crate) fn draw(rng: &mut Rng, chances: [f64; 3], is_gentle: bool) -> Option<Self> {
        let [is_kept, has_parts, is_unconfirmed] = chances.map(|chance| rng.f64() < chance);
        if !is_kept && !has_parts && !is_unconfirmed {
            return None;
        }
        let keeps = match rng.u8(0..4) {
            _ if !is_kept => 0,
            0 if !is_gentle => FOR_EVER,
            1 if !is_gentle => rng.u32(2..=12),
            _ => 1,
        };
        let unconfirmed = match rng.u8(0..4) {
            _ if !is_unconfirmed => TimeDelta::zero(),
            0 if !is_gentle => TimeDelta::days(30),
            1 => TimeDelta::minutes(5),
            _ => TimeDelta::milliseconds(rng.i64(1..=2_000)),
        };
        Some(Self {
            keeps,
            parts: if has_parts { rng.u32(1..=8) } else { 0 },
            unconfirmed,
        })
    }
}

/// What a delete did to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It was not there.
    Absent,
    /// It is as it was.
    Kept,
    /// A part of it went.
    Part,
    /// It went, or the last of it.
    Gone,
}

/// A key with unsound deletes, and how far they have come.
pub(crate) struct UnsoundKey {
    unsound: Unsound,
    parts_left: u32,
    parts_taken: u32,
    confirmed_from: DateTime<Utc>,
}

impl UnsoundKey {
    pub(crate) fn new(unsound: Unsound) -> Self {
        Self {
            parts_left: unsound.parts,
            parts_taken: 0,
            confirmed_from: DateTime::<Utc>::MIN_UTC,
            unsound,
        }
    }

    /// The object is inserted, with all its parts.
    pub(super) fn inserted(&mut self) {
        self.parts_left = self.unsound.parts;
    }

    /// A delete of the key arrives.
    pub(super) fn delete(&mut self, is_present: bool, now: DateTime<Utc>) -> Effect {
        self.confirmed_from = now + self.unsound.unconfirmed;
        if !is_present {
            return Effect::Absent;
        }
        if self.unsound.keeps > 0 {
            self.unsound.keeps -= u32::from(self.unsound.keeps != FOR_EVER);
            return Effect::Kept;
        }
        if self.parts_left > 0 {
            self.parts_left -= 1;
            self.parts_taken += 1;
            return Effect::Part;
        }
        Effect::Gone
    }
}

/// The store of an adapter, in front of which the simulation says what the index's own protocol has
/// no words for: that a delete took a part, and that it cannot be confirmed yet.
pub(super) struct UnsoundStore {
    pub(super) world: World,
    pub(super) store: Arc<dyn VectorStore>,
}

impl VectorStore for UnsoundStore {
    fn present<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Presence>, VectorError>> {
        self.store.present(ids)
    }

    fn delete<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<AfterDelete>, VectorError>> {
        Box::pin(async move {
            let before = self.world.with(|state| state.parts_taken(ids));
            let after = self.store.delete(ids).await?;
            let process = current_process();
            Ok(self.world.with(|state| {
                let before = before.into_iter().zip(after);
                let after: Vec<_> = ids
                    .iter()
                    .zip(before)
                    .map(|(id, (taken, after))| state.after_delete(process, id, taken, after))
                    .collect();
                state.checks.delete_ends(process, ids);
                after
            }))
        })
    }

    fn max_delete(&self) -> usize {
        self.store.max_delete()
    }
}

impl State {
    /// How many parts deletes have taken of each of these.
    fn parts_taken(&self, ids: &[&str]) -> Vec<u32> {
        let unsound = ids.iter().map(|id| self.index.unsound.get(*id));
        unsound
            .map(|key| key.map_or(0, |key| key.parts_taken))
            .collect()
    }

    /// What became of an object of which so many parts were taken before the delete, and of which
    /// the adapter says this.
    fn after_delete(
        &mut self,
        process: ProcessId,
        id: &str,
        taken: u32,
        after: AfterDelete,
    ) -> AfterDelete {
        let now = self.now();
        let key = self.index.unsound.get(id);
        let unconfirmed = key.is_some_and(|key| key.confirmed_from > now);
        let more = key.is_some_and(|key| key.parts_taken > taken);
        let after = match after {
            AfterDelete::Kept(_) if more => AfterDelete::More,
            _ if unconfirmed => AfterDelete::Unconfirmed,
            after => after,
        };
        let fault = match &after {
            AfterDelete::Gone => None,
            AfterDelete::More => Some("delete said to be in part"),
            AfterDelete::Unconfirmed => Some("delete not confirmed"),
            AfterDelete::Kept(_) if self.checks.was_gone(process, id) => {
                Some("inserted again before its delete was confirmed")
            }
            AfterDelete::Kept(_) => Some("delete acknowledged and not done"),
        };
        if let Some(fault) = fault {
            self.fault(fault);
        }
        self.checks.after_delete(process, id, &after);
        after
    }
}
