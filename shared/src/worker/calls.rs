//! The handling of failed calls to a vector store, shared by the existence check and the deletes.

use super::batches::{Batch, Batches};
use crate::task::{ObjectIds, Reason};
use crate::vector::{VectorError, VectorErrorKind};

/// How often a call that keeps failing is made before its objects are left.
///
/// A throttled call is repeated as long as there is time.
const MAX_CALLS: u32 = 4;
/// The most extra calls that a claim makes because batches were cut up.
///
/// Then it is settled, and the rest is claimed again.
pub(super) const MAX_EXTRA_CALLS: usize = 64;

/// Returns the ids at `positions`.
pub(super) fn ids_at<'a>(ids: &'a ObjectIds, positions: &[usize]) -> Vec<&'a str> {
    positions.iter().filter_map(|at| ids.get(*at)).collect()
}

/// Returns the log's text for a store's error. It has no part of a request or a response.
pub(super) fn in_short(error: &VectorError) -> String {
    format!("{:?}: {}", error.kind, error.code)
}

/// Returns whether the same call may succeed later.
pub(super) fn is_transient(kind: VectorErrorKind) -> bool {
    match kind {
        VectorErrorKind::Throttled
        | VectorErrorKind::Temporary
        | VectorErrorKind::Unanswered
        | VectorErrorKind::OutOfTime
        | VectorErrorKind::TooSlow => true,
        VectorErrorKind::IndexMissing
        | VectorErrorKind::Denied
        | VectorErrorKind::InvalidId
        | VectorErrorKind::KeptObject => false,
    }
}

/// Returns whether to repeat a call that has failed `failures` times in a row.
pub(super) fn is_repeated(kind: VectorErrorKind, failures: u32) -> bool {
    kind == VectorErrorKind::Throttled || (is_transient(kind) && failures < MAX_CALLS)
}

/// Returns whether the call may succeed for a part of its objects.
pub(super) fn concerns_single_objects(kind: VectorErrorKind) -> bool {
    match kind {
        VectorErrorKind::InvalidId | VectorErrorKind::KeptObject | VectorErrorKind::TooSlow => true,
        VectorErrorKind::Throttled
        | VectorErrorKind::Temporary
        | VectorErrorKind::Unanswered
        | VectorErrorKind::OutOfTime
        | VectorErrorKind::IndexMissing
        | VectorErrorKind::Denied => false,
    }
}

/// Cuts up a batch that failed with an error that concerns single objects.
///
/// Returns the objects that fail, and why: a single object, together with those that are now known
/// to fail alike.
pub(super) fn cut_up(
    batch: Batch,
    error: &VectorError,
    batches: &mut Batches,
) -> Vec<(usize, Reason)> {
    let is_kept = error.kind == VectorErrorKind::KeptObject;
    let [single] = batch.positions.as_slice() else {
        if is_kept {
            batches.cut_up(batch, &error.detail);
        } else {
            batches.halve(batch);
        }
        return Vec::new();
    };
    let alike = batches.came_out(is_kept.then_some(error.detail.as_str()));
    let reason = if error.kind == VectorErrorKind::InvalidId {
        Reason::InvalidId(error.detail.clone())
    } else {
        Reason::GaveUp(error.detail.clone())
    };
    let all = alike.into_iter().chain([*single]);
    all.map(|at| (at, reason.clone())).collect()
}
