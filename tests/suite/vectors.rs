//! The vector store adapters: one contract, which each of them passes against something real, and what is each one's own.

#[macro_use]
mod contract;
mod blame;
mod connections;
mod embedding_studio;
mod id_types;
mod logging_in;
mod outcomes;
mod pace;
mod postgres;
mod s3vectors;
mod urls;
mod whole;
mod wrapped;

use shared::clock::Clock;
use shared::task::ModelId;
use shared::vector::{
    AfterDelete, Presence, Services, VectorStore, VectorStoreRules, VectorStores,
};
use std::sync::Arc;

/// What stores over PostgreSQL are opened with: nothing of AWS is there.
fn no_services() -> Services {
    Services {
        aws: shared::aws::local_config("http://127.0.0.1:9", None),
        password: None,
    }
}

/// The stores that one URL names.
fn open(url: &str, services: &Services) -> VectorStores {
    let rules = serde_json::json!({ "*": url }).to_string();
    let rules = VectorStoreRules::parse(&rules).expect("a good URL");
    VectorStores::new(rules, services.clone())
}

/// The store of a model.
fn of(stores: &VectorStores, model: &str) -> Arc<dyn VectorStore> {
    let model = ModelId::new(model).expect("a good model id");
    stores
        .for_model(&model, Clock::System.now())
        .expect("a rule for all models")
        .store
}

/// Which of `ids` a store shows as present. It can hold them all.
async fn shown(store: &dyn VectorStore, ids: &[&str]) -> Vec<bool> {
    let presence = store.present(ids).await.expect("the store responds");
    let shows = |presence| match presence {
        Presence::Present => true,
        Presence::Absent => false,
        Presence::Refused(why) => panic!("refused: {why}"),
    };
    presence.into_iter().map(shows).collect()
}

/// The ids that are kept, of those that a store is to delete. All others are gone, after further calls where it asks for them.
async fn kept<'a>(store: &dyn VectorStore, ids: &[&'a str]) -> Vec<&'a str> {
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
