//! The adapter of the store protocol.

use super::contract::{Breakable, Cut, Fixture, InParts, delete_held_up, may_pass};
use super::secrets::{ARN, Secrets};
use super::{no_services, of, open};
use chrono::TimeDelta;
use serde_json::json;
use shared::clock::{Clock, ManualClock};
use shared::vector::{
    AfterDelete, Password, Presence, Services, VectorError, VectorErrorKind, VectorStore,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tests::bridge::{Bridge, Instead};

const INDEX: &str = "my-index";

/// A store in memory, behind the protocol.
pub(super) struct InMemory {
    bridge: Bridge,
    store: Arc<dyn VectorStore>,
    missing: Arc<dyn VectorStore>,
}

impl InMemory {
    pub(super) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts the store, with these parameters in its URL.
    async fn start_with(parameters: &str) -> Self {
        Self::start_as(parameters, &no_services()).await
    }

    async fn start_as(parameters: &str, services: &Services) -> Self {
        let bridge = Bridge::start(&[INDEX]).await;
        let stores = open(&format!("{}?{parameters}", bridge.url()), services);
        Self {
            bridge,
            store: of(&stores, INDEX),
            missing: of(&stores, "no-such-index"),
        }
    }

    fn respond(&self, status: u16, content_type: &'static str, body: impl ToString) {
        let instead = Instead::Response(status, content_type, body.to_string());
        self.bridge.respond(Some(instead));
    }
}

impl Fixture for InMemory {
    fn store(&self) -> Arc<dyn VectorStore> {
        Arc::clone(&self.store)
    }

    fn missing(&self) -> Arc<dyn VectorStore> {
        Arc::clone(&self.missing)
    }

    fn can_hold(&self, id: &str) -> bool {
        id.len() <= 512
    }

    fn refuses_deletes(&self) -> bool {
        false
    }

    fn longest(&self) -> String {
        "x".repeat(512)
    }

    async fn seed(&self, ids: &[String]) {
        self.bridge.put(INDEX, ids);
    }

    async fn left(&self) -> BTreeSet<String> {
        self.bridge.left(INDEX)
    }

    async fn delete_late(&self, ids: &[&str]) -> Result<Vec<AfterDelete>, VectorError> {
        let held = self.bridge.hold();
        delete_held_up(&*self.store, ids, || drop(held)).await
    }
}

impl Breakable for InMemory {
    async fn deny(&self) {
        self.respond(403, "application/json", "{}");
    }

    async fn throttle(&self) {
        self.respond(429, "application/json", "{}");
    }

    async fn heal(&self) {
        self.bridge.respond(None);
        self.bridge.keep(&[]);
    }

    async fn keep(&self, ids: &[&str]) {
        self.bridge.keep(ids);
    }

    async fn delete_and_cut(
        &self,
        ids: &[&str],
        cut: Cut,
    ) -> Result<Vec<AfterDelete>, VectorError> {
        self.bridge.respond(Some(match cut {
            Cut::Before => Instead::Nothing,
            Cut::After => Instead::NothingAfterwards,
        }));
        let deleted = self.store.delete(ids).await;
        self.bridge.respond(None);
        deleted
    }
}

impl InParts for InMemory {
    async fn go_in_parts(&self, ids: &[&str]) {
        self.bridge.go_in_parts(ids);
    }
}

#[tokio::test]
async fn a_call_has_the_form_that_is_documented() {
    let fixture = InMemory::start_with("index=v-{embedding_model_id}").await;
    fixture.bridge.put("v-my-index", &["a".to_owned()]);
    let before = Clock::System.now();
    let store = fixture.store();
    assert_eq!(
        store.present(&["a", "ü"]).await.unwrap(),
        [Presence::Present, Presence::Absent]
    );
    assert_eq!(store.delete(&["a"]).await.unwrap(), [AfterDelete::Gone]);

    let calls = fixture.bridge.calls();
    let [present, delete] = calls.as_slice() else {
        panic!("{calls:?}");
    };
    assert_eq!(present.operation, "present");
    assert_eq!(
        present.body,
        json!({"index": "v-my-index", "ids": ["a", "ü"]})
    );
    assert_eq!(delete.operation, "delete");
    assert_eq!(delete.body["ids"], json!(["a"]));
    let not_after = delete.body["not_after"].as_str().unwrap();
    let not_after = chrono::DateTime::parse_from_rfc3339(not_after).unwrap();
    let seconds = (not_after.to_utc() - before).num_milliseconds();
    assert!((8_900..=10_500).contains(&seconds), "{seconds}");
    for call in &calls {
        assert_eq!(call.headers["deletion-tasks-protocol"], "1");
        assert_eq!(call.headers["content-type"], "application/json");
        assert!(!call.headers.contains_key("authorization"));
    }
}

#[tokio::test]
async fn no_call_has_more_ids_than_the_store_takes() {
    let fixture = InMemory::start_with("max_ids=100").await;
    let ids: Vec<_> = (0..250).map(|number| format!("id-{number}")).collect();
    fixture.seed(&ids[..120]).await;
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let store = fixture.store();
    assert_eq!(store.max_delete(), 100);
    let present = store.present(&ids).await.unwrap();
    let expected = (0..250).map(|number| Presence::of(number < 120));
    assert!(present.into_iter().eq(expected));
    let sizes = fixture.bridge.calls();
    let mut sizes: Vec<_> = sizes
        .iter()
        .map(|call| call.body["ids"].as_array().unwrap().len())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
}

#[tokio::test]
async fn nothing_is_settled_on_a_response_that_has_another_form() {
    let fixture = InMemory::start().await;
    fixture.seed(&["a".to_owned()]).await;
    let store = fixture.store();
    for body in [
        r#"{"present": [true, true], "outcomes": ["gone", "gone"]}"#,
        r#"{"present": [], "outcomes": []}"#,
        r#"{"present": "true", "outcomes": ["deleted"]}"#,
        "<html>Welcome to the hotel's network</html>",
        "",
    ] {
        fixture.respond(200, "application/json", body);
        for error in [
            store.present(&["a"]).await.unwrap_err(),
            store.delete(&["a"]).await.unwrap_err(),
        ] {
            assert!(may_pass(error.kind), "{body}: {error:?}");
            assert!(!error.detail.contains("true"), "{error:?}");
            assert!(
                error.detail.contains("form of the store protocol"),
                "{error:?}"
            );
        }
    }
    let large = format!(
        r#"{{"present": [true], "x": "{}"}}"#,
        "x".repeat(1024 * 1024)
    );
    fixture.respond(200, "application/json", large);
    let error = store.present(&["a"]).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::Temporary);
    assert!(error.detail.ends_with("it has more than 1 MB"), "{error:?}");
}

#[tokio::test]
async fn a_delete_whose_response_says_nothing_may_still_be_carried_out() {
    let fixture = InMemory::start().await;
    let store = fixture.store();
    // A gateway may not wait for the store, or may send a response of its own.
    for (status, body) in [
        (504, ""),
        (502, "<html>"),
        (500, "{}"),
        (200, "<html>"),
        (200, "{}"),
    ] {
        fixture.respond(status, "text/html", body);
        let error = store.present(&["a"]).await.unwrap_err();
        assert_eq!(error.kind, VectorErrorKind::Temporary, "{status} {body}");
        let error = store.delete(&["a"]).await.unwrap_err();
        assert_eq!(error.kind, VectorErrorKind::Unanswered, "{status} {body}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let fixture = InMemory::start().await;
    let other = InMemory::start().await;
    for status in [301, 302, 307, 308] {
        let instead = Instead::Redirect(status, format!("{}/delete", other.bridge.url()));
        fixture.bridge.respond(Some(instead));
        let error = fixture.store().delete(&["a"]).await.unwrap_err();
        assert!(may_pass(error.kind), "{error:?}");
        assert!(error.detail.contains("redirects"), "{error:?}");
    }
    assert!(other.bridge.calls().is_empty());
}

#[tokio::test]
async fn an_index_is_not_called_before_the_time_that_its_store_asks_for() {
    let noon = "2024-05-21T12:00:00Z".parse().unwrap();
    let clock = ManualClock::at(noon);
    let services = Services {
        clock: Clock::Manual(clock.clone()),
        ..no_services()
    };
    let fixture = InMemory::start_as("", &services).await;
    let (bridge, store) = (&fixture.bridge, fixture.store());
    bridge.go_by(services.clock.clone());
    for (operation, retry_after) in [
        ("present", "20"),
        ("delete", "Tue, 21 May 2024 12:00:40 GMT"),
    ] {
        bridge.throttle_next(operation, retry_after);
        let error = match operation {
            "present" => store.present(&["a"]).await.unwrap_err(),
            _ => store.delete(&["a"]).await.unwrap_err(),
        };
        assert_eq!(error.kind, VectorErrorKind::Throttled, "{error:?}");
        assert_eq!(bridge.calls().len(), 1);

        clock.advance(TimeDelta::seconds(19));
        assert_eq!(store.pause(), Duration::from_secs(1));
        for error in [
            store.present(&["a"]).await.unwrap_err(),
            store.delete(&["a"]).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, VectorErrorKind::Throttled, "{error:?}");
        }
        assert!(bridge.calls().is_empty(), "{operation}");
        // Calls to another index of the same store are not paused.
        assert_eq!(fixture.missing.pause(), Duration::ZERO);
        let error = fixture.missing.present(&["a"]).await.unwrap_err();
        assert_eq!(error.kind, VectorErrorKind::IndexMissing, "{error:?}");

        clock.advance(TimeDelta::seconds(1));
        assert_eq!(store.pause(), Duration::ZERO);
        store.delete(&["a"]).await.unwrap();
        bridge.calls();
    }
    bridge.throttle_next("present", "soon");
    store.present(&["a"]).await.unwrap_err();
    assert_eq!(store.pause(), Duration::ZERO);
    store.present(&["a"]).await.unwrap();
}

#[tokio::test]
async fn what_the_store_writes_for_people_is_one_clean_line() {
    let fixture = InMemory::start().await;
    let store = fixture.store();
    let problem = json!({"type": "about:blank", "detail": "on\tlegal\r\nhold\u{1b}[31m"});
    fixture.respond(403, "application/problem+json", problem);
    let error = store.delete(&["a"]).await.unwrap_err();
    assert!(
        error.detail.ends_with("The store says: on legal hold [31m"),
        "{error:?}"
    );
    fixture.respond(
        200,
        "application/json",
        json!({"outcomes": ["kept"], "details": ["x".repeat(1_000)]}),
    );
    let after = store.delete(&["a"]).await.unwrap();
    let kept = AfterDelete::Kept(format!("The store says: {}", "x".repeat(256)));
    assert_eq!(after, [kept]);
}

#[tokio::test]
async fn the_token_is_sent_where_the_url_asks_for_it_and_shown_nowhere() {
    let services = Services {
        token: Some(Password::new("s3cret-t0ken")),
        ..no_services()
    };
    let fixture = InMemory::start_as("auth=bearer", &services).await;
    fixture.store().present(&["a"]).await.unwrap();
    assert_eq!(
        fixture.bridge.calls()[0].headers["authorization"],
        "Bearer s3cret-t0ken"
    );
    assert!(!format!("{services:?}").contains("s3cret"));

    let without = InMemory::start_as("", &services).await;
    without.store().present(&["a"]).await.unwrap();
    assert!(
        !without.bridge.calls()[0]
            .headers
            .contains_key("authorization")
    );

    let missing = InMemory::start_as("auth=bearer", &no_services()).await;
    let error = missing.store().present(&["a"]).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::Denied);
    assert!(
        error.detail.ends_with("VECTOR_STORE_TOKEN is not set"),
        "{error:?}"
    );
    assert!(missing.bridge.calls().is_empty());
}

#[tokio::test]
async fn a_token_comes_from_a_secret_and_is_fetched_again_when_it_was_changed() {
    let secrets = Secrets::default();
    let parameters = format!("auth=bearer&token_secret={ARN}");
    let fixture = InMemory::start_as(&parameters, &secrets.start().await).await;
    let (bridge, store) = (&fixture.bridge, fixture.store());
    secrets.hold("first");
    bridge.require_token("first");
    for _ in 0..3 {
        store.present(&["a"]).await.unwrap();
    }
    assert_eq!(secrets.calls(), 1);

    bridge.put(INDEX, &["a".to_owned()]);
    secrets.hold(r#"{"token": "second"}"#);
    bridge.require_token("second");
    assert_eq!(store.delete(&["a"]).await.unwrap(), [AfterDelete::Gone]);
    assert_eq!(secrets.calls(), 2);
    assert!(bridge.left(INDEX).is_empty());

    bridge.require_token("third");
    let error = store.present(&["a"]).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::Denied, "{error:?}");
    secrets.set(400, json!({"__type": "AccessDeniedException"}));
    let error = store.present(&["a"]).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::Denied, "{error:?}");
    assert_eq!(
        error.detail,
        "Access to the vector store's secret is denied"
    );
}

#[tokio::test]
async fn a_call_is_signed_with_the_functions_own_role() {
    let fixture = InMemory::start_with("auth=sigv4&service=lambda&region=eu-west-1").await;
    fixture.store().present(&["a"]).await.unwrap();
    let calls = fixture.bridge.calls();
    let authorization = calls[0].headers["authorization"].to_str().unwrap();
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=local/"),
        "{authorization}"
    );
    assert!(
        authorization.contains("/eu-west-1/lambda/aws4_request"),
        "{authorization}"
    );
    assert!(calls[0].headers.contains_key("x-amz-date"));
}

#[tokio::test]
async fn a_store_that_is_not_there_is_out_of_reach_and_one_that_is_silent_is_unanswered() {
    let stores = open("http://127.0.0.1:9/bridge", &no_services());
    let error = of(&stores, INDEX).present(&["a"]).await.unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::Temporary);
    assert_eq!(error.detail, "The vector store cannot be reached");

    let fixture = InMemory::start().await;
    fixture.bridge.respond(Some(Instead::Silence));
    let store = fixture.store();
    let call = tokio::time::timeout(Duration::from_secs(12), store.delete(&["a"]));
    let error = call
        .await
        .expect("it gives up after ten seconds")
        .unwrap_err();
    assert_eq!(error.kind, VectorErrorKind::Unanswered);
}
