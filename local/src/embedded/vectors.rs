//! What S3 Vectors holds, and its answers.
//!
//! winterbaume's service copies all that it holds after each call, a read too, so that a call would cost the more the more
//! vectors are stored. Calls that name their vectors are answered here, from the state itself. All others (and those that fail,
//! for the wording) go to the service, which is handed the state and gives it back.

use std::collections::HashMap;
use tokio::sync::RwLock;
use winterbaume_core::{MockRequest, MockResponse, MockService, StatefulService};
use winterbaume_s3vectors::{S3VectorsService, S3VectorsState, S3VectorsStateView, wire};

/// The one account and the one region: what the service makes of a request without a signature.
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

    /// Answers a call.
    pub(super) async fn answer(&self, operation: &str, request: MockRequest) -> MockResponse {
        let direct = match operation {
            "/GetVectors" => get(&*self.state.read().await, &request),
            "/PutVectors" => put(&mut *self.state.write().await, &request),
            "/DeleteVectors" => delete(&mut *self.state.write().await, &request),
            _ => None,
        };
        match direct {
            Some(answer) => answer,
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
        let answer = self.service.handle(request).await;
        *state = self.service.snapshot(account, region).await.into();
        answer
    }
}

fn get(state: &S3VectorsState, request: &MockRequest) -> Option<MockResponse> {
    let asked = wire::deserialize_get_vectors_request(request, &[], &HashMap::new()).ok()?;
    let found = state.get_vectors(
        asked.vector_bucket_name.as_deref(),
        None,
        asked.index_name.as_deref(),
        asked.index_arn.as_deref(),
        &asked.keys,
        asked.return_data.unwrap_or(false),
        asked.return_metadata.unwrap_or(false),
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
    let answer = wire::GetVectorsOutput { vectors };
    Some(wire::serialize_get_vectors_response(&answer))
}

fn put(state: &mut S3VectorsState, request: &MockRequest) -> Option<MockResponse> {
    let asked = wire::deserialize_put_vectors_request(request, &[], &HashMap::new()).ok()?;
    let vectors = asked.vectors.into_iter().map(|vector| {
        let data = vector.data.float32.unwrap_or_default();
        (vector.key, data, vector.metadata)
    });
    let put = state.put_vectors(
        asked.vector_bucket_name.as_deref(),
        None,
        asked.index_name.as_deref(),
        asked.index_arn.as_deref(),
        vectors.collect(),
    );
    put.ok()?;
    let answer = wire::PutVectorsOutput {};
    Some(wire::serialize_put_vectors_response(&answer))
}

fn delete(state: &mut S3VectorsState, request: &MockRequest) -> Option<MockResponse> {
    let asked = wire::deserialize_delete_vectors_request(request, &[], &HashMap::new()).ok()?;
    let deleted = state.delete_vectors(
        asked.vector_bucket_name.as_deref(),
        None,
        asked.index_name.as_deref(),
        asked.index_arn.as_deref(),
        &asked.keys,
    );
    deleted.ok()?;
    let answer = wire::DeleteVectorsOutput {};
    Some(wire::serialize_delete_vectors_response(&answer))
}
