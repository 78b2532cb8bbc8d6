//! Test data: object ids, requests, indexes in the embedded S3 Vectors, and a table full of tasks
//! (`tasks.rs`).

pub mod tasks;

use aws_sdk_s3vectors::Client;
use aws_sdk_s3vectors::types::{DataType, DistanceMetric, PutInputVector, VectorData};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The bucket of all embedded indexes.
pub const BUCKET: &str = "demo";
/// The index of the demo data. It holds `obj-1` and not `obj-2`.
pub const DEMO_INDEX: &str = "embed-456";
/// A seed for [`object_ids`], for use when any seed will do.
pub const OBJECTS_SEED: u64 = 1;
/// The most vectors in one PutVectors or DeleteVectors.
const MAX_BATCH: usize = 500;
/// The most keys in one GetVectors.
const MAX_GET: usize = 100;

/// The first example in the README.
pub fn example() -> Value {
    run_body(DEMO_INDEX, "delete-xyz", &["obj-1", "obj-2"])
}

/// A body of `/run`.
pub fn run_body(model: &str, task_id: &str, object_ids: &[impl AsRef<str>]) -> Value {
    let ids: Vec<_> = object_ids.iter().map(AsRef::as_ref).collect();
    json!({"embedding_model_id": model, "task_id": task_id, "object_ids": ids})
}

/// The text of a `/run` for [`object_ids`], written without a second copy of the ids.
pub fn run_text(model: &str, task_id: &str, seed: u64, count: usize) -> String {
    let mut body = String::with_capacity(count * 39 + 200);
    body.push_str(&format!(
        r#"{{"embedding_model_id":"{model}","task_id":"{task_id}","object_ids":["#
    ));
    for (number, id) in object_ids(seed, count).enumerate() {
        body.push_str(if number == 0 { "\"" } else { ",\"" });
        body.push_str(&id);
        body.push('"');
    }
    body.push_str("]}");
    body
}

/// Object ids `<prefix>-0`, `<prefix>-1` and so on.
pub fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix}-{i}")).collect()
}

/// Object ids that are random UUIDs, the same ones for the same seed.
pub fn object_ids(seed: u64, count: usize) -> impl Iterator<Item = String> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(move |_| {
        let bytes = random.u128(..).to_be_bytes();
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        id.to_string()
    })
}

/// Makes an index that holds these objects.
pub async fn index(client: &Client, index: &str, ids: &[impl AsRef<str>]) {
    let create = client.create_index().vector_bucket_name(BUCKET);
    let create = create.index_name(index).data_type(DataType::Float32);
    let create = create.dimension(4).distance_metric(DistanceMetric::Cosine);
    create.send().await.expect("an index is made");
    insert(client, index, ids).await;
}

/// Makes an index that holds every second object of [`object_ids`].
pub async fn half_index(client: &Client, name: &str, seed: u64, count: usize) {
    let present: Vec<_> = object_ids(seed, count).step_by(2).collect();
    index(client, name, &present).await;
}

/// Puts objects into an index.
pub async fn insert(client: &Client, index: &str, ids: &[impl AsRef<str>]) {
    for batch in ids.chunks(MAX_BATCH) {
        let vectors = batch.iter().map(|id| {
            let data = VectorData::Float32(vec![1.0, 0.0, 0.0, 0.0]);
            let vector = PutInputVector::builder().key(id.as_ref()).data(data);
            vector.build().expect("a vector")
        });
        let put = client.put_vectors().vector_bucket_name(BUCKET);
        let put = put.index_name(index).set_vectors(Some(vectors.collect()));
        put.send().await.expect("vectors are put");
    }
}

/// Takes objects out of an index, as somebody else would.
pub async fn remove(client: &Client, index: &str, ids: &[impl AsRef<str>]) {
    let keys = ids.iter().map(|id| id.as_ref().to_owned()).collect();
    let delete = client.delete_vectors().vector_bucket_name(BUCKET);
    let delete = delete.index_name(index).set_keys(Some(keys));
    delete.send().await.expect("vectors are deleted");
}

/// Which of these objects are in an index, in their order.
pub async fn present(client: &Client, index: &str, ids: &[impl AsRef<str>]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for batch in ids.chunks(MAX_GET) {
        let keys = batch.iter().map(|id| id.as_ref().to_owned()).collect();
        let get = client.get_vectors().vector_bucket_name(BUCKET);
        let get = get.index_name(index).set_keys(Some(keys));
        let got = get.send().await.expect("vectors are got");
        found.extend(got.vectors.into_iter().map(|vector| vector.key));
    }
    let ids = ids.iter().map(|id| id.as_ref().to_owned());
    ids.filter(|id| found.contains(id)).collect()
}

/// All objects that an index holds.
pub async fn all(client: &Client, index: &str) -> BTreeSet<String> {
    let list = client.list_vectors().vector_bucket_name(BUCKET);
    let pages = list.index_name(index).into_paginator().send();
    let pages = pages.try_collect().await.expect("S3 Vectors responds");
    let vectors = pages.into_iter().flat_map(|page| page.vectors);
    vectors.map(|vector| vector.key).collect()
}
