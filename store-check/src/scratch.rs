//! A scratch index behind a bridge.

use crate::contract::{Fixture, STRANGE};
use clap::ValueEnum;
use shared::clock::Clock;
use shared::task::ModelId;
use shared::vector::{AfterDelete, Presence, VectorError, VectorStore, VectorStores};
use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use uuid::Uuid;

/// The most bytes of an object id that the service accepts.
const LONGEST: usize = 1024;

/// The form of object ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ids {
    /// Any text
    Text,
    /// UUIDs
    Uuid,
    /// Whole numbers
    Number,
}

/// A bridge, opened in three ways.
pub struct Stores {
    /// Its scratch index.
    pub index: VectorStores,
    /// An index that does not exist.
    pub missing: VectorStores,
    /// The scratch index, with a clock that is slow: the `not_after` of each delete has passed when
    /// it arrives.
    pub late: VectorStores,
}

/// The index as one case sees it: only the case's own objects.
pub struct Scratch {
    store: Arc<dyn VectorStore>,
    missing: Arc<dyn VectorStore>,
    late: Arc<dyn VectorStore>,
    insert: String,
    ids: Ids,
    /// A part of each id, so that no case sees the objects of another.
    mark: u64,
    /// The strange ids that the store says it can hold.
    holds: BTreeSet<String>,
    longest: usize,
    seeded: Mutex<BTreeSet<String>>,
}

impl Scratch {
    /// Prepares the index for one case. `insert`: the shell command that inserts the ids from its
    /// standard input.
    ///
    /// # Errors
    /// When the store does not respond.
    pub async fn new(stores: &Stores, insert: &str, ids: Ids) -> Result<Self, String> {
        let store = of(&stores.index);
        let mut holds = BTreeSet::new();
        let strange = store.present(&STRANGE).await;
        let strange = strange.map_err(|error| error.to_string())?;
        for (id, presence) in STRANGE.iter().zip(strange) {
            if !matches!(presence, Presence::InvalidId(_)) {
                holds.insert((*id).to_owned());
            }
        }
        let mut longest = LONGEST;
        while longest > 1 {
            let presence = store.present(&[&"x".repeat(longest)]).await;
            match presence.map_err(|error| error.to_string())?.first() {
                Some(Presence::InvalidId(_)) => longest /= 2,
                _ => break,
            }
        }
        Ok(Self {
            store,
            missing: of(&stores.missing),
            late: of(&stores.late),
            insert: insert.to_owned(),
            ids,
            mark: fastrand::u64(1 << 32..1 << 52),
            holds,
            longest,
            seeded: Mutex::default(),
        })
    }
}

fn of(stores: &VectorStores) -> Arc<dyn VectorStore> {
    let model = ModelId::new("scratch").expect("a good model id");
    let index = stores.for_model(&model, Clock::System.now());
    index.expect("a rule for all models").store
}

impl Fixture for Scratch {
    fn store(&self) -> Arc<dyn VectorStore> {
        Arc::clone(&self.store)
    }

    fn missing(&self) -> Arc<dyn VectorStore> {
        Arc::clone(&self.missing)
    }

    fn id(&self, number: usize) -> String {
        match self.ids {
            Ids::Text => format!("store-check-{}-{number}", self.mark),
            Ids::Uuid => Uuid::from_u64_pair(self.mark, number as u64).to_string(),
            Ids::Number => (self.mark + number as u64).to_string(),
        }
    }

    fn can_hold(&self, id: &str) -> bool {
        match self.ids {
            // The service accepts no id longer than `LONGEST`, so a store that holds ids of that
            // length may hold longer ones.
            Ids::Text => {
                let is_short = self.longest == LONGEST || id.len() <= self.longest;
                is_short && (!STRANGE.contains(&id) || self.holds.contains(id))
            }
            Ids::Uuid | Ids::Number => self.holds.contains(id),
        }
    }

    fn refuses_deletes(&self) -> bool {
        false
    }

    fn longest(&self) -> String {
        match self.ids {
            Ids::Text => format!("{:x<1$}", self.mark, self.longest),
            Ids::Uuid | Ids::Number => self.id(0),
        }
    }

    async fn seed(&self, ids: &[String]) {
        if ids.is_empty() {
            return;
        }
        let mut command = Command::new("sh")
            .args(["-c", &self.insert])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut lines = command.stdin.take().expect("it is piped");
        let _ = lines.write_all((ids.join("\n") + "\n").as_bytes()).await;
        drop(lines);
        let status = command.wait().await.expect("the command ends");
        assert!(
            status.success(),
            "the command of --insert ended with {status}"
        );
        self.seeded
            .lock()
            .expect("not poisoned")
            .extend(ids.iter().cloned());
    }

    async fn left(&self) -> BTreeSet<String> {
        let seeded = self.seeded.lock().expect("not poisoned").clone();
        let ids: Vec<&str> = seeded.iter().map(String::as_str).collect();
        let presence = self.store.present(&ids).await.expect("the store responds");
        let left = seeded.iter().zip(presence);
        let left = left.filter(|(_, presence)| *presence == Presence::Present);
        left.map(|(id, _)| id.clone()).collect()
    }

    async fn delete_late(&self, ids: &[&str]) -> Result<Vec<AfterDelete>, VectorError> {
        self.late.delete(ids).await
    }
}
