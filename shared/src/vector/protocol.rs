//! Any store that speaks the store protocol: two calls over HTTPS, specified in
//! `docs/store-protocol.md`.
//!
//! `address.rs` parses the URL, `http.rs` makes and signs a call, `pauses.rs` honours the store's
//! `Retry-After`, `responses.rs` parses responses. A response that does not have the form of the
//! protocol counts as none.

mod address;
mod http;
mod pauses;
mod responses;

use super::pace::Quota;
use super::port::{
    AfterDelete, Presence, Services, StoreFactory, VectorError, VectorErrorKind, VectorStore,
};
use crate::aws::VECTOR_CALL_TIMEOUT;
use crate::clock::rfc3339;
use crate::task::ModelId;
use address::Address;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Http;
use serde::Serialize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use url::Url;

/// The most concurrent calls of one existence check, if the store accepts fewer ids a call than
/// there are.
const CONCURRENT_CHECKS: usize = 5;

/// Opens the indexes of the store at one URL.
#[derive(Debug)]
pub(super) struct Factory {
    address: Address,
    http: OnceLock<Arc<Http>>,
}

impl Factory {
    /// Parses a URL of the form `https://host/path?index=…`.
    ///
    /// # Errors
    /// All errors in the URL, one sentence each.
    pub(super) fn parse(url: &Url) -> Result<Self, Vec<String>> {
        Ok(Self {
            address: Address::read(url)?,
            http: OnceLock::new(),
        })
    }

    fn http(&self, services: &Services) -> &Arc<Http> {
        self.http
            .get_or_init(|| Arc::new(Http::new(&self.address, services)))
    }
}

impl StoreFactory for Factory {
    fn prepare(&self, services: &Services) {
        self.http(services);
    }

    fn open(&self, services: &Services, model: &ModelId) -> Arc<dyn VectorStore> {
        Arc::new(Store {
            http: Arc::clone(self.http(services)),
            index: self.address.index.fill(model),
            max_ids: self.address.max_ids,
        })
    }

    fn limit(&self, model: &ModelId) -> Option<(String, Quota)> {
        let index = self.address.index.fill(model);
        let address = format!("{}#{index}", self.address.base);
        // The protocol has no limit of calls. A call counts as at least one object.
        let quota = |rate| (address, Quota::new(rate, rate));
        self.address.objects_per_second.map(quota)
    }
}

/// One index of a store.
#[derive(Debug)]
struct Store {
    http: Arc<Http>,
    index: String,
    max_ids: usize,
}

/// The body of a call.
#[derive(Serialize)]
struct Question<'a> {
    index: &'a str,
    ids: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
}

impl Store {
    async fn present_of(&self, ids: &[&str]) -> Result<Vec<Presence>, VectorError> {
        let question = Question {
            index: &self.index,
            ids,
            not_after: None,
        };
        let body = self.http.call("present", &self.index, &question).await?;
        responses::presence(&body, ids.len())
    }
}

/// Marks the error of a delete as unanswered if the delete may still be carried out. That is so if
/// the response does not tell what happened, such as the response of a gateway that did not wait
/// for the store, but not if the request was never sent.
fn may_still_delete(mut error: VectorError) -> VectorError {
    if error.kind == VectorErrorKind::Temporary && error.code != http::OUT_OF_REACH {
        error.kind = VectorErrorKind::Unanswered;
    }
    error
}

impl VectorStore for Store {
    fn present<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Presence>, VectorError>> {
        Box::pin(async move {
            let checks = ids.chunks(self.max_ids).map(|ids| self.present_of(ids));
            let checks: Vec<_> = checks.collect();
            let checks = stream::iter(checks).buffered(CONCURRENT_CHECKS);
            checks.try_concat().await
        })
    }

    fn delete<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<AfterDelete>, VectorError>> {
        Box::pin(async move {
            // Cut to whole seconds, so it is too early rather than too late.
            let not_after = self.http.now() + VECTOR_CALL_TIMEOUT;
            let question = Question {
                index: &self.index,
                ids,
                not_after: Some(rfc3339(not_after)),
            };
            let called = self.http.call("delete", &self.index, &question).await;
            let outcomes = called.and_then(|body| responses::outcomes(&body, ids.len()));
            outcomes.map_err(may_still_delete)
        })
    }

    fn max_present(&self) -> usize {
        self.max_ids
    }

    fn max_delete(&self) -> usize {
        self.max_ids
    }

    fn pause(&self) -> Duration {
        self.http.pause(&self.index)
    }
}
