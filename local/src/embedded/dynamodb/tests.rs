use super::*;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use shared::aws;
use shared::clock::ManualClock;
use web::listen;

const TABLE: &str = "tasks";

async fn client(server: &Server) -> Client {
    let client = Client::new(&aws::local_config(
        &format!("http://{}", server.address()),
        None,
    ));
    create_table(&client, TABLE, None).await.unwrap();
    client
}

async fn put(client: &Client, key: &str, expires: DateTime<Utc>) {
    let call = client.put_item().table_name(TABLE);
    call.item(KEY, AttributeValue::S(key.to_owned()))
        .item(
            TTL_ATTRIBUTE,
            AttributeValue::N(expires.timestamp().to_string()),
        )
        .send()
        .await
        .unwrap();
}

async fn keys(client: &Client) -> Vec<String> {
    let response = client.scan().table_name(TABLE).send().await.unwrap();
    let items = response.items.unwrap();
    let mut keys: Vec<_> = items
        .iter()
        .map(|item| item[KEY].as_s().unwrap().clone())
        .collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn items_that_have_expired_by_the_runners_clock_are_removed() {
    let manual = ManualClock::at(DateTime::UNIX_EPOCH + TimeDelta::days(1000));
    let clock = Clock::Manual(manual.clone());
    let database = open(None, &clock).unwrap();
    let listener = listen(0, "").await.unwrap();
    let server = Server::start(listener, Guard::default(), SITE, {
        let database = database.clone();
        move |request| {
            let database = database.clone();
            async move { respond(&database, &request) }
        }
    });
    let server = server.unwrap();
    let client = client(&server).await;
    put(&client, "sooner", clock.now() + TimeDelta::days(1)).await;
    put(&client, "later", clock.now() + TimeDelta::days(3)).await;

    expire(database.clone()).await;
    assert_eq!(keys(&client).await, ["later", "sooner"]);
    manual.advance(TimeDelta::days(2));
    expire(database).await;
    assert_eq!(keys(&client).await, ["later"]);
}

#[tokio::test]
async fn creating_the_table_again_changes_nothing() {
    let listener = listen(0, "").await.unwrap();
    let dynamodb = DynamoDb::start(listener, Guard::default(), None, &Clock::System)
        .await
        .unwrap();
    let client = client(&dynamodb.server).await;
    put(&client, "kept", Clock::System.now() + TimeDelta::days(1)).await;
    create_table(&client, TABLE, None).await.unwrap();
    assert_eq!(keys(&client).await, ["kept"]);
}

#[tokio::test]
async fn a_table_with_another_index_is_refused() {
    let listener = listen(0, "").await.unwrap();
    let dynamodb = DynamoDb::start(listener, Guard::default(), None, &Clock::System)
        .await
        .unwrap();
    let client = client(&dynamodb.server).await;
    let call = client.delete_table().table_name(TABLE);
    call.send().await.unwrap();
    let id = AttributeDefinition::builder()
        .attribute_name(KEY)
        .attribute_type(ScalarAttributeType::S);
    let call = client.create_table().table_name(TABLE);
    call.billing_mode(BillingMode::PayPerRequest)
        .key_schema(key(KEY, KeyType::Hash).unwrap())
        .attribute_definitions(id.build().unwrap())
        .send()
        .await
        .unwrap();
    let refused = create_table(&client, TABLE, Some(Path::new("there"))).await;
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("`there`") && error.contains("another version"),
        "{error}"
    );
}
