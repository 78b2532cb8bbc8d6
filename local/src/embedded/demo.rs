//! The demo vectors.
//!
//! The bucket `demo` has the index `embed-456` with `obj-1` and `obj-3` to `obj-1000`. `obj-2` is
//! missing, so that the README's first example gives the documented response.

use crate::error::StartError;
use aws_sdk_s3vectors::Client;
use aws_sdk_s3vectors::types::{DataType, DistanceMetric, PutInputVector, VectorData};

const SERVICE: &str = "S3 Vectors";
pub(crate) const BUCKET: &str = "demo";
/// The index; its name is the embedding model's id.
pub(crate) const INDEX: &str = "embed-456";
/// The most vectors in one PutVectors call.
const MAX_PUT: usize = 500;

/// Creates the demo bucket, index and vectors.
pub(crate) async fn seed(client: &Client) -> Result<(), StartError> {
    let bucket = client.create_vector_bucket().vector_bucket_name(BUCKET);
    bucket.send().await.map_err(StartError::setup(SERVICE))?;
    client
        .create_index()
        .vector_bucket_name(BUCKET)
        .index_name(INDEX)
        .data_type(DataType::Float32)
        .dimension(4)
        .distance_metric(DistanceMetric::Cosine)
        .send()
        .await
        .map_err(StartError::setup(SERVICE))?;
    let vectors = vectors()?;
    for vectors in vectors.chunks(MAX_PUT) {
        client
            .put_vectors()
            .vector_bucket_name(BUCKET)
            .index_name(INDEX)
            .set_vectors(Some(vectors.to_vec()))
            .send()
            .await
            .map_err(StartError::setup(SERVICE))?;
    }
    Ok(())
}

fn vectors() -> Result<Vec<PutInputVector>, StartError> {
    (1_u16..=1000)
        .filter(|&number| number != 2)
        .map(|number| {
            PutInputVector::builder()
                .key(format!("obj-{number}"))
                .data(VectorData::Float32(vec![1.0, f32::from(number), 0.0, 1.0]))
                .build()
                .map_err(StartError::setup(SERVICE))
        })
        .collect()
}
