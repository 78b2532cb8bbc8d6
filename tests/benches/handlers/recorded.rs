//! Records the calls that go through a handler's SDK clients, and which of them were concurrent.

use crate::calls::{Call, Steps};
use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents, SharedHttpClient};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::get_item::GetItemInput;
use aws_sdk_dynamodb::operation::put_item::PutItemInput;
use aws_sdk_dynamodb::operation::query::QueryInput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemInput;
use aws_sdk_s3vectors::operation::delete_vectors::DeleteVectorsInput;
use aws_sdk_s3vectors::operation::get_vectors::GetVectorsInput;
use aws_sdk_sqs::operation::send_message::SendMessageInput;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use local::Clients;
use shared::aws;
use std::sync::{Arc, Mutex, MutexGuard};
use tests::handlers::Addresses;
use tests::wire::{body_of, intercept, name_of};

/// A recorder of the calls of the clients that it is put into. Clones share its state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    steps: Steps,
    under_way: usize,
    wire: Vec<Sent>,
}

/// A sent request: its operation, and the size of its body in bytes.
pub(crate) type Sent = (String, usize);

impl Recorder {
    /// Returns clients like these whose calls are recorded. The HTTP client is for the vector
    /// store, which creates its SDK client itself.
    pub(crate) fn in_front_of(
        &self,
        sdk: &Clients,
        services: &Addresses,
    ) -> (Clients, SharedHttpClient) {
        let dynamodb = sdk.dynamodb.config().to_builder().interceptor(self.clone());
        let sqs = sdk.sqs.config().to_builder().interceptor(self.clone());
        let http_client = self.http_client();
        let s3vectors = aws::local_config(&services.s3vectors, Some(http_client.clone()));
        let sdk = Clients {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            s3vectors: aws::s3vectors_client(&s3vectors),
        };
        (sdk, http_client)
    }

    /// Records the calls to S3 Vectors, on the wire.
    fn http_client(&self) -> SharedHttpClient {
        let recorder = self.clone();
        intercept(move |request, network| {
            let mut record = recorder.lock();
            record.begin(Some(vectors_call(&request)));
            record.wire.push(sent(&request));
            drop(record);
            let recorder = recorder.clone();
            async move {
                let outcome = network.send(request).await;
                recorder.lock().under_way -= 1;
                outcome
            }
        })
    }

    /// Returns what was recorded since this function was last called: the calls, and the sent
    /// requests, sorted.
    pub(crate) fn take(&self) -> (Steps, Vec<Sent>) {
        let mut record = std::mem::take(&mut *self.lock());
        record.wire.sort();
        (record.steps, record.wire)
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().expect("not poisoned")
    }
}

impl Intercept for Recorder {
    fn name(&self) -> &'static str {
        "Recorder"
    }

    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input = context.input();
        macro_rules! call {
            ($($kind:ident($input:ty)),*) => {
                None$(.or_else(|| input.downcast_ref::<$input>().cloned().map(Call::$kind)))*
            };
        }
        let call = call!(
            Put(PutItemInput),
            Get(GetItemInput),
            Update(UpdateItemInput),
            Query(QueryInput),
            Send(SendMessageInput)
        );
        self.lock().begin(call);
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.lock().wire.push(sent(context.request()));
        Ok(())
    }

    fn read_after_execution(
        &self,
        _: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.lock().under_way -= 1;
        Ok(())
    }
}

impl Record {
    fn begin(&mut self, call: Option<Call>) {
        let call = call.expect("a call that the bare client knows");
        match self.steps.last_mut() {
            Some(step) if self.under_way > 0 => step.push(call),
            _ => self.steps.push(vec![call]),
        }
        self.under_way += 1;
    }
}

fn sent(request: &HttpRequest) -> Sent {
    let body = request.body().bytes().map_or(0, <[u8]>::len);
    (name_of(request), body)
}

/// The call of a request to S3 Vectors.
fn vectors_call(request: &HttpRequest) -> Call {
    let body = body_of(request);
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let (bucket, index) = (text("vectorBucketName"), text("indexName"));
    let keys = body["keys"].as_array().expect("keys").iter();
    let keys = keys.map(|key| key.as_str().expect("a key").to_owned());
    let keys: Vec<_> = keys.collect();
    match name_of(request).as_str() {
        "S3Vectors.GetVectors" => {
            let get = GetVectorsInput::builder()
                .set_vector_bucket_name(bucket)
                .set_index_name(index)
                .set_keys(Some(keys))
                .set_return_data(body["returnData"].as_bool())
                .set_return_metadata(body["returnMetadata"].as_bool());
            Call::GetVectors(get.build().expect("a whole call"))
        }
        _ => {
            let delete = DeleteVectorsInput::builder()
                .set_vector_bucket_name(bucket)
                .set_index_name(index)
                .set_keys(Some(keys));
            Call::DeleteVectors(delete.build().expect("a whole call"))
        }
    }
}
