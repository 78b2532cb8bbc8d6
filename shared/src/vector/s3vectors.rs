//! Amazon S3 Vectors: the object id is the vector's key.
//!
//! `address.rs` parses the URL, `errors.rs` sorts errors by meaning. This file makes the calls.

mod address;
mod errors;

use super::pace::{Pace, Quota};
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
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use url::Url;

/// The most keys of one GetVectors call ("Limitations and restrictions", Amazon S3 User Guide).
const MAX_GET: usize = 100;
/// The most keys of one DeleteVectors call (the same page).
const MAX_DELETE: usize = 500;
/// The most concurrent GetVectors calls of one existence check.
const CONCURRENT_GETS: usize = 5;
/// The longest that an existence check waits for the rate limit. The wait is part of the check's
/// time, most of which must be left for the responses.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The limit of GetVectors calls a second. The guide promises "hundreds" ("S3 Vectors best
/// practices"); this is twelve times what deletes at their own pace need. Several calls are
/// reserved together.
const READS: Quota = Quota::new(300, 300);
/// If there are this many paces, those at rest are forgotten.
const MAX_IDLE_PACES: usize = 1_000;

/// Opens the indexes that one URL names.
#[derive(Debug)]
pub(super) struct Factory {
    address: Address,
    client: OnceLock<Client>,
    /// The paces of existence checks by index, for the life of the process.
    reads: Mutex<HashMap<String, Arc<Reads>>>,
}

impl Factory {
    /// Parses a URL of the form `s3vectors://bucket/index`.
    ///
    /// # Errors
    /// All errors in the URL, one sentence each.
    pub(super) fn parse(url: &Url) -> Result<Self, Vec<String>> {
        Ok(Self {
            address: Address::read(url)?,
            client: OnceLock::new(),
            reads: Mutex::default(),
        })
    }

    fn client(&self, services: &Services) -> &Client {
        self.client
            .get_or_init(|| aws::s3vectors_client(&services.aws))
    }

    fn reads(&self, index: &str) -> Arc<Reads> {
        let mut all = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_IDLE_PACES {
            all.retain(|_, reads| {
                Arc::strong_count(reads) > 1 || !reads.pace.is_at_rest(reads.since.elapsed())
            });
        }
        Arc::clone(all.entry(index.to_owned()).or_default())
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
            reads: self.reads(&index),
            index,
            reads_back: self.address.reads_back,
        })
    }

    fn limit(&self, model: &ModelId) -> Option<(String, Quota)> {
        let index = self.address.index.fill(model);
        is_index_name(&index).then(|| {
            let address = format!("s3vectors://{}/{index}", self.address.bucket);
            (address, self.address.writes)
        })
    }
}

/// One vector index in Amazon S3 Vectors.
#[derive(Clone, Debug)]
struct S3Vectors {
    client: Client,
    bucket: String,
    index: String,
    reads: Arc<Reads>,
    /// Whether a delete is read back. If not, its acknowledgement replaces the read.
    reads_back: bool,
}

/// The pace of existence checks of an index.
#[derive(Debug)]
struct Reads {
    pace: Pace,
    /// The moment from which the pace counts its time.
    since: Instant,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            pace: Pace::new(READS, READS.cost(CONCURRENT_GETS)),
            since: Instant::now(),
        }
    }
}

impl S3Vectors {
    /// Checks that S3 Vectors could have an index of this name. A model id may be any text. If it
    /// is not a valid index name, no such index exists, and saying so is clearer than the error of
    /// a rejected call.
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
            let now = self.reads.since.elapsed();
            match self.reads.pace.reserve(keys.len(), LONGEST_WAIT, now) {
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
        let began = self.reads.since.elapsed();
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
            .map_err(|error| sorted(&self.index, error))
            .inspect_err(|error| {
                if error.kind == VectorErrorKind::Throttled {
                    let now = self.reads.since.elapsed();
                    self.reads.pace.throttled(began, now);
                }
            })?;
        Ok(response
            .vectors
            .into_iter()
            .map(|vector| vector.key)
            .collect())
    }
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
            self.client
                .delete_vectors()
                .vector_bucket_name(&self.bucket)
                .index_name(&self.index)
                .set_keys(Some(owned(ids)))
                .send()
                .boxed()
                .await
                .map_err(|error| sorted(&self.index, error))?;
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
}
