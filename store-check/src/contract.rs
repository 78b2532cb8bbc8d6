//! The contract of every vector store: one case for each rule. A case panics if its rule does not
//! hold.

use shared::vector::{AfterDelete, Presence, VectorError, VectorErrorKind, VectorStore};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A store with a real service behind it.
#[allow(async_fn_in_trait, reason = "no case runs on several threads")]
pub trait Fixture {
    /// The store. Its index exists, and is empty at first.
    fn store(&self) -> Arc<dyn VectorStore>;
    /// A store of the same kind whose index does not exist.
    fn missing(&self) -> Arc<dyn VectorStore>;
    /// An id that the store can hold, a different one for each number.
    fn id(&self, number: usize) -> String {
        format!("object-{number}")
    }
    /// Whether the store can hold this id.
    fn can_hold(&self, _id: &str) -> bool {
        true
    }
    /// Whether a delete of an id that the store cannot hold is an error. If not, the id is gone,
    /// since it was never there.
    fn refuses_deletes(&self) -> bool {
        true
    }
    /// The longest id that the store can hold.
    fn longest(&self) -> String;
    /// Puts objects into the index.
    async fn seed(&self, ids: &[String]);
    /// The ids that are in the index.
    async fn left(&self) -> BTreeSet<String>;
    /// Sends a delete that could be carried out only too late: after
    /// [`VECTOR_CALL_TIMEOUT`](shared::aws::VECTOR_CALL_TIMEOUT), or after the `not_after` that the
    /// store is sent.
    async fn delete_late(&self, ids: &[&str]) -> Result<Vec<AfterDelete>, VectorError>;
}

/// When a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before the delete is carried out.
    Before,
    /// After the delete has been carried out, and before its response arrives.
    After,
}

/// A fixture that can break the store.
#[allow(async_fn_in_trait, reason = "no case runs on several threads")]
pub trait Breakable: Fixture {
    /// Makes the store deny access from now on.
    async fn deny(&self);
    /// Makes the store throttle from now on.
    async fn throttle(&self);
    /// Ends both.
    async fn heal(&self);
    /// Makes the store acknowledge deletes of these ids and keep them from now on.
    async fn keep(&self, ids: &[&str]);
    /// Deletes over a connection that is cut during the call.
    async fn delete_and_cut(&self, ids: &[&str], cut: Cut)
    -> Result<Vec<AfterDelete>, VectorError>;
}

/// A fixture whose store can delete objects in parts.
#[allow(async_fn_in_trait, reason = "no case runs on several threads")]
pub trait InParts: Fixture {
    /// From now on, a first delete of these ids leaves a part of each. A second delete removes the
    /// rest, but no current read can confirm that yet.
    async fn go_in_parts(&self, ids: &[&str]);
}

/// Passes every case to the macro `$then`, grouped by what a fixture must be able to do for it. The
/// text with a case says what to fix in a store that breaks it. If a case cannot be provoked from
/// outside a store, its text says what it is about.
#[macro_export]
macro_rules! every_case {
    ($then:ident $(, $with:tt)*) => {
        $then! {
            $($with)*
            always {
                nothing_is_in_an_empty_index:
                    "An id that is not there is absent for `present`, and gone for `delete`."
                it_tells_the_present_from_the_absent:
                    "`present` has one value for each id, in the order of the request, by a current read."
                it_deletes_what_is_listed_and_nothing_else:
                    "`delete` takes away the listed objects only, and says `gone` of those that are not there."
                an_id_that_is_repeated_is_one_object:
                    "An id may be named twice in a call: say the same of both."
                it_takes_1_and_500_and_5000_ids:
                    "Take up to `max_ids` ids a call (default 500), and read what was written before."
                it_takes_the_longest_id_and_refuses_a_longer_one:
                    "Take ids of up to 1,024 bytes, or list those that the store cannot hold in `refused`."
                it_takes_any_text_that_it_can_hold_and_refuses_the_rest:
                    "An id is data: never part of a path, a pattern or a statement. Two different ids never mean the same object."
                two_deleters_at_once_leave_nothing:
                    "Two deletes of the same objects at once both succeed, at the latest when they are repeated."
                a_missing_index_is_said_to_be_missing:
                    "For an index that does not exist respond with 404, application/problem+json and a `type` that ends in /index-missing."
            }
            late {
                a_late_delete_takes_no_effect:
                    "Do not begin a delete after its `not_after`: respond with 503."
            }
            broken {
                denied_access_is_said_to_be_denied: "access that is denied"
                throttling_is_said_to_be_throttling: "throttling"
                a_connection_that_is_cut_is_an_error_that_may_pass: "connections that are cut"
            }
            keeping {
                what_is_acknowledged_and_kept_is_said_to_be_kept: "objects that the store keeps"
                what_was_kept_for_a_while_goes_in_the_end: "objects that it keeps for a while"
            }
            in_parts {
                what_goes_in_parts_is_more_then_unconfirmed_then_gone: "`more` and `unconfirmed`"
            }
        }
    };
}

fn numbered(fixture: &impl Fixture, count: usize) -> Vec<String> {
    (0..count).map(|number| fixture.id(number)).collect()
}

fn borrowed(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

fn set(ids: &[String]) -> BTreeSet<String> {
    ids.iter().cloned().collect()
}

/// Deletes all ids, as the worker does. A call has at most as many ids as the store accepts. It is
/// repeated after an error that may pass, and for ids that were deleted in part or are not
/// confirmed yet.
async fn delete_all(store: &dyn VectorStore, ids: &[&str]) {
    for batch in ids.chunks(store.max_delete()) {
        let mut batch = batch.to_vec();
        let mut tries = 0;
        while !batch.is_empty() {
            let after = store.delete(&batch).await;
            tries += 1;
            match after {
                Ok(after) => {
                    let mut after = after.iter();
                    batch.retain(|id| match after.next() {
                        Some(AfterDelete::Gone) => false,
                        Some(AfterDelete::More | AfterDelete::Unconfirmed) => true,
                        Some(AfterDelete::Kept(_)) | None => panic!("{id} is kept"),
                    });
                    assert!(tries < 100, "never done: {batch:?}");
                }
                Err(error) => {
                    assert!(may_pass(error.kind) && tries < 5, "{error:?}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Whether an error of this kind may pass.
pub fn may_pass(kind: VectorErrorKind) -> bool {
    [VectorErrorKind::Temporary, VectorErrorKind::Unanswered].contains(&kind)
}

async fn check(fixture: &impl Fixture, ids: &[&str]) -> Vec<bool> {
    shown(&*fixture.store(), ids).await
}

/// Checks that the store refuses an id that it cannot hold, both in an existence check and in a
/// delete.
async fn both_refuse(fixture: &impl Fixture, id: &str) {
    let store = fixture.store();
    let read = match store.present(&[id]).await {
        Ok(presence) => match presence.as_slice() {
            [Presence::InvalidId(why)] => why.clone(),
            other => panic!("{id}: {other:?}"),
        },
        Err(error) => {
            assert_eq!(error.kind, VectorErrorKind::InvalidId, "{id}: {error:?}");
            error.detail
        }
    };
    let mut details = vec![read];
    let delete = store.delete(&[id]).await;
    if fixture.refuses_deletes() {
        let delete = delete.unwrap_err();
        assert_eq!(delete.kind, VectorErrorKind::InvalidId, "{id}: {delete:?}");
        details.push(delete.detail);
    } else {
        assert_eq!(delete.unwrap(), [AfterDelete::Gone], "{id}");
    }
    for detail in details {
        let repeats_it = id.len() > 8 && detail.contains(id);
        assert!(!detail.is_empty() && !repeats_it, "{detail}");
    }
}

/// Returns the kind of error that both calls end with.
async fn both_fail(store: &dyn VectorStore, id: &str) -> VectorErrorKind {
    let read = store.present(&[id]).await.unwrap_err();
    let delete = store.delete(&[id]).await.unwrap_err();
    assert_eq!(read.kind, delete.kind, "{read:?} {delete:?}");
    for detail in [&read.detail, &delete.detail] {
        let repeats_it = id.len() > 8 && detail.contains(id);
        assert!(!detail.is_empty() && !repeats_it, "{detail}");
    }
    delete.kind
}

pub async fn it_tells_the_present_from_the_absent(fixture: &impl Fixture) {
    let ids = numbered(fixture, 6);
    fixture
        .seed(&[ids[0].clone(), ids[3].clone(), ids[4].clone()])
        .await;
    let present = check(fixture, &borrowed(&ids)).await;
    assert_eq!(present, [true, false, false, true, true, false]);
}

pub async fn it_deletes_what_is_listed_and_nothing_else(fixture: &impl Fixture) {
    let ids = numbered(fixture, 6);
    fixture.seed(&ids[..5]).await;
    // One of them is not in the index, which is allowed.
    let listed = [ids[1].as_str(), ids[5].as_str(), ids[3].as_str()];
    delete_all(&*fixture.store(), &listed).await;
    let rest = [ids[0].clone(), ids[2].clone(), ids[4].clone()];
    assert_eq!(fixture.left().await, set(&rest));
    let present = check(fixture, &borrowed(&ids)).await;
    assert_eq!(present, [true, false, true, false, true, false]);
}

pub async fn an_id_that_is_repeated_is_one_object(fixture: &impl Fixture) {
    let ids = numbered(fixture, 3);
    fixture.seed(&ids[..2]).await;
    let repeated = [&ids[0], &ids[2], &ids[0], &ids[2], &ids[1]].map(String::as_str);
    let present = check(fixture, &repeated).await;
    assert_eq!(present, [true, false, true, false, true]);
    delete_all(&*fixture.store(), &repeated).await;
    assert!(fixture.left().await.is_empty());
}

pub async fn it_takes_1_and_500_and_5000_ids(fixture: &impl Fixture) {
    let all = numbered(fixture, 5_001);
    fixture.seed(&all).await;
    let (survivor, ids) = all.split_last().unwrap();
    let (mut deleted, store) = (0, fixture.store());
    for count in [1, 500, 5_000] {
        let ids = borrowed(&ids[..count]);
        let present = shown(&*store, &ids).await;
        let expected: Vec<_> = (0..count).map(|number| number >= deleted).collect();
        assert_eq!(present, expected, "{count}");
        delete_all(&*store, &ids).await;
        let present = shown(&*store, &ids).await;
        assert!(!present.contains(&true), "{count}");
        deleted = count;
    }
    assert_eq!(fixture.left().await, BTreeSet::from([survivor.clone()]));
}

pub async fn it_takes_the_longest_id_and_refuses_a_longer_one(fixture: &impl Fixture) {
    let longest = fixture.longest();
    let longer = format!("{longest}0");
    fixture.seed(std::slice::from_ref(&longest)).await;
    let store = fixture.store();
    if !fixture.can_hold(&longer) {
        both_refuse(fixture, &longer).await;
    }
    if !fixture.can_hold(&longer) && fixture.refuses_deletes() {
        // Together with a valid id, nothing is done.
        let error = store.delete(&[&longest, &longer]).await.unwrap_err();
        assert_eq!(error.kind, VectorErrorKind::InvalidId);
    }
    assert_eq!(shown(&*store, &[&longest]).await, [true]);
    delete_all(&*store, &[&longest]).await;
    assert!(fixture.left().await.is_empty());
}

/// Ids that would mean something else if they were not taken literally.
pub const STRANGE: [&str; 24] = [
    "'",
    "\"",
    "''",
    "\\",
    "\\'; --",
    "'; DROP TABLE items; --",
    "') OR 1=1 --",
    "1' OR '1'='1",
    "$1",
    "%",
    "_",
    "{a,b}",
    "{\"a\",NULL}",
    "NULL",
    ",",
    " a",
    "a ",
    "a b",
    // These two look the same.
    "na\u{ef}ve",
    "nai\u{308}ve",
    "日本語",
    "🦀🧹",
    "\u{202e}abc",
    "a/b?c=d#e&f=%20",
];

pub async fn it_takes_any_text_that_it_can_hold_and_refuses_the_rest(fixture: &impl Fixture) {
    let store = fixture.store();
    let (good, bad): (Vec<&str>, Vec<&str>) = STRANGE.iter().partition(|id| fixture.can_hold(id));
    for id in bad {
        both_refuse(fixture, id).await;
    }
    let bystanders = numbered(fixture, 3);
    fixture.seed(&bystanders).await;
    fixture
        .seed(&good.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>())
        .await;
    if !good.is_empty() {
        assert_eq!(shown(&*store, &good).await, vec![true; good.len()]);
        // Delete them one by one: no id means another.
        for (number, id) in good.iter().enumerate() {
            delete_all(&*store, &[id]).await;
            let expected: Vec<_> = (0..good.len()).map(|other| other > number).collect();
            assert_eq!(shown(&*store, &good).await, expected, "{id}");
        }
    }
    assert_eq!(fixture.left().await, set(&bystanders));
}

pub async fn nothing_is_in_an_empty_index(fixture: &impl Fixture) {
    let ids = numbered(fixture, 3);
    assert_eq!(check(fixture, &borrowed(&ids)).await, [false; 3]);
    delete_all(&*fixture.store(), &borrowed(&ids)).await;
    assert!(fixture.left().await.is_empty());
}

pub async fn a_missing_index_is_said_to_be_missing(fixture: &impl Fixture) {
    let kind = both_fail(&*fixture.missing(), &fixture.id(0)).await;
    assert_eq!(kind, VectorErrorKind::IndexMissing);
}

pub async fn denied_access_is_said_to_be_denied(fixture: &impl Breakable) {
    let id = fixture.id(0);
    fixture.seed(std::slice::from_ref(&id)).await;
    fixture.deny().await;
    let kind = both_fail(&*fixture.store(), &id).await;
    assert_eq!(kind, VectorErrorKind::Denied);
    fixture.heal().await;
    assert_eq!(check(fixture, &[&id]).await, [true]);
}

pub async fn throttling_is_said_to_be_throttling(fixture: &impl Breakable) {
    let id = fixture.id(0);
    fixture.seed(std::slice::from_ref(&id)).await;
    fixture.throttle().await;
    let kind = both_fail(&*fixture.store(), &id).await;
    assert_eq!(kind, VectorErrorKind::Throttled);
    fixture.heal().await;
    assert_eq!(check(fixture, &[&id]).await, [true]);
}

pub async fn a_connection_that_is_cut_is_an_error_that_may_pass(fixture: &impl Breakable) {
    let ids = numbered(fixture, 3);
    let listed = [ids[0].as_str(), ids[1].as_str()];
    for cut in [Cut::Before, Cut::After] {
        fixture.seed(&ids[..2]).await;
        if cut == Cut::Before {
            fixture.seed(&ids[2..]).await;
        }
        let error = fixture.delete_and_cut(&listed, cut).await.unwrap_err();
        assert!(may_pass(error.kind), "{cut:?}: {error:?}");
        // An existence check shows whether the delete was carried out, and the next delete
        // completes it.
        let is_left = cut == Cut::Before;
        let present = check(fixture, &borrowed(&ids)).await;
        assert_eq!(present, [is_left, is_left, true], "{cut:?}");
        delete_all(&*fixture.store(), &listed).await;
        assert_eq!(fixture.left().await, set(&ids[2..]), "{cut:?}");
    }
}

pub async fn a_late_delete_takes_no_effect(fixture: &impl Fixture) {
    let ids = numbered(fixture, 3);
    fixture.seed(&ids).await;
    let listed = [ids[0].as_str(), ids[1].as_str()];
    let late = fixture.delete_late(&listed).await;
    // None may be deleted, since somebody may have inserted them again.
    assert_eq!(fixture.left().await, set(&ids), "{late:?}");
    let error = late.unwrap_err();
    assert!(may_pass(error.kind), "{error:?}");
    delete_all(&*fixture.store(), &listed).await;
    assert_eq!(fixture.left().await, set(&ids[2..]));
}

pub async fn two_deleters_at_once_leave_nothing(fixture: &impl Fixture) {
    let ids = numbered(fixture, 500);
    fixture.seed(&ids).await;
    let forth = borrowed(&ids[..400]);
    let back: Vec<&str> = borrowed(&ids[100..]).into_iter().rev().collect();
    let (one, other) = (fixture.store(), fixture.store());
    futures_util::join!(delete_all(&*one, &forth), delete_all(&*other, &back));
    assert!(fixture.left().await.is_empty());
}

pub async fn what_is_acknowledged_and_kept_is_said_to_be_kept(fixture: &impl Breakable) {
    let ids = numbered(fixture, 6);
    fixture.seed(&ids[..5]).await;
    let ids = borrowed(&ids);
    fixture.keep(&[ids[1], ids[3]]).await;
    let store = fixture.store();
    assert_eq!(kept(&*store, &ids).await, [ids[1], ids[3]]);
    assert_eq!(kept(&*store, &[ids[3], ids[5]]).await, [ids[3]]);
    let left: Vec<String> = fixture.left().await.into_iter().collect();
    assert_eq!(left, [ids[1], ids[3]]);
}

pub async fn what_was_kept_for_a_while_goes_in_the_end(fixture: &impl Breakable) {
    let ids = numbered(fixture, 2);
    fixture.seed(&ids).await;
    let ids = borrowed(&ids);
    fixture.keep(&[ids[0]]).await;
    let store = fixture.store();
    assert_eq!(kept(&*store, &ids).await, [ids[0]]);
    fixture.heal().await;
    assert_eq!(shown(&*store, &ids).await, [true, false]);
    assert_eq!(kept(&*store, &ids).await, [""; 0]);
    assert!(fixture.left().await.is_empty());
}

pub async fn what_goes_in_parts_is_more_then_unconfirmed_then_gone(fixture: &impl InParts) {
    let ids = numbered(fixture, 3);
    fixture.seed(&ids[..2]).await;
    fixture.go_in_parts(&[&ids[0], &ids[1]]).await;
    let listed = [&ids[0], &ids[2], &ids[1]].map(String::as_str);
    let store = fixture.store();
    for (after, left) in [
        (AfterDelete::More, 2),
        (AfterDelete::Unconfirmed, 0),
        (AfterDelete::Gone, 0),
    ] {
        let expected = [after.clone(), AfterDelete::Gone, after];
        assert_eq!(store.delete(&listed).await.unwrap(), expected);
        assert_eq!(fixture.left().await.len(), left);
    }
    assert_eq!(shown(&*store, &listed).await, [false; 3]);
}

/// Returns which of `ids` the store shows as present. It can hold all of them.
pub async fn shown(store: &dyn VectorStore, ids: &[&str]) -> Vec<bool> {
    let presence = store.present(ids).await.expect("the store responds");
    let shows = |presence| match presence {
        Presence::Present => true,
        Presence::Absent => false,
        Presence::InvalidId(why) => panic!("refused: {why}"),
    };
    presence.into_iter().map(shows).collect()
}

/// Deletes `ids`, and returns those that the store keeps. All others are gone, after further calls
/// if the store asks for them.
pub async fn kept<'a>(store: &dyn VectorStore, ids: &[&'a str]) -> Vec<&'a str> {
    let (mut open, mut kept) = (ids.to_vec(), Vec::new());
    for _ in 0..100 {
        let batch = std::mem::take(&mut open);
        let after = store.delete(&batch).await.expect("the store responds");
        assert_eq!(after.len(), batch.len());
        for (id, after) in batch.into_iter().zip(after) {
            match after {
                AfterDelete::Gone => {}
                AfterDelete::Kept(why) => {
                    assert!(why.contains("still has the object"), "{why}");
                    kept.push(id);
                }
                AfterDelete::More | AfterDelete::Unconfirmed => open.push(id),
            }
        }
        if open.is_empty() {
            return kept;
        }
    }
    panic!("never done: {open:?}");
}
