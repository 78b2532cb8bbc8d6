//! The events for changes of a task's status.

use local::{Events, Options};
use serde_json::{Value, json};
use shared::aws;
use shared::clock::Clock;
use shared::events::{DETAIL_TYPE, EventBus, SOURCE, StreamEvent, StreamResponse, TaskEvents};
use tests::bus::Bus;
use tests::http::{ROOT, Reply, send};
use tests::lines::Lines;
use tests::runtime_api::{Function, event};
use tests::{as_listed, example};

/// The function over a bus.
fn over(bus: &Bus) -> TaskEvents {
    let client = aws::eventbridge_client(&aws::local_config(&bus.url(), None));
    TaskEvents::new(EventBus::new(client, "my-bus".to_owned()), Clock::System)
}

/// A record of the stream with this number. It is the record of `events/task-events.json`, for
/// another task.
fn record(number: usize) -> Value {
    let mut record = event("task-events")["Records"][0].take();
    record["dynamodb"]["SequenceNumber"] = number.to_string().into();
    record["dynamodb"]["NewImage"]["pk"]["S"] = format!("T#task-{number}").into();
    record
}

fn batch(records: impl IntoIterator<Item = Value>) -> StreamEvent {
    let records: Vec<_> = records.into_iter().collect();
    serde_json::from_value(json!({"Records": records})).unwrap()
}

/// The number of the first record whose event was not sent.
fn first_failed(response: &StreamResponse) -> Option<&str> {
    let failure = response.batch_item_failures.first()?;
    failure.item_identifier.as_deref()
}

fn ids(details: &[Value]) -> Vec<&str> {
    details
        .iter()
        .map(|detail| detail["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_bus_is_told_of_each_change_from_the_create_to_the_end() {
    let bus = Bus::start().await;
    let options = Options {
        events: Some(Events::Bus {
            endpoint: bus.url(),
            name: "my-bus".to_owned(),
        }),
        ..Options::default()
    };
    let running = local::start(options).await.unwrap();
    let json = Some("application/json");
    let call = async |method, path: &str, body: String| -> Reply {
        send(running.api, method, &format!("{ROOT}/{path}"), json, body).await
    };
    call("POST", "run", example().to_string()).await.ok();
    bus.details(3).await;
    // A repeated create changes nothing.
    call("POST", "run", example().to_string()).await.ok();
    call("PUT", "restart?task_id=delete-xyz", String::new())
        .await
        .ok();
    let details = bus.details(6).await;

    let told: Vec<_> = details
        .iter()
        .map(|detail| {
            json!([
                detail["previous_status"],
                detail["status"],
                detail["attempt"]
            ])
        })
        .collect();
    let expected = json!([
        [null, "pending", 1],
        ["pending", "processing", 1],
        ["processing", "done", 1],
        ["done", "pending", 2],
        ["pending", "processing", 2],
        ["processing", "done", 2],
    ]);
    assert_eq!(json!(told), expected);
    let numbers = details.iter().map(|detail| detail["sequence"].as_u64());
    assert!(numbers.is_sorted_by(|a, b| a < b), "{details:?}");
    for entry in bus.told() {
        assert_eq!(entry["Source"], SOURCE);
        assert_eq!(entry["DetailType"], DETAIL_TYPE);
        assert_eq!(entry["EventBusName"], "my-bus");
        assert!(
            entry.get("Resources").is_none(),
            "the embedded table has no name of AWS"
        );
    }
    // The last event is the task as a caller sees it, without its objects.
    let shown = call("GET", "info?task_id=delete-xyz", String::new())
        .await
        .ok();
    let mut last = details[5].clone();
    let last = last.as_object_mut().unwrap();
    last.remove("previous_status");
    last.remove("sequence");
    let mut last = as_listed(Value::Object(last.clone()));
    last["failed_item_ids"] = shown["failed_item_ids"].clone();
    assert_eq!(last, as_listed(shown));
    assert_eq!(bus.told().len(), 6);
    running.shutdown().await;
}

#[tokio::test]
async fn the_first_record_that_was_not_told_is_named_and_those_before_it_are_not_told_again() {
    let bus = Bus::start().await;
    let events = over(&bus);
    let response = events.handle(batch((0..23).map(record))).await;
    assert_eq!(response, StreamResponse::default());
    assert_eq!(bus.told().len(), 23);
    let table =
        "arn:aws:dynamodb:eu-west-1:123456789012:table/deletion-tasks-TaskTable-1A2B3C4D5E6F7";
    assert_eq!(bus.told()[0]["Resources"], json!([table]));

    let bus = Bus::start().await;
    let events = over(&bus);
    bus.refuse_at([4, 7]);
    let response = events.handle(batch((0..23).map(record))).await;
    assert_eq!(first_failed(&response), Some("4"));
    // Some of the other events of the same call were sent. No further call was made.
    assert_eq!(bus.told().len(), 8);
    bus.refuse_at([]);
    let response = events.handle(batch((4..23).map(record))).await;
    assert_eq!(response, StreamResponse::default());
    let details = bus.details(27).await;
    let all: std::collections::BTreeSet<_> = ids(&details).into_iter().collect();
    assert_eq!(all.len(), 23);
}

#[tokio::test]
async fn a_bus_that_refuses_fails_the_batch_and_the_line_says_why() {
    let lines = Lines::capture();
    let bus = Bus::start().await;
    let events = over(&bus);
    for (status, code) in [
        (400, "LimitExceededException"),
        (403, "AccessDeniedException"),
    ] {
        bus.refuse(Some((status, code)));
        let response = events.handle(batch((7..9).map(record))).await;
        assert_eq!(first_failed(&response), Some("7"), "{code}");
        let [line] = lines.take().try_into().unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!((&line["records"], &line["told"]), (&json!(2), &json!(0)));
        assert_eq!(line["cause"], format!("EventBridge: {code}"));
    }
}

#[tokio::test]
async fn what_is_no_change_of_a_status_is_not_told_and_what_is_damaged_holds_nothing_up() {
    let lines = Lines::capture();
    let bus = Bus::start().await;
    let mut same = record(1);
    same["dynamodb"]["NewImage"]
        .as_object_mut()
        .unwrap()
        .remove("previous_status");
    let mut removed = record(2);
    removed["dynamodb"]
        .as_object_mut()
        .unwrap()
        .remove("NewImage");
    let mut chunk = record(3);
    chunk["dynamodb"]["NewImage"] = json!({"pk": {"S": "S#nonce#0"}, "size": {"N": "2"}});
    let mut damaged = record(4);
    damaged["dynamodb"]["NewImage"]["status"] = json!({"S": "doing"});
    let mut odd = record(5);
    odd["dynamodb"]["NewImage"]["previous_status"] = json!({"N": "1"});
    let records = [same, removed, chunk, damaged, odd, record(6)];
    let response = over(&bus).handle(batch(records)).await;
    assert_eq!(response, StreamResponse::default());
    assert_eq!(ids(&bus.details(1).await), ["task-6"]);
    let errors: Vec<_> = lines.take();
    let causes: Vec<_> = errors
        .iter()
        .filter_map(|line| line["cause"].as_str())
        .collect();
    assert_eq!(
        causes,
        [
            "a stored item is damaged: attribute `status` of `T#task-4`",
            "a stored item is damaged: attribute `previous_status` of `T#task-5`"
        ]
    );
}

#[tokio::test]
async fn without_its_bus_the_function_does_not_start() {
    let running = local::start(Options {
        worker_concurrency: 0,
        ..Options::default()
    });
    let running = running.await.unwrap();
    let bus = Bus::start().await;
    bus.refuse(Some((400, "ResourceNotFoundException")));
    let endpoint = [("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url())];
    let function = Function::start_changed("task-events", &running, &endpoint).await;
    let ended = function.ended().await;
    assert!(!ended.status.success());
    let said = format!("{}{}", ended.stdout, ended.stderr);
    let expected = "EVENT_BUS: the event bus `default` cannot be found: ResourceNotFoundException";
    assert!(said.contains(expected), "{said}");
}
