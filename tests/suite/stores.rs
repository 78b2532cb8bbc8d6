//! Vector stores that fail, throttle or refuse.

use chrono::TimeDelta;
use std::sync::Arc;
use tests::wire::{
    FAILING, Fault, THROTTLING,
    call::{CHECK, CLAIM, DELETE},
};
use tests::{Begun, Service, Size, example, ids, kill, run_body};

/// A task for whose first two objects, `o-0` and `o-1`, the test makes the store fail. The index
/// has both. If the task is large, its other chunk has been carried out.
struct Stuck {
    begun: Begun,
    attempt: u32,
}

/// What goes wrong in a try.
#[derive(Clone, Debug)]
enum Trouble {
    /// Each call of this name meets this fault.
    At(&'static str, Fault),
    /// The invocation's time is up once the claim is made.
    NoTime,
    /// The worker dies when it begins to delete.
    Death,
}

impl Stuck {
    async fn create(size: Size) -> Self {
        let begun = Begun::begin(size).await;
        begun.service.insert("index", &["o-1", "o-3"]).await;
        begun.carry_out_rest(1).await;
        Self { begun, attempt: 1 }
    }

    async fn restart(&mut self) {
        self.begun.restart("").await;
        self.attempt += 1;
    }

    /// Lets a worker try the two objects and meet this trouble.
    async fn meets(&self, trouble: &Trouble) {
        let service = &self.begun.service;
        match trouble {
            Trouble::At(call, fault) => {
                service.wire.next_times(usize::MAX, call, fault.clone());
                // The time is short, because the call is made as often as there is time.
                let time = TimeDelta::seconds(4);
                let message = self.begun.message(self.attempt);
                assert_eq!(service.deliver_within(time, &[&message]).await, 0);
                service.wire.heal();
            }
            Trouble::NoTime => {
                let claimed = service.wire.hold_response(CLAIM);
                let work = self.begun.start(self.attempt);
                claimed.reached().await;
                service.pass(TimeDelta::seconds(29)); // of the invocation's 30
                claimed.release();
                assert_eq!(work.await.unwrap(), 0);
            }
            Trouble::Death => {
                let delete = service.wire.hold(DELETE);
                let work = self.begun.start(self.attempt);
                delete.reached().await;
                kill(work).await;
            }
        }
    }

    async fn assert_sent_in(&self, seconds: i64, story: &str) {
        self.begun
            .assert_sent_in(self.attempt, seconds, story)
            .await;
    }

    /// Carries the task out without trouble, and fails the test unless all objects are deleted.
    async fn assert_mended(&self, story: &str) {
        self.begun.deliver(self.attempt).await;
        let task = self.begun.task().await;
        assert_eq!(task["status"], "done", "{story}: {task}");
        assert_eq!(task["progress"]["failed"], 0, "{story}: {task}");
    }
}

#[tokio::test]
async fn throttling_or_no_time_puts_work_off_by_one_to_eight_minutes_and_never_fails_it() {
    for size in Size::BOTH {
        for trouble in [
            Trouble::At(CHECK, THROTTLING),
            Trouble::At(DELETE, THROTTLING),
            Trouble::NoTime,
        ] {
            let story = format!("{trouble:?}, {size:?}");
            let mut stuck = Stuck::create(size).await;
            for minutes in [1, 2, 4, 8, 8] {
                stuck.meets(&trouble).await;
                stuck.assert_sent_in(60 * minutes, &story).await;
            }
            // Only a store that fails makes the wait longer again.
            stuck.meets(&Trouble::At(CHECK, FAILING)).await;
            stuck.assert_sent_in(1920, &story).await;

            // Somebody else has removed one of the objects, which counts as progress.
            stuck.begun.service.remove("index", &["o-0"]).await;
            stuck.meets(&Trouble::At(DELETE, THROTTLING)).await;
            stuck.assert_sent_in(0, &story).await;
            for minutes in [1, 2] {
                stuck.meets(&trouble).await;
                stuck.assert_sent_in(60 * minutes, &story).await;
            }

            stuck.begun.service.cancel("task_id=t").await.ok();
            stuck.restart().await;
            stuck.begun.service.insert("index", &["o-0"]).await;
            for minutes in [1, 2] {
                stuck.meets(&trouble).await;
                stuck.assert_sent_in(60 * minutes, &story).await;
            }
            stuck.begun.deliver(stuck.attempt).await;
            assert_eq!(stuck.begun.task().await["status"], "done", "{story}");
        }
    }
}

#[tokio::test]
async fn a_store_that_keeps_failing_is_tried_five_times_and_a_restart_mends_the_task() {
    for size in Size::BOTH {
        for call in [CHECK, DELETE] {
            let story = format!("{call}, {size:?}");
            let failing = Trouble::At(call, FAILING);
            let mut stuck = Stuck::create(size).await;
            for minutes in [1, 2, 4, 8] {
                stuck.meets(&failing).await;
                stuck.assert_sent_in(60 * minutes, &story).await;
            }
            stuck.meets(&failing).await;
            let task = stuck.begun.task().await;
            assert_eq!(task["status"], "failed", "{story}");
            let detail = task["detail"].as_str().unwrap();
            assert!(
                detail.starts_with("Gave up after 5 tries: The vector store"),
                "{story}: {detail}"
            );
            assert_eq!(task["progress"]["remaining"], 0, "{story}");
            let failed = task["failed_item_ids"].as_array().unwrap();
            let failed: Vec<_> = failed.iter().map(|item| &item["object_id"]).collect();
            assert_eq!(failed, ["o-0", "o-1"], "{story}");
            assert_eq!(stuck.begun.service.sweep().await, 0, "{story}");

            stuck.restart().await;
            stuck.meets(&failing).await;
            assert_ne!(stuck.begun.task().await["status"], "failed", "{story}");
            stuck.assert_sent_in(60, &story).await;
            stuck.assert_mended(&story).await;
        }
    }
}

#[tokio::test]
async fn work_whose_workers_die_again_and_again_fails_after_five_claims() {
    for size in Size::BOTH {
        let story = format!("{size:?}");
        let mut stuck = Stuck::create(size).await;
        for _ in 0..5 {
            stuck.meets(&Trouble::Death).await;
            // The invocation's 30 s, the lease's 10 s more, and a second because times are stored
            // in whole seconds.
            stuck.assert_sent_in(41, &story).await;
        }
        stuck.begun.service.wire.calls();
        stuck.begun.deliver(stuck.attempt).await;
        assert_eq!(stuck.begun.service.wire.count(DELETE), 0, "{story}");
        let task = stuck.begun.task().await;
        assert_eq!(
            (&task["status"], &task["detail"]),
            (
                &"failed".into(),
                &"Gave up after 5 tries: no try made any progress".into()
            ),
            "{story}"
        );
        stuck.restart().await;
        stuck.assert_mended(&story).await;
    }
}

#[tokio::test]
async fn only_four_failures_in_a_row_end_a_claim_and_a_throttled_call_none() {
    for call in [CHECK, DELETE] {
        let service = Service::start().await;
        let objects = ids("o", 4);
        service.seed("index", &objects).await;
        service.run(&run_body("index", "t", &objects)).await.ok();
        // The batch is cut into single objects. Six calls in all fail, at most three in a row, and
        // succeed when they are made again.
        for fault in [
            (1, Fault::InvalidKeys),
            (1, Fault::InvalidKeys),
            (3, FAILING),
            (5, THROTTLING),
        ] {
            service.wire.next_times(fault.0, call, fault.1);
        }
        for failures in [1, 2] {
            succeed_once(&service, call);
            service.wire.next_times(failures, call, FAILING);
        }
        service.work_once().await;
        let task = service.task("t").await;
        assert_eq!(task["status"], "done", "{call}: {task}");
        assert_eq!(task["progress"]["deleted"], 4, "{call}: {task}");

        service.wire.heal();
        service.insert("index", &objects).await;
        service.restart("task_id=t&scope=all").await.ok();
        service.wire.calls();
        service.wire.next_times(usize::MAX, call, FAILING);
        service.work_once().await;
        service.wire.heal();
        let calls = service.wire.calls();
        let made = calls.iter().filter(|made| *made == call).count();
        // With failing deletes, there is an existence check before and after them, to find out what
        // happened to the objects.
        assert_eq!(made, 4, "{call}: {calls:?}");
        service.assert_due_in(60, call).await;
    }
}

/// Lets the next call of this name through to the service.
fn succeed_once(service: &Service, call: &str) {
    service.wire.hold(call).release();
}

/// A task of four objects. The store refuses `o-0` as an id that it cannot hold.
async fn with_a_refused_id(call: &str) -> Arc<Service> {
    let service = Service::start().await;
    let objects = ids("o", 4);
    service.seed("index", &objects).await;
    service.run(&run_body("index", "t", &objects)).await.ok();
    // The calls with all four, with the first two and with the first one are refused.
    service.wire.next_times(3, call, Fault::InvalidKeys);
    Arc::new(service)
}

/// Fails the test unless `o-0` is recorded as refused, and this many objects remain and are due at
/// once.
async fn assert_the_refused_id_is_settled(service: &Service, remaining: usize, story: &str) {
    service.wire.heal();
    let task = service.task("t").await;
    assert_eq!(task["status"], "processing", "{story}: {task}");
    let refused = serde_json::json!([{
        "object_id": "o-0",
        "detail": "The vector store refuses this id as invalid",
    }]);
    assert_eq!(task["failed_item_ids"], refused, "{story}");
    assert_eq!(task["progress"]["remaining"], remaining, "{story}");
    service.assert_due_in(0, story).await;
    service.work().await;
    let task = service.task("t").await;
    assert_eq!(task["status"], "done", "{story}: {task}");
    assert_eq!(task["failed_item_ids"], refused, "{story}");
    assert_eq!(service.present("index", &ids("o", 4)).await, ["o-0"]);
}

#[tokio::test]
async fn an_id_that_was_refused_stays_on_record_though_the_next_call_fails() {
    for call in [CHECK, DELETE] {
        for fault in [FAILING, THROTTLING] {
            let service = with_a_refused_id(call).await;
            service.wire.next_times(usize::MAX, call, fault);
            service.work_once().await;
            assert_the_refused_id_is_settled(&service, 3, call).await;
        }
    }
}

#[tokio::test]
async fn an_id_that_was_refused_stays_on_record_though_the_time_is_up() {
    for (call, remaining) in [(CHECK, 3), (DELETE, 2)] {
        let service = with_a_refused_id(call).await;
        let next = service.wire.hold(call);
        let work = service.start_work();
        next.reached().await; // the call for `o-1`, which is the last
        service.pass(TimeDelta::seconds(29)); // of the invocation's 30
        next.release();
        work.await.unwrap();
        assert_the_refused_id_is_settled(&service, remaining, call).await;
    }
}

#[tokio::test]
async fn a_delete_that_was_carried_out_though_its_response_was_lost_counts_as_deleted() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service
        .wire
        .next_times(usize::MAX, DELETE, Fault::ResponseLost);
    service.work().await;
    service
        .assert_documented_outcome("responses to deletes are lost")
        .await;
}

#[tokio::test]
async fn a_missing_index_and_a_model_without_a_store_fail_at_once_and_say_so() {
    for size in Size::BOTH {
        let stores = r#"{"embed*": "s3vectors://demo/{embedding_model_id}"}"#;
        let service = Service::start_chunked(2, vec![("VECTOR_STORES", stores)]).await;
        let objects = ids("o", size.objects());
        for (model, detail) in [
            ("embed-999", "Vector index `embed-999` does not exist"),
            (
                "embed no index",
                "Vector index `embed no index` does not exist",
            ),
            (
                "other",
                "No vector store is configured for embedding model `other`",
            ),
        ] {
            let id = model.replace(' ', "-");
            service.run(&run_body(model, &id, &objects)).await.ok();
            service.work().await;
            let task = service.task(&id).await;
            assert_eq!(
                (&task["status"], &task["detail"]),
                (&"failed".into(), &detail.into()),
                "{size:?}"
            );
            assert_eq!(task["progress"]["failed"], objects.len(), "{size:?}");
            let failed = task["failed_item_ids"].as_array().unwrap();
            assert_eq!(failed.len(), objects.len(), "{size:?}");
            assert!(failed.iter().all(|item| item["detail"] == detail), "{task}");
        }
        service.seed("embed-999", &["o-0"]).await;
        service.restart("task_id=embed-999").await.ok();
        service.work().await;
        let task = service.task("embed-999").await;
        assert_eq!(
            (&task["status"], &task["progress"]["deleted"]),
            (&"done".into(), &1.into()),
            "{size:?}"
        );
        assert_eq!(task["detail"], serde_json::Value::Null, "{size:?}");
    }
}

#[tokio::test]
async fn denied_access_fails_the_task_without_naming_our_insides() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service
        .wire
        .next(CHECK, Fault::Refused(403, "AccessDeniedException"));
    service.work().await;
    let task = service.task("delete-xyz").await;
    assert_eq!(task["status"], "failed");
    assert_eq!(
        task["detail"],
        "Access to vector index `embed-456` is denied"
    );
}

#[tokio::test]
async fn a_batch_the_store_refuses_is_split_until_the_bad_id_stands_alone() {
    let service = Service::start().await;
    let objects = ids("o", 4);
    service.seed("index", &objects).await;
    service.run(&run_body("index", "t", &objects)).await.ok();
    // All four are refused, then the first two, then the first one: it is the invalid id.
    service.wire.next_times(3, DELETE, Fault::InvalidKeys);
    service.work().await;
    let task = service.task("t").await;
    assert_eq!(task["status"], "done", "a refusal is definite");
    assert_eq!(task["failed_item_ids"].as_array().unwrap().len(), 1);
    assert_eq!(task["failed_item_ids"][0]["object_id"], "o-0");
    assert_eq!(
        task["failed_item_ids"][0]["detail"],
        "The vector store refuses this id as invalid"
    );
    assert_eq!(service.present("index", &objects).await, ["o-0"]);
}

#[tokio::test]
async fn a_store_that_refuses_the_request_itself_fails_the_task_and_blames_no_object() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service
        .wire
        .next(CHECK, Fault::Refused(400, "ValidationException"));
    service.work().await;
    let task = service.task("delete-xyz").await;
    assert_eq!(task["status"], "failed");
    assert_eq!(
        task["detail"],
        "Vector index `embed-456` refuses the request as invalid"
    );
    service.restart("task_id=delete-xyz").await.ok();
    service.work().await;
    service.assert_documented_outcome("mended").await;
}

#[tokio::test]
async fn progress_in_a_last_try_gives_the_rest_more_tries() {
    let service = Service::start().await;
    let objects = ids("o", 4);
    service.seed("index", &objects).await;
    service.run(&run_body("index", "t", &objects)).await.ok();
    for round in 0..5 {
        // Before the fifth check one object has gone.
        if round == 4 {
            service.remove("index", &["o-0"]).await;
        }
        service.wire.next_times(usize::MAX, DELETE, FAILING);
        service.work().await;
        service.wire.heal();
        service.pass(TimeDelta::hours(1));
        service.sweep().await;
    }
    let task = service.task("t").await;
    assert_eq!(task["status"], "processing");
    assert_eq!(
        task["progress"]["deleted"], 1,
        "seen there by a claim, and gone"
    );
    service.work().await;
    assert_eq!(service.task("t").await["progress"]["deleted"], 4);
}

#[tokio::test]
async fn a_worker_whose_time_is_up_after_its_check_hands_the_message_back_and_no_try_counts() {
    let service = Arc::new(Service::start().await);
    service.run(&example()).await.ok();
    for round in 0..6 {
        let check = service.wire.hold_response(CHECK);
        let work = service.start_delivery(r#"{"task_id":"delete-xyz","attempt":1}"#);
        check.reached().await;
        service.pass(TimeDelta::seconds(29)); // of the invocation's 30
        check.release();
        assert_eq!(
            work.await.unwrap(),
            1,
            "round {round}: to be delivered again"
        );
        assert_eq!(service.task("delete-xyz").await["status"], "pending");
    }
    service.work().await;
    service.assert_documented_outcome("in time").await;
}
