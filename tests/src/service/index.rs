//! What a test does with the vector indexes themselves, as others would.

use super::{BUCKET, Service};
use aws_sdk_s3vectors::types::{DataType, DistanceMetric, PutInputVector, VectorData};
use std::collections::BTreeSet;

impl Service {
    /// Makes an index that holds these objects.
    pub async fn seed(&self, index: &str, object_ids: &[impl AsRef<str>]) {
        let s3vectors = &self.running.clients.s3vectors;
        let create = s3vectors
            .create_index()
            .vector_bucket_name(BUCKET)
            .index_name(index);
        let create = create.data_type(DataType::Float32).dimension(4);
        let create = create.distance_metric(DistanceMetric::Cosine);
        create.send().await.expect("an index is made");
        self.insert(index, object_ids).await;
    }

    /// Puts these objects into an index.
    pub async fn insert(&self, index: &str, object_ids: &[impl AsRef<str>]) {
        for batch in object_ids.chunks(500) {
            let vector = |id: &str| {
                let data = VectorData::Float32(vec![1.0, 0.0, 0.0, 0.0]);
                PutInputVector::builder()
                    .key(id)
                    .data(data)
                    .build()
                    .expect("a vector")
            };
            let vectors = batch.iter().map(|id| vector(id.as_ref())).collect();
            let s3vectors = &self.running.clients.s3vectors;
            let put = s3vectors
                .put_vectors()
                .vector_bucket_name(BUCKET)
                .index_name(index);
            put.set_vectors(Some(vectors))
                .send()
                .await
                .expect("vectors are put");
        }
    }

    /// Takes these objects out of an index, as somebody else would.
    pub async fn remove(&self, index: &str, object_ids: &[impl AsRef<str>]) {
        let keys = object_ids.iter().map(|id| id.as_ref().to_owned()).collect();
        let s3vectors = &self.running.clients.s3vectors;
        let delete = s3vectors
            .delete_vectors()
            .vector_bucket_name(BUCKET)
            .index_name(index);
        delete
            .set_keys(Some(keys))
            .send()
            .await
            .expect("vectors are deleted");
    }

    /// Which of these objects are in an index.
    pub async fn present(&self, index: &str, object_ids: &[impl AsRef<str>]) -> Vec<String> {
        let mut found = BTreeSet::new();
        for batch in object_ids.chunks(100) {
            let keys = batch.iter().map(|id| id.as_ref().to_owned()).collect();
            let s3vectors = &self.running.clients.s3vectors;
            let get = s3vectors
                .get_vectors()
                .vector_bucket_name(BUCKET)
                .index_name(index);
            let answer = get
                .set_keys(Some(keys))
                .send()
                .await
                .expect("vectors are got");
            found.extend(answer.vectors.into_iter().map(|vector| vector.key));
        }
        let all = object_ids.iter().map(|id| id.as_ref().to_owned());
        all.filter(|id| found.contains(id)).collect()
    }
}
