use super::super::demo::{self, BUCKET, INDEX};
use super::*;
use aws_sdk_s3vectors::Client;
use aws_sdk_s3vectors::config::Region;
use aws_sdk_s3vectors::error::SdkError;
use aws_sdk_s3vectors::operation::delete_vectors::DeleteVectorsError;
use aws_sdk_s3vectors::operation::get_vectors::GetVectorsError;
use aws_sdk_s3vectors::operation::put_vectors::PutVectorsError;
use aws_sdk_s3vectors::types::{PutInputVector, VectorData};
use shared::aws;
use web::listen;

async fn start() -> (S3Vectors, Client) {
    let server = S3Vectors::start(
        listen(0, "").await.unwrap(),
        Guard::default(),
        Throttle::default(),
    )
    .unwrap();
    let client = Client::new(&aws::local_config(
        &format!("http://{}", server.address()),
        None,
    ));
    demo::seed(&client).await.unwrap();
    (server, client)
}

fn keys(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("obj-{number}")).collect()
}

async fn get(client: &Client, keys: Vec<String>) -> Result<Vec<String>, SdkError<GetVectorsError>> {
    let call = client
        .get_vectors()
        .vector_bucket_name(BUCKET)
        .index_name(INDEX);
    let response = call.set_keys(Some(keys)).send().await?;
    Ok(response
        .vectors
        .into_iter()
        .map(|vector| vector.key)
        .collect())
}

async fn delete(client: &Client, keys: Vec<String>) -> Result<(), SdkError<DeleteVectorsError>> {
    let call = client
        .delete_vectors()
        .vector_bucket_name(BUCKET)
        .index_name(INDEX);
    call.set_keys(Some(keys)).send().await.map(drop)
}

async fn put(client: &Client, keys: Vec<String>) -> Result<(), SdkError<PutVectorsError>> {
    let vectors = keys.into_iter().map(|key| {
        let data = VectorData::Float32(vec![1.0; 4]);
        PutInputVector::builder()
            .key(key)
            .data(data)
            .build()
            .unwrap()
    });
    let call = client
        .put_vectors()
        .vector_bucket_name(BUCKET)
        .index_name(INDEX);
    call.set_vectors(Some(vectors.collect()))
        .send()
        .await
        .map(drop)
}

#[tokio::test]
async fn the_demo_index_lacks_only_what_the_example_needs_to_be_absent() {
    let (_server, client) = start().await;
    let asked = ["obj-1", "obj-2", "obj-3", "obj-1000", "obj-1001"].map(str::to_owned);
    let found = get(&client, asked.into()).await.unwrap();
    assert_eq!(found, ["obj-1", "obj-3", "obj-1000"]);
}

#[tokio::test]
async fn a_get_takes_100_keys_and_no_more() {
    let (_server, client) = start().await;
    assert_eq!(get(&client, keys(100)).await.unwrap().len(), 99);
    let error = get(&client, keys(101))
        .await
        .unwrap_err()
        .into_service_error();
    let GetVectorsError::ValidationException(error) = error else {
        panic!("{error:?}");
    };
    let text = "Value with length 101 at '/keys' failed to satisfy constraint: Member must have length between 1 and 100, inclusive";
    assert_eq!(
        error.message,
        format!("1 validation error detected. {text}")
    );
    assert_eq!(error.field_list()[0].path, "/keys");
}

#[tokio::test]
async fn a_delete_takes_500_keys_and_one_too_many_deletes_nothing() {
    let (_server, client) = start().await;
    let error = delete(&client, keys(501)).await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 400);
    assert!(error.into_service_error().is_validation_exception());
    assert_eq!(get(&client, keys(3)).await.unwrap().len(), 2);
    delete(&client, keys(500)).await.unwrap();
    assert_eq!(get(&client, keys(3)).await.unwrap().len(), 0);
    assert_eq!(
        get(&client, vec!["obj-501".to_owned()])
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_put_takes_500_vectors_and_no_more() {
    let (_server, client) = start().await;
    put(&client, keys(500)).await.unwrap();
    let error = put(&client, keys(501)).await.unwrap_err();
    assert!(error.into_service_error().is_validation_exception());
}

#[tokio::test]
async fn no_keys_and_keys_that_are_empty_or_too_long_are_refused() {
    let (_server, client) = start().await;
    for (keys, path) in [
        (vec![], "/keys"),
        (vec!["a".to_owned(), String::new()], "/keys/1"),
        (vec!["🗑".repeat(1025)], "/keys/0"),
    ] {
        let error = delete(&client, keys)
            .await
            .unwrap_err()
            .into_service_error();
        let DeleteVectorsError::ValidationException(error) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.field_list()[0].path, path);
    }
    let error = put(&client, vec![String::new()])
        .await
        .unwrap_err()
        .into_service_error();
    let PutVectorsError::ValidationException(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.field_list()[0].path, "/vectors/0/key");
}

#[tokio::test]
async fn a_key_of_any_script_is_found_and_deleted() {
    let (_server, client) = start().await;
    let odd = ["🗑️", "a/b", "100%", "a b", r#"quo"te\"#, &"🗑".repeat(1024)].map(str::to_owned);
    put(&client, odd.clone().into()).await.unwrap();
    assert_eq!(get(&client, odd.clone().into()).await.unwrap(), odd);
    delete(&client, odd.clone().into()).await.unwrap();
    assert_eq!(get(&client, odd.into()).await.unwrap().len(), 0);
}

#[tokio::test]
async fn the_callers_region_does_not_matter() {
    let (server, _) = start().await;
    let config = aws::local_config(&format!("http://{}", server.address()), None);
    let config =
        aws_sdk_s3vectors::config::Builder::from(&config).region(Region::new("eu-central-1"));
    let client = Client::from_conf(config.build());
    assert_eq!(get(&client, keys(1)).await.unwrap(), ["obj-1"]);
}

#[tokio::test]
async fn a_missing_index_is_not_found() {
    let (_server, client) = start().await;
    let call = client
        .get_vectors()
        .vector_bucket_name(BUCKET)
        .index_name("other");
    let error = call.keys("obj-1").send().await.unwrap_err();
    assert!(error.into_service_error().is_not_found_exception());
}

#[tokio::test]
async fn what_was_put_is_listed_without_what_was_deleted_and_is_gone_with_its_index() {
    let (_server, client) = start().await;
    put(&client, vec!["new".to_owned()]).await.unwrap();
    for half in keys(1000).chunks(500) {
        delete(&client, half.to_vec()).await.unwrap();
    }
    let list = client.list_vectors().vector_bucket_name(BUCKET);
    let listed = list.index_name(INDEX).send().await.unwrap();
    let listed: Vec<_> = listed.vectors.into_iter().map(|found| found.key).collect();
    assert_eq!(listed, ["new"]);

    let drop = client.delete_index().vector_bucket_name(BUCKET);
    drop.index_name(INDEX).send().await.unwrap();
    let error = get(&client, vec!["new".to_owned()]).await.unwrap_err();
    assert!(error.into_service_error().is_not_found_exception());
}
