//! Amazon S3 Vectors, embedded. It neither denies, throttles nor fails by itself: that is done on the wire.

use super::contract::Fixture;
use super::{of, open};
use shared::aws;
use shared::vector::{Services, VectorError, VectorStore, VectorStores};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tests::Service;
use tests::wire::Fault;

const CALLS: [&str; 2] = ["S3Vectors.GetVectors", "S3Vectors.DeleteVectors"];
const INDEX: &str = "index";

struct S3Vectors {
    service: Service,
    stores: VectorStores,
    seeded: Mutex<BTreeSet<String>>,
}

async fn s3vectors() -> S3Vectors {
    let service = Service::start().await;
    service.seed(INDEX, &[] as &[&str]).await;
    let endpoint = format!("http://{}", service.running.s3vectors);
    let services = Services {
        aws: aws::local_config(&endpoint, Some(service.wire.http_client())),
        password: None,
    };
    S3Vectors {
        stores: open("s3vectors://demo/{embedding_model_id}", &services),
        service,
        seeded: Mutex::default(),
    }
}

impl S3Vectors {
    fn break_all(&self, fault: &Fault) {
        for call in CALLS {
            self.service
                .wire
                .next_times(usize::MAX, call, fault.clone());
        }
    }
}

impl Fixture for S3Vectors {
    fn store(&self) -> Arc<dyn VectorStore> {
        of(&self.stores, INDEX)
    }

    fn missing(&self) -> Arc<dyn VectorStore> {
        of(&self.stores, "no-such-index")
    }

    fn can_hold(&self, id: &str) -> bool {
        id.chars().count() <= 1024
    }

    fn longest(&self) -> String {
        "k".repeat(1024)
    }

    async fn seed(&self, ids: &[String]) {
        self.service.insert(INDEX, ids).await;
        self.seeded.lock().unwrap().extend(ids.iter().cloned());
    }

    async fn left(&self) -> BTreeSet<String> {
        let seeded: Vec<_> = self.seeded.lock().unwrap().iter().cloned().collect();
        let left = self.service.present(INDEX, &seeded).await;
        left.into_iter().collect()
    }

    async fn deny(&self) {
        self.break_all(&Fault::Refused(403, "AccessDeniedException"));
    }

    async fn throttle(&self) {
        self.break_all(&Fault::Refused(429, "TooManyRequestsException"));
    }

    async fn heal(&self) {
        self.service.wire.heal();
    }

    async fn delete_and_cut(&self, ids: &[&str]) -> Result<(), VectorError> {
        self.service.wire.next(CALLS[1], Fault::AnswerLost);
        self.store().delete(ids).await
    }
}

contract!(s3vectors());
