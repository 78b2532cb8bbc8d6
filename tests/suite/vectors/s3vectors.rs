//! Amazon S3 Vectors, embedded. It does not deny, throttle or fail on its own, so the tests do that
//! on the wire.

use super::contract::{Breakable, Cut, Fixture, delete_held_up};
use super::{kept, of, open};
use shared::aws;
use shared::clock::Clock;
use shared::vector::VectorErrorKind::Denied;
use shared::vector::{AfterDelete, Services, VectorError, VectorStore, VectorStores};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tests::Service;
use tests::wire::Fault;

const CALLS: [&str; 2] = ["S3Vectors.GetVectors", "S3Vectors.DeleteVectors"];
const INDEX: &str = "index";

pub(super) struct S3Vectors {
    service: Service,
    stores: VectorStores,
    seeded: Mutex<BTreeSet<String>>,
}

pub(super) async fn s3vectors(parameters: &str) -> S3Vectors {
    let service = Service::start().await;
    service.seed(INDEX, &[] as &[&str]).await;
    let endpoint = format!("http://{}", service.running.s3vectors);
    let services = Services {
        aws: aws::local_config(&endpoint, Some(service.wire.http_client())),
        password: None,
        token: None,
        clock: Clock::System,
    };
    S3Vectors {
        stores: open(
            &format!("s3vectors://demo/{{embedding_model_id}}{parameters}"),
            &services,
        ),
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

    async fn delete_late(&self, ids: &[&str]) -> Result<Vec<AfterDelete>, VectorError> {
        let held = self.service.wire.hold(CALLS[1]);
        delete_held_up(&*self.store(), ids, || held.release()).await
    }
}

impl Breakable for S3Vectors {
    async fn deny(&self) {
        self.break_all(&Fault::Refused(403, "AccessDeniedException"));
    }

    async fn throttle(&self) {
        self.break_all(&Fault::Refused(429, "TooManyRequestsException"));
    }

    async fn heal(&self) {
        self.service.wire.heal();
    }

    async fn keep(&self, ids: &[&str]) {
        let kept = ids.iter().map(|id| (*id).to_owned()).collect();
        let wire = &self.service.wire;
        wire.next_times(usize::MAX, CALLS[1], Fault::Kept(kept));
    }

    async fn delete_and_cut(
        &self,
        ids: &[&str],
        cut: Cut,
    ) -> Result<Vec<AfterDelete>, VectorError> {
        let fault = match cut {
            Cut::Before => Fault::Unsent,
            Cut::After => Fault::ResponseLost,
        };
        self.service.wire.next(CALLS[1], fault);
        self.store().delete(ids).await
    }
}

#[tokio::test]
async fn a_delete_is_one_call_and_is_read_back_where_the_url_says_so() {
    for (parameters, calls) in [
        ("", vec![CALLS[1]]),
        ("?confirm=read-back", vec![CALLS[1], CALLS[0]]),
    ] {
        let fixture = s3vectors(parameters).await;
        fixture.seed(&["a".to_owned()]).await;
        fixture.service.wire.calls();
        assert_eq!(kept(&*fixture.store(), &["a", "b"]).await, [""; 0]);
        assert_eq!(fixture.service.wire.calls(), calls, "{parameters}");
    }
}

#[tokio::test]
async fn a_key_that_cannot_decrypt_is_not_retried_and_the_error_says_what_is_wrong_with_it() {
    let fixture = s3vectors("").await;
    for (code, says) in [
        ("KmsDisabledException", "is disabled"),
        ("KmsNotFoundException", "cannot be found"),
        (
            "KmsInvalidStateException",
            "in a state in which it cannot decrypt",
        ),
        ("KmsInvalidKeyUsageException", "not a key that can decrypt"),
    ] {
        fixture.break_all(&Fault::Refused(400, code));
        let store = fixture.store();
        let errors = [
            store.present(&["a"]).await.unwrap_err(),
            store.delete(&["a"]).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.kind, error.code.as_str()), (Denied, code));
            assert!(error.detail.contains(says), "{error}");
            assert!(
                error.detail.contains("KMS key of vector index `index`"),
                "{error}"
            );
        }
        fixture.heal().await;
    }
}
