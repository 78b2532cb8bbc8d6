//! The baseline: the calls that a handler made, made again by a client that does nothing else.
//!
//! What goes through the handler's SDK clients is taken down, and which calls were under way together. The bare client puts the
//! same parameters into the same builders, one by one as any caller does, sends them, and drops the answers.

use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{
    ConfigBag, HttpClient, Intercept, RuntimeComponents, SharedHttpClient,
};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::get_item::GetItemInput;
use aws_sdk_dynamodb::operation::put_item::PutItemInput;
use aws_sdk_dynamodb::operation::query::QueryInput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemInput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3vectors::operation::delete_vectors::DeleteVectorsInput;
use aws_sdk_s3vectors::operation::get_vectors::GetVectorsInput;
use aws_sdk_sqs::operation::send_message::SendMessageInput;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use futures_util::future::join_all;
use serde_json::Value;
use shared::aws;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tests::measure::address;
use tests::wire::name_of;

/// The SDK's clients. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Sdk {
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) s3vectors: aws_sdk_s3vectors::Client,
}

impl Sdk {
    /// Clients like those of the functions, over the services at these addresses.
    pub(crate) fn of(services: &Value, http_client: &SharedHttpClient) -> Self {
        let config = |name| aws::local_config(&address(services, name), Some(http_client.clone()));
        Self {
            dynamodb: aws::dynamodb_client(&config("dynamodb")),
            sqs: aws::sqs_client(&config("sqs")),
            s3vectors: aws::s3vectors_client(&config("s3vectors")),
        }
    }
}

/// One call, with all that it asks for.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Put(PutItemInput),
    Get(GetItemInput),
    Update(UpdateItemInput),
    Query(QueryInput),
    Send(SendMessageInput),
    GetVectors(GetVectorsInput),
    DeleteVectors(DeleteVectorsInput),
}

/// What one request makes: calls one after another, and within each step those that are under way together.
pub(crate) type Steps = Vec<Vec<Call>>;

/// Takes down what goes through the clients that it is put into. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    steps: Steps,
    under_way: usize,
    wire: Vec<Sent>,
}

/// A request as it was sent: what it asks for, and the bytes of its body.
pub(crate) type Sent = (String, usize);

impl Recorder {
    /// Clients like these that are listened to. The HTTP client is for the vector store, which makes its SDK client itself.
    pub(crate) fn in_front_of(&self, sdk: &Sdk, services: &Value) -> (Sdk, SharedHttpClient) {
        let dynamodb = sdk.dynamodb.config().to_builder().interceptor(self.clone());
        let sqs = sdk.sqs.config().to_builder().interceptor(self.clone());
        let http_client = SharedHttpClient::new(Listening(
            self.clone(),
            aws::http_client(aws::TlsRoots::default()),
        ));
        let s3vectors =
            aws::local_config(&address(services, "s3vectors"), Some(http_client.clone()));
        let sdk = Sdk {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            s3vectors: aws::s3vectors_client(&s3vectors),
        };
        (sdk, http_client)
    }

    /// What was taken down since the last time this was asked: the calls, and what they were on the wire, sorted.
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

/// A recorder on the way to S3 Vectors.
#[derive(Debug)]
struct Listening(Recorder, SharedHttpClient);

#[derive(Debug)]
struct ListeningConnector(Recorder, SharedHttpConnector);

impl HttpClient for Listening {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.1.http_connector(settings, components);
        SharedHttpConnector::new(ListeningConnector(self.0.clone(), inner))
    }
}

impl HttpConnector for ListeningConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut record = self.0.lock();
        record.begin(Some(vectors_call(&request)));
        record.wire.push(sent(&request));
        drop(record);
        let (recorder, answer) = (self.0.clone(), self.1.call(request));
        HttpConnectorFuture::new(async move {
            let answer = answer.await;
            recorder.lock().under_way -= 1;
            answer
        })
    }
}

/// What a request to S3 Vectors asks for.
fn vectors_call(request: &HttpRequest) -> Call {
    let body = request.body().bytes().unwrap_or_default();
    let body: Value = serde_json::from_slice(body).expect("the SDK sends JSON");
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

/// Makes the calls, and answers how many were answered with success.
pub(crate) async fn make(sdk: &Sdk, steps: &Steps) -> usize {
    let mut succeeded = 0;
    for step in steps {
        succeeded += match step.as_slice() {
            [call] => usize::from(call.make(sdk).await),
            calls => {
                let made = join_all(calls.iter().map(|call| call.make(sdk))).await;
                made.into_iter().map(usize::from).sum()
            }
        };
    }
    succeeded
}

impl Call {
    /// Makes the call, and says whether it was answered with success.
    async fn make(&self, sdk: &Sdk) -> bool {
        match self {
            Self::Put(input) => {
                let mut put = sdk
                    .dynamodb
                    .put_item()
                    .set_table_name(input.table_name.clone())
                    .set_condition_expression(input.condition_expression.clone())
                    .set_return_values_on_condition_check_failure(
                        input.return_values_on_condition_check_failure.clone(),
                    );
                for (name, value) in input.item.iter().flatten() {
                    put = put.item(name, value.clone());
                }
                for (name, value) in input.expression_attribute_names.iter().flatten() {
                    put = put.expression_attribute_names(name, value);
                }
                for (name, value) in input.expression_attribute_values.iter().flatten() {
                    put = put.expression_attribute_values(name, value.clone());
                }
                put.send().await.is_ok()
            }
            Self::Get(input) => {
                let mut get = sdk
                    .dynamodb
                    .get_item()
                    .set_table_name(input.table_name.clone())
                    .set_consistent_read(input.consistent_read);
                for (name, value) in input.key.iter().flatten() {
                    get = get.key(name, value.clone());
                }
                get.send().await.is_ok()
            }
            Self::Update(input) => {
                let mut update = sdk
                    .dynamodb
                    .update_item()
                    .set_table_name(input.table_name.clone())
                    .set_update_expression(input.update_expression.clone())
                    .set_condition_expression(input.condition_expression.clone())
                    .set_return_values(input.return_values.clone())
                    .set_return_values_on_condition_check_failure(
                        input.return_values_on_condition_check_failure.clone(),
                    );
                for (name, value) in input.key.iter().flatten() {
                    update = update.key(name, value.clone());
                }
                for (name, value) in input.expression_attribute_names.iter().flatten() {
                    update = update.expression_attribute_names(name, value);
                }
                for (name, value) in input.expression_attribute_values.iter().flatten() {
                    update = update.expression_attribute_values(name, value.clone());
                }
                update.send().await.is_ok()
            }
            Self::Query(input) => {
                let mut query = sdk
                    .dynamodb
                    .query()
                    .set_table_name(input.table_name.clone())
                    .set_index_name(input.index_name.clone())
                    .set_scan_index_forward(input.scan_index_forward)
                    .set_limit(input.limit)
                    .set_key_condition_expression(input.key_condition_expression.clone());
                for (name, value) in input.expression_attribute_names.iter().flatten() {
                    query = query.expression_attribute_names(name, value);
                }
                for (name, value) in input.expression_attribute_values.iter().flatten() {
                    query = query.expression_attribute_values(name, value.clone());
                }
                query.send().await.is_ok()
            }
            Self::Send(input) => {
                let send = sdk
                    .sqs
                    .send_message()
                    .set_queue_url(input.queue_url.clone())
                    .set_message_body(input.message_body.clone());
                send.send().await.is_ok()
            }
            Self::GetVectors(input) => {
                let get = sdk
                    .s3vectors
                    .get_vectors()
                    .set_vector_bucket_name(input.vector_bucket_name.clone())
                    .set_index_name(input.index_name.clone())
                    .set_keys(input.keys.clone())
                    .set_return_data(input.return_data)
                    .set_return_metadata(input.return_metadata);
                get.send().await.is_ok()
            }
            Self::DeleteVectors(input) => {
                let delete = sdk
                    .s3vectors
                    .delete_vectors()
                    .set_vector_bucket_name(input.vector_bucket_name.clone())
                    .set_index_name(input.index_name.clone())
                    .set_keys(input.keys.clone());
                delete.send().await.is_ok()
            }
        }
    }

    /// The same call about something else: every text in it with these replacements.
    pub(crate) fn with(mut self, replacements: &[(String, String)]) -> Self {
        let replace = |text: &mut String| {
            for (from, to) in replacements {
                if text.contains(from.as_str()) {
                    *text = text.replace(from.as_str(), to);
                }
            }
        };
        let replace_in = |values: &mut Option<HashMap<String, AttributeValue>>| {
            for value in values.iter_mut().flat_map(HashMap::values_mut) {
                if let AttributeValue::S(text) = value {
                    replace(text);
                }
            }
        };
        match &mut self {
            Self::Put(input) => replace_in(&mut input.item),
            Self::Get(input) => replace_in(&mut input.key),
            Self::Update(input) => {
                replace_in(&mut input.key);
                replace_in(&mut input.expression_attribute_values);
            }
            Self::Query(_) => {}
            Self::Send(input) => input.message_body.iter_mut().for_each(replace),
            Self::GetVectors(input) => {
                let keys = input.keys.iter_mut().flatten();
                input.index_name.iter_mut().chain(keys).for_each(replace);
            }
            Self::DeleteVectors(input) => {
                let keys = input.keys.iter_mut().flatten();
                input.index_name.iter_mut().chain(keys).for_each(replace);
            }
        }
        self
    }

    /// The value that a guarded update puts in this place.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let Self::Update(input) = self else {
            return None;
        };
        let value = input.expression_attribute_values.as_ref()?.get(name)?;
        value.as_s().ok().map(String::as_str)
    }
}
