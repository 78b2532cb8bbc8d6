//! Any store that speaks the store protocol: two calls over HTTPS, which `docs/store-protocol.md`
//! describes.
//!
//! `address.rs` parses the URL, `http.rs` makes a call and signs it, `pauses.rs` keeps to what the
//! store asks for with `Retry-After`, `responses.rs` reads what the store says: a response that
//! does not have the form of the protocol says nothing.

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

/// Calls of one existence check at once, where the store takes fewer ids a call than there are.
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
    /// Every error in it, a sentence each.
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
        // The protocol has no limit of calls, so one object is the least that a call counts as.
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

/// What a call asks.
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

/// A delete whose response says nothing, such as that of a gateway which did not wait for the
/// store, may still be carried out. That is not so where the request was never sent.
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
            // In whole seconds, so it is rather too early than too late.
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
