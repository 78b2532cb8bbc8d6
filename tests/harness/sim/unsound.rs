//! Deletes that the index acknowledges but does not carry out, carries out in part, or cannot
//! confirm yet, and a store that reports this through the port.

use super::connector::current_process;
use super::world::{ProcessId, State, World};
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use futures_util::future::BoxFuture;
use shared::vector::{AfterDelete, Presence, VectorError, VectorStore};
use std::sync::Arc;

/// The value of [`Unsound::keeps`] with which a key is never deleted.
const FOR_EVER: u32 = u32::MAX;

/// How deletes of one key behave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsound {
    /// The number of deletes that keep the object.
    pub(crate) keeps: u32,
    /// The number of deletes that each remove only a part of an inserted object. The next one
    /// removes the rest.
    pub(crate) parts: u32,
    /// How long a delete cannot be confirmed. Existence checks are still current.
    pub(crate) unconfirmed: TimeDelta,
}

impl Unsound {
    /// Draws how deletes of one key behave. `chances` are the chances that the object is kept, that
    /// it goes in parts, and that its delete is not confirmed at once. `None` means that deletes
    /// behave as they should. In a gentle schedule unsound deletes do not make a task fail.
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
    /// The object was not there.
    Absent,
    /// The object is unchanged.
    Kept,
    /// A part of the object was removed.
    Part,
    /// The object, or its last part, was removed.
    Gone,
}

/// A key with unsound deletes, and their progress.
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

    /// Records that the object is inserted, with all its parts.
    pub(super) fn inserted(&mut self) {
        self.parts_left = self.unsound.parts;
    }

    /// Carries out a delete of the key.
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

/// A store in front of an adapter's. It adds what the index's own protocol cannot express: that a
/// delete removed a part, and that a delete cannot be confirmed yet.
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
    /// How many parts deletes have removed from each of these objects.
    fn parts_taken(&self, ids: &[&str]) -> Vec<u32> {
        let unsound = ids.iter().map(|id| self.index.unsound.get(*id));
        unsound
            .map(|key| key.map_or(0, |key| key.parts_taken))
            .collect()
    }

    /// The outcome for an object, given the number of parts removed before the delete and the
    /// adapter's outcome.
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
