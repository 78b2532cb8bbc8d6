//! The state of S3 Vectors, and the responses to its calls.
//!
//! winterbaume's service copies its whole state after each call, so the cost of a call would grow
//! with the number of vectors. This module carries out the calls that name their vectors on the
//! state itself. It passes all other calls, and those that fail, to the service. For such a call it
//! lends the state to the service and takes it back.

use std::collections::HashMap;
use tokio::sync::RwLock;
use winterbaume_core::{MockRequest, MockResponse, MockService, StatefulService};
use winterbaume_s3vectors::{S3VectorsService, S3VectorsState, S3VectorsStateView, wire};

/// The account and the region that the service assumes for an unsigned request.
const SCOPE: (&str, &str) = ("123456789012", "us-east-1");

/// All buckets, indexes and vectors.
pub(super) struct Vectors {
    service: S3VectorsService,
    state: RwLock<S3VectorsState>,
}

impl Vectors {
    pub(super) fn new() -> Self {
        Self {
            service: S3VectorsService::new(),
            state: RwLock::default(),
        }
    }

    pub(super) async fn respond(&self, operation: &str, request: MockRequest) -> MockResponse {
        let direct = match operation {
            "/GetVectors" => get(&*self.state.read().await, &request),
            "/PutVectors" => put(&mut *self.state.write().await, &request),
            "/DeleteVectors" => delete(&mut *self.state.write().await, &request),
            _ => None,
        };
        match direct {
            Some(response) => response,
            None => self.through_the_service(request).await,
        }
    }

    async fn through_the_service(&self, request: MockRequest) -> MockResponse {
        let (account, region) = SCOPE;
        let mut state = self.state.write().await;
        let view = S3VectorsStateView::from(&*state);
        if let Err(error) = self.service.restore(account, region, view).await {
            tracing::error!(?error, "S3 Vectors lost its state");
        }
        let response = self.service.handle(request).await;
        *state = self.service.snapshot(account, region).await.into();
        response
    }
}

fn get(state: &S3VectorsState, request: &MockRequest) -> Option<MockResponse> {
    let input = wire::deserialize_get_vectors_request(request, &[], &HashMap::new()).ok()?;
    let found = state.get_vectors(
        input.vector_bucket_name.as_deref(),
        None,
        input.index_name.as_deref(),
        input.index_arn.as_deref(),
        &input.keys,
        input.return_data.unwrap_or(false),
        input.return_metadata.unwrap_or(false),
    );
    let vectors = found.ok()?.into_iter();
    let vectors = vectors.map(|(key, data, metadata)| wire::GetOutputVector {
        key: Some(key),
        data: data.map(|data| wire::VectorData {
            float32: Some(data),
        }),
        metadata,
    });
    let vectors = Some(vectors.collect());
    let output = wire::GetVectorsOutput { vectors };
    Some(wire::serialize_get_vectors_response(&output))
}

fn put(state: &mut S3VectorsState, request: &MockRequest) -> Option<MockResponse> {
    let input = wire::deserialize_put_vectors_request(request, &[], &HashMap::new()).ok()?;
    let vectors = input.vectors.into_iter().map(|vector| {
        let data = vector.data.float32.unwrap_or_default();
        (vector.key, data, vector.metadata)
    });
    let put = state.put_vectors(
        input.vector_bucket_name.as_deref(),
        None,
        input.index_name.as_deref(),
        input.index_arn.as_deref(),
        vectors.collect(),
    );
    put.ok()?;
    let output = wire::PutVectorsOutput {};
    Some(wire::serialize_put_vectors_response(&output))
}

fn delete(state: &mut S3VectorsState, request: &MockRequest) -> Option<MockResponse> {
    let input = wire::deserialize_delete_vectors_request(request, &[], &HashMap::new()).ok()?;
    let deleted = state.delete_vectors(
        input.vector_bucket_name.as_deref(),
        None,
        input.index_name.as_deref(),
        input.index_arn.as_deref(),
        &input.keys,
    );
    deleted.ok()?;
    let output = wire::DeleteVectorsOutput {};
    Some(wire::serialize_delete_vectors_response(&output))
}
