//! The vector store adapters: one contract that each adapter passes against something real, and
//! tests of a single adapter.

mod blame;
mod connections;
mod contract;
mod embedding_studio;
mod id_types;
mod logging_in;
mod outcomes;
mod pace;
mod postgres;
mod protocol;
mod s3vectors;
mod secrets;
mod urls;
mod whole;
mod wrapped;

use contract::{kept, shown};
use shared::clock::Clock;
use shared::task::ModelId;
use shared::vector::{Services, VectorStore, VectorStoreRules, VectorStores};
use std::sync::Arc;

/// The services that stores over PostgreSQL get: none of AWS.
fn no_services() -> Services {
    Services {
        aws: shared::aws::local_config("http://127.0.0.1:9", None),
        password: None,
        token: None,
        clock: Clock::System,
    }
}

/// Opens the stores of one URL.
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
