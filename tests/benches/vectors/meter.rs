//! What a worker's calls to S3 Vectors come to: how many, how many were refused, and when.

use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::{Value, json};
use shared::clock::Clock;
use std::sync::{Arc, Mutex};
use tests::wire::name_of;

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) refused: u64,
    pub(crate) deletes: u64,
    /// When the first and the last delete that was carried out began, in milliseconds.
    pub(crate) first: Option<i64>,
    pub(crate) last: Option<i64>,
}

impl Tally {
    pub(crate) fn to_json(self) -> Value {
        json!({
            "calls": self.calls, "refused": self.refused, "deletes": self.deletes,
            "first": self.first, "last": self.last,
        })
    }

    pub(crate) fn from_json(value: &Value) -> Self {
        let count = |name: &str| value[name].as_u64().expect("a count");
        Self {
            calls: count("calls"),
            refused: count("refused"),
            deletes: count("deletes"),
            first: value["first"].as_i64(),
            last: value["last"].as_i64(),
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        let firsts = self.first.into_iter().chain(other.first);
        Self {
            calls: self.calls + other.calls,
            refused: self.refused + other.refused,
            deletes: self.deletes + other.deletes,
            first: firsts.min(),
            last: self.last.max(other.last),
        }
    }
}

/// An HTTP client that counts. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    tally: Arc<Mutex<Tally>>,
    inner: SharedHttpClient,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            tally: Arc::default(),
            inner: shared::aws::http_client(shared::aws::TlsRoots::default()),
        }
    }

    /// The HTTP client to put under the SDK.
    pub(crate) fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    pub(crate) fn tally(&self) -> Tally {
        *self.tally.lock().expect("not poisoned")
    }
}

impl HttpClient for Meter {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Metered {
            tally: Arc::clone(&self.tally),
            inner: self.inner.http_connector(settings, components),
        })
    }
}

#[derive(Debug)]
struct Metered {
    tally: Arc<Mutex<Tally>>,
    inner: SharedHttpConnector,
}

impl HttpConnector for Metered {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_delete = name_of(&request) == "S3Vectors.DeleteVectors";
        let began = Clock::System.now().timestamp_millis();
        let (tally, answer) = (Arc::clone(&self.tally), self.inner.call(request));
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            let mut tally = tally.lock().expect("not poisoned");
            tally.calls += 1;
            match answer.status().as_u16() {
                429 => tally.refused += 1,
                200 if is_delete => {
                    tally.deletes += 1;
                    tally.first = tally.first.into_iter().chain([began]).min();
                    tally.last = tally.last.max(Some(began));
                }
                _ => {}
            }
            Ok(answer)
        })
    }
}
