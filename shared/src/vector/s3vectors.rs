//! Amazon S3 Vectors: the object id is the vector's key.
//!
//! `address.rs` parses the URL, `pace.rs` keeps to an index's quota, `errors.rs` sorts errors by meaning. Here: the calls.

mod address;
mod errors;
mod pace;

use super::port::{
    AfterDelete, Presence, Services, StoreFactory, VectorError, VectorErrorKind, VectorStore,
};
use crate::aws;
use crate::task::ModelId;
use address::{Address, is_index_name};
use aws_sdk_s3vectors::Client;
use errors::{index_missing, sorted};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join_all};
use pace::{Pace, Quota};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use url::Url;

/// The most keys one GetVectors takes ("Limitations and restrictions", Amazon S3 User Guide).
const MAX_GET: usize = 100;
/// The most keys one DeleteVectors takes (the same page).
const MAX_DELETE: usize = 500;
/// Concurrent GetVectors calls of one existence check.
const CONCURRENT_GETS: usize = 5;
/// The longest that an existence check waits for the rate limit. The wait is part of the check's time, most of which must be left
/// for the responses.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The number of paces from which on those that are at rest are forgotten.
const MAX_IDLE_PACES: usize = 1_000;

/// Opens the indexes that one URL names.
#[derive(Debug)]
pub(super) struct Factory {
    address: Address,
    client: OnceLock<Client>,
    /// By index, for the life of the process: all tasks of an index share its pace.
    paces: Mutex<HashMap<String, Arc<Paces>>>,
}

impl Factory {
    /// Parses a URL of the form `s3vectors://bucket/index`.
    ///
    /// # Errors
    /// Every error in it, a sentence each.
    pub(super) fn parse(url: &Url) -> Result<Self, Vec<String>> {
        Ok(Self {
            address: Address::read(url)?,
            client: OnceLock::new(),
            paces: Mutex::default(),
        })
    }

    fn client(&self, services: &Services) -> &Client {
        self.client
            .get_or_init(|| aws::s3vectors_client(&services.aws))
    }

    fn pace(&self, index: &str) -> Arc<Paces> {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        if paces.len() >= MAX_IDLE_PACES {
            let now = Instant::now();
            paces.retain(|_, pace| Arc::strong_count(pace) > 1 || !pace.are_at_rest(now));
        }
        let pace = paces.entry(index.to_owned());
        let pace = pace.or_insert_with(|| Arc::new(Paces::of(self.address.writes)));
        Arc::clone(pace)
    }
}

impl StoreFactory for Factory {
    fn prepare(&self, services: &Services) {
        self.client(services);
    }

    fn open(&self, services: &Services, model: &ModelId) -> Arc<dyn VectorStore> {
        let index = self.address.index.fill(model);
        Arc::new(S3Vectors {
            client: self.client(services).clone(),
            bucket: self.address.bucket.clone(),
            pace: self.pace(&index),
            index,
            reads_back: self.address.reads_back,
        })
    }
}

/// One vector index in Amazon S3 Vectors.
#[derive(Clone, Debug)]
struct S3Vectors {
    client: Client,
    bucket: String,
    index: String,
    pace: Arc<Paces>,
    /// Whether a delete is read back. If not, its acknowledgement replaces the read.
    reads_back: bool,
}

/// How fast an index is called.
#[derive(Debug)]
struct Paces {
    writes: Pace,
    reads: Pace,
}

impl Paces {
    fn of(writes: Quota) -> Self {
        let now = Instant::now();
        Self {
            writes: Pace::new(writes, MAX_DELETE, now),
            reads: Pace::new(Quota::of_reads(), CONCURRENT_GETS, now),
        }
    }

    fn are_at_rest(&self, now: Instant) -> bool {
        self.writes.is_at_rest(now) && self.reads.is_at_rest(now)
    }
}

impl S3Vectors {
    /// Checks that S3 Vectors could have an index of this name. A model id may be any text. One that is not a valid index name
    /// has no index, which says more than the error of a rejected call.
    fn check_name(&self) -> Result<(), VectorError> {
        if is_index_name(&self.index) {
            return Ok(());
        }
        Err(VectorError {
            kind: VectorErrorKind::IndexMissing,
            detail: index_missing(&self.index),
            code: "no such name".to_owned(),
            source: None,
        })
    }

    /// Which of these ids exist: 100 a call, a few calls at once.
    async fn read(&self, ids: &[&str]) -> Result<Vec<bool>, VectorError> {
        let mut present = Vec::with_capacity(ids.len());
        for together in ids.chunks(MAX_GET * CONCURRENT_GETS) {
            let keys: Vec<_> = together.chunks(MAX_GET).map(owned).collect();
            let reads = &self.pace.reads;
            match reads.reserve(keys.len(), LONGEST_WAIT, Instant::now()) {
                Some(Duration::ZERO) => {}
                Some(wait) => sleep(wait).await,
                None => return Err(VectorError::rate_limited()),
            }
            let found = try_join_all(keys.into_iter().map(|keys| self.get(keys))).await?;
            let is_found = |id: &&str| found.iter().any(|keys| keys.contains(*id));
            present.extend(together.iter().map(is_found));
        }
        Ok(present)
    }

    async fn get(&self, keys: Vec<String>) -> Result<HashSet<String>, VectorError> {
        let began = Instant::now();
        let response = self
            .client
            .get_vectors()
            .vector_bucket_name(&self.bucket)
            .index_name(&self.index)
            .set_keys(Some(keys))
            .return_data(false)
            .return_metadata(false)
            .send()
            .boxed()
            .await
            .map_err(|error| slowing(&self.pace.reads, began, sorted(&self.index, error)))?;
        Ok(response
            .vectors
            .into_iter()
            .map(|vector| vector.key)
            .collect())
    }
}

/// Slows down after a call that was throttled.
fn slowing(pace: &Pace, began: Instant, error: VectorError) -> VectorError {
    if error.kind == VectorErrorKind::Throttled {
        pace.throttled(began, Instant::now());
    }
    error
}

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

impl VectorStore for S3Vectors {
    fn present<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Presence>, VectorError>> {
        Box::pin(async move {
            self.check_name()?;
            let present = self.read(ids).await?;
            Ok(present.into_iter().map(Presence::of).collect())
        })
    }

    fn delete<'a>(
        &'a self,
        ids: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<AfterDelete>, VectorError>> {
        Box::pin(async move {
            self.check_name()?;
            let began = Instant::now();
            self.client
                .delete_vectors()
                .vector_bucket_name(&self.bucket)
                .index_name(&self.index)
                .set_keys(Some(owned(ids)))
                .send()
                .boxed()
                .await
                .map_err(|error| slowing(&self.pace.writes, began, sorted(&self.index, error)))?;
            if !self.reads_back {
                // Writes are strongly consistent ("Vector buckets", Amazon S3 User Guide).
                return Ok(vec![AfterDelete::Gone; ids.len()]);
            }
            let present = self.read(ids).await?;
            let after = present.into_iter().map(|is_there| {
                if is_there {
                    AfterDelete::Kept(format!(
                        "Vector index `{}` acknowledged the delete but still has the object: the index kept it, or it was inserted again",
                        self.index
                    ))
                } else {
                    AfterDelete::Gone
                }
            });
            Ok(after.collect())
        })
    }

    fn max_delete(&self) -> usize {
        MAX_DELETE
    }

    fn turn(&self, ids: usize, longest: Duration) -> Option<Duration> {
        self.pace.writes.reserve(ids, longest, Instant::now())
    }
}
