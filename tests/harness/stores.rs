//! Stores in front of another store: one that needs several calls for an object, and one that is
//! wrong.

use futures_util::future::BoxFuture;
use shared::vector::{AfterDelete, Presence, VectorError, VectorErrorKind, VectorStore};
use std::collections::BTreeMap;
use std::iter::zip;
use std::sync::{Arc, Mutex};

/// A store that reports every delete as a deletion, whatever the store behind it says. This is
/// wrong.
pub struct Believing(pub Arc<dyn VectorStore>);

impl VectorStore for Believing {
    fn present<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Presence>, VectorError>> {
        self.0.present(ids)
    }

    fn delete<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<AfterDelete>, VectorError>> {
        Box::pin(async move {
            let after = self.0.delete(ids).await?;
            Ok(vec![AfterDelete::Gone; after.len()])
        })
    }

    fn max_delete(&self) -> usize {
        self.0.max_delete()
    }
}

/// A store that needs three delete calls for each object that exists. The first deletes nothing and
/// responds `more`. The second deletes the object and responds `unconfirmed`. The third finds the
/// object gone.
pub struct Reluctant {
    store: Arc<dyn VectorStore>,
    stages: Mutex<BTreeMap<String, Stage>>,
}

/// How far the deletion of an object has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    HeldBack,
    Deleted,
}

impl Reluctant {
    /// Creates the store in front of `store`.
    pub fn new(store: Arc<dyn VectorStore>) -> Self {
        Self {
            store,
            stages: Mutex::default(),
        }
    }

    fn stage(&self, id: &str) -> Option<Stage> {
        let stages = self.stages.lock().expect("not poisoned");
        stages.get(id).copied()
    }

    fn reaches(&self, id: &str, stage: Stage) {
        let mut stages = self.stages.lock().expect("not poisoned");
        stages.insert(id.to_owned(), stage);
    }

    /// Makes the first call for these objects, which deletes nothing.
    async fn hold_back(&self, ids: &[&str]) -> Result<Vec<AfterDelete>, VectorError> {
        let present = self.store.present(ids).await?;
        let after = zip(ids, present).map(|(id, presence)| match presence {
            Presence::Present => {
                self.reaches(id, Stage::HeldBack);
                Ok(AfterDelete::More)
            }
            Presence::Absent => {
                self.reaches(id, Stage::Deleted);
                Ok(AfterDelete::Gone)
            }
            Presence::InvalidId(detail) => Err(VectorError {
                kind: VectorErrorKind::InvalidId,
                detail,
                code: "refused".to_owned(),
                source: None,
            }),
        });
        after.collect()
    }

    /// Deletes the objects, and does not confirm those that were held back before.
    async fn delete_now(&self, ids: &[&str]) -> Result<Vec<AfterDelete>, VectorError> {
        let after = self.store.delete(ids).await?;
        let held_back = ids.iter().map(|id| self.stage(id) == Some(Stage::HeldBack));
        let held_back: Vec<bool> = held_back.collect();
        let after = zip(zip(ids, held_back), after);
        let after = after.map(|((id, was_held_back), after)| match after {
            AfterDelete::Gone if was_held_back => {
                self.reaches(id, Stage::Deleted);
                AfterDelete::Unconfirmed
            }
            after => after,
        });
        Ok(after.collect())
    }
}

impl VectorStore for Reluctant {
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
            if ids.iter().any(|id| self.stage(id).is_none()) {
                self.hold_back(ids).await
            } else {
                self.delete_now(ids).await
            }
        })
    }

    fn max_delete(&self) -> usize {
        self.store.max_delete()
    }
}
