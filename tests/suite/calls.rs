//! What a task costs: every call to AWS, counted on the wire. One extra call makes a test fail.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use local::NAME;
use serde_json::Value;
use std::collections::HashMap;
use tests::wire::call::QUERY;
use tests::{Service, example, ids, run_body};

type Item = HashMap<String, AttributeValue>;

/// Bytes in a DynamoDB write unit.
const WRITE_UNIT: usize = 1024;

#[tokio::test]
async fn a_small_task_costs_one_put_to_create_and_three_calls_to_carry_out() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    assert_eq!(
        service.wire.calls(),
        ["DynamoDB.PutItem", "SQS.SendMessage"]
    );
    service.work().await;
    assert_eq!(
        service.wire.calls(),
        [
            "DynamoDB.GetItem",
            "S3Vectors.GetVectors",
            "DynamoDB.UpdateItem",
            "S3Vectors.DeleteVectors",
            "DynamoDB.UpdateItem"
        ]
    );
}

/// So each write of the item is one unit, plus one for each index row that it writes or removes.
#[tokio::test]
async fn a_small_task_fits_in_one_write_unit_all_its_life() {
    let service = Service::start().await;
    let uuid = |n: u32| format!("8476a536-e9f4-11e8-9739-{n:012}");
    let objects = [uuid(1), uuid(2)];
    service.seed("embeddings-of-products", &objects[..1]).await;
    let body = run_body("embeddings-of-products", &uuid(0), &objects);
    service.run(&body).await.ok();
    let mut sizes = vec![size_of_the_item(&service).await];
    let delete = service.wire.hold("S3Vectors.DeleteVectors");
    let service = std::sync::Arc::new(service);
    let work = service.start_work();
    delete.reached().await; // it is claimed
    sizes.push(size_of_the_item(&service).await);
    delete.release();
    work.await.unwrap();
    sizes.push(size_of_the_item(&service).await);
    assert!(sizes.iter().all(|size| *size <= WRITE_UNIT), "{sizes:?}");
    assert_eq!(service.task(&uuid(0)).await["progress"]["deleted"], 1);
}

/// So the condition of each chunk's claim is one unit (two in a transaction), and each settlement
/// is one more for its index row.
#[tokio::test]
async fn a_large_task_s_item_fits_in_one_write_unit_all_its_life_whatever_fails() {
    let service = Service::start_with_chunks_of(20).await;
    let uuid = |n: u32| format!("8476a536-e9f4-11e8-9739-{n:012}");
    let objects: Vec<_> = (1..=60).map(uuid).collect();
    let model = "embeddings-of-products-and-their-variants";
    service.run(&run_body(model, &uuid(0), &objects)).await.ok();
    let query = format!("task_id={}", uuid(0));
    let mut sizes = vec![size_of_the_item(&service).await];
    let mut work = async |status: &str| {
        while service.work_once().await > 0 {
            sizes.push(size_of_the_item(&service).await);
        }
        assert_eq!(service.task(&uuid(0)).await["status"], status);
        service.restart(&query).await.ok();
        service.cancel(&query).await.ok();
        service.restart(&query).await.ok();
        service.lose_messages().await;
        // The sweeper stores its token too.
        service.pass(TimeDelta::seconds(61));
        assert_eq!(service.sweep().await, 1);
        sizes.push(size_of_the_item(&service).await);
    };
    // Without an index all objects fail, and the reason is stored with the task and with its first
    // failures.
    work("failed").await;
    service.seed(model, &objects[..1]).await;
    work("done").await;
    assert_eq!(sizes.len(), 7);
    assert!(sizes.iter().all(|size| *size <= WRITE_UNIT), "{sizes:?}");
}

/// An upper bound for the size of the task's item. By "DynamoDB item sizes and formats" a number is
/// smaller than its digits.
async fn size_of_the_item(service: &Service) -> usize {
    let scan = service.running.clients.dynamodb.scan().table_name(NAME);
    let found = scan.send().await.unwrap();
    let is_task =
        |item: &&Item| matches!(&item["pk"], AttributeValue::S(key) if key.starts_with("T#"));
    let item = found.items().iter().find(is_task).unwrap().iter();
    item.map(|(name, value)| name.len() + size_of(value)).sum()
}

fn size_of(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + size_of(value)).sum::<usize>(),
        other => panic!("an unknown kind of attribute: {other:?}"),
    }
}

#[tokio::test]
async fn five_hundred_objects_cost_five_gets_one_delete_and_a_grant() {
    let service = Service::start().await;
    let objects = ids("object", 500);
    service.seed("big", &objects).await;
    service.run(&run_body("big", "t", &objects)).await.ok();
    service.wire.calls();
    service.work().await;
    let mut calls = service.wire.calls();
    calls.sort();
    // The grant, the claim and the settlement.
    let dynamodb = [
        "DynamoDB.GetItem",
        "DynamoDB.UpdateItem",
        "DynamoDB.UpdateItem",
        "DynamoDB.UpdateItem",
    ];
    let s3vectors = ["S3Vectors.DeleteVectors"]
        .into_iter()
        .chain(["S3Vectors.GetVectors"; 5]);
    assert_eq!(
        calls,
        dynamodb.into_iter().chain(s3vectors).collect::<Vec<_>>()
    );
    assert_eq!(service.task("t").await["progress"]["deleted"], 500);
}

#[tokio::test]
async fn a_chunk_alone_costs_three_reads_two_writes_and_the_first_fan_out_reads_none_of_them() {
    let service = Service::start_with_chunks_of(100).await;
    let objects = ids("object", 300);
    service.seed("big", &objects).await;
    service.run(&run_body("big", "t", &objects)).await.ok();
    assert_eq!(
        service.wire.calls(),
        [
            "DynamoDB.GetItem",
            "DynamoDB.BatchWriteItem",
            "DynamoDB.PutItem",
            "SQS.SendMessage"
        ]
    );
    service.work_once().await;
    assert_eq!(
        service.wire.calls(),
        [
            "DynamoDB.GetItem",
            "DynamoDB.UpdateItem",
            "SQS.SendMessageBatch"
        ]
    );
    service.lose_messages().await;
    let chunk = r#"{"task_id":"t","attempt":1,"chunk":1}"#;
    service.deliver(&[chunk]).await;
    assert_eq!(
        service.wire.calls(),
        [
            "DynamoDB.GetItem",
            "DynamoDB.BatchGetItem",
            "S3Vectors.GetVectors",
            "DynamoDB.UpdateItem",
            "DynamoDB.GetItem",
            "S3Vectors.DeleteVectors",
            "DynamoDB.TransactWriteItems"
        ]
    );
    assert_eq!(service.task("t").await["progress"]["deleted"], 100);
}

#[tokio::test]
async fn every_other_call_of_the_api_costs_one_call_and_a_restart_its_message() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.wire.calls();
    service.run(&example()).await.ok();
    assert_eq!(
        service.wire.calls(),
        ["DynamoDB.PutItem"],
        "a repeated create"
    );
    service.task("delete-xyz").await;
    assert_eq!(service.wire.calls(), ["DynamoDB.GetItem"], "info");
    service.outcomes("delete-xyz").await;
    assert_eq!(
        service.wire.calls(),
        ["DynamoDB.GetItem"],
        "info with outcomes"
    );
    service.cancel("task_id=delete-xyz").await.ok();
    assert_eq!(service.wire.calls(), ["DynamoDB.UpdateItem"], "cancel");
    service.cancel("task_id=delete-xyz").await.ok();
    assert_eq!(
        service.wire.calls(),
        ["DynamoDB.UpdateItem"],
        "cancel of a canceled task"
    );
    service.restart("task_id=delete-xyz").await.ok();
    assert_eq!(
        service.wire.calls(),
        ["DynamoDB.UpdateItem", "SQS.SendMessage"],
        "restart"
    );
    service.restart("task_id=delete-xyz").await.ok();
    assert_eq!(
        service.wire.calls(),
        ["DynamoDB.UpdateItem", "SQS.SendMessage"],
        "restart of a pending task"
    );
}

#[tokio::test]
async fn a_list_page_costs_a_query_a_partition_while_the_rows_are_few() {
    let service = Service::start().await;
    service.run(&example()).await.ok();
    service.wire.calls();
    service.list("status=pending").await.ok();
    assert_eq!(
        service.wire.calls(),
        ["DynamoDB.Query"; 4],
        "four shards of one status"
    );
    service.list("").await.ok();
    assert_eq!(
        service.wire.calls(),
        ["DynamoDB.Query"; 20],
        "four shards of five statuses"
    );
}

/// How many rows each query asked for.
fn rows_asked_for(service: &Service) -> Vec<u64> {
    let queries = service.wire.requests(QUERY);
    let rows = |query: &Value| query["Limit"].as_u64().unwrap();
    queries.iter().map(rows).collect()
}

/// The rest of a partition is read in one fetch, whose size is estimated from the rows so far.
#[tokio::test]
async fn a_page_of_many_rows_costs_a_query_or_two_more_for_each_partition_that_has_them() {
    let service = Service::start().await;
    for number in 0..120 {
        let id = format!("task-{number}");
        service.run(&run_body("m", &id, &["o"])).await.ok();
        service.pass(TimeDelta::seconds(1));
    }
    service.wire.calls();
    let page = service.list("").await.ok();
    assert_eq!(page["tasks"].as_array().unwrap().len(), 100);
    let queries = rows_asked_for(&service);
    assert!(
        (20 + 4..=20 + 4 * 2).contains(&queries.len()),
        "{queries:?}"
    );
    let more: u64 = queries[20..].iter().sum();
    assert!(more <= 125, "hardly more than the page lacks: {queries:?}");
    service.list("status=pending").await.ok();
    let queries = rows_asked_for(&service);
    assert!((4..=4 + 3).contains(&queries.len()), "{queries:?}");
}

#[tokio::test]
async fn what_is_refused_costs_nothing() {
    let service = Service::start().await;
    service.run(&run_body("", "a b", &[""])).await.problem(422);
    service.info("task_id=").await.problem(422);
    service.list("limit=0").await.problem(422);
    service.restart("").await.problem(422);
    service.cancel("x=y").await.problem(422);
    assert_eq!(service.wire.calls(), [""; 0]);
}
