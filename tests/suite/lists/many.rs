//! Lists of many tasks: the default page, and pages that end early.

use super::{page, store, walk, walk_from};
use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use shared::store::MAX_ROWS_READ;
use std::sync::Arc;
use tests::wire::call::QUERY;
use tests::{Service, ids};

/// Stores tasks of a model, `<model>-0` and so on, each a second older than the one before.
async fn store_many(service: &Service, model: &str, count: usize, newest_seconds_ago: usize) {
    let each = stream::iter(ids(model, count)).enumerate();
    each.for_each_concurrent(16, |(number, id)| async move {
        let seconds_ago = i64::try_from(newest_seconds_ago + number).unwrap();
        store(service, &id, model, "o", seconds_ago).await;
    })
    .await;
}

#[tokio::test]
async fn a_page_has_a_hundred_tasks_unless_the_caller_says_otherwise() {
    let service = Service::start().await;
    store_many(&service, "m", 150, 0).await;
    let all = ids("m", 150);
    for filter in ["", "status=pending", "embedding_model_id=m"] {
        let first = service.list(filter).await.ok();
        assert_eq!(super::ids_of(&first), all[..100], "{filter}");
        let cursor = first["next_cursor"].as_str().unwrap();
        let second = service
            .list(&format!("{filter}&cursor={cursor}"))
            .await
            .ok();
        assert_eq!(super::ids_of(&second), all[100..], "{filter}");
        assert!(second["next_cursor"].is_null(), "{filter}");
    }
}

#[tokio::test]
async fn a_filter_that_matches_few_of_many_ends_pages_early_and_yet_finds_all() {
    let service = Service::start().await;
    let common = MAX_ROWS_READ + 20;
    store_many(&service, "new", 2, 0).await;
    store_many(&service, "common", common, 10).await;
    store_many(&service, "old", 3, 10 + common).await;

    for (filter, limit) in [
        ("embedding_model_id=old", 1),
        ("embedding_model_id=old", 1000),
        ("status=pending&embedding_model_id=old", 2),
    ] {
        service.wire.calls();
        let (first, next) = page(&service, filter, limit, None).await;
        assert!(
            first.is_empty(),
            "{filter}: it read more than {MAX_ROWS_READ} rows"
        );
        assert!(next.is_some(), "{filter}: more is to come");
        let calls = service.wire.calls().len();
        assert!(
            calls <= 100,
            "{filter} in pages of {limit}: {calls} calls for one page"
        );
        let pages = walk_from(&service, filter, limit, next).await;
        assert_eq!(
            pages.concat(),
            ids("old", 3),
            "{filter} in pages of {limit}"
        );
    }

    let pages = walk(&service, "embedding_model_id=new", 1000).await;
    assert!(pages.len() > 1, "what is older has not all been read");
    assert_eq!(pages[0], ids("new", 2));
    assert_eq!(pages.concat(), ids("new", 2));

    let all = [ids("new", 2), ids("common", common), ids("old", 3)].concat();
    let pages = walk(&service, "", 1000).await;
    assert_eq!(pages.concat(), all);
    assert!(pages.len() <= 3, "{} pages", pages.len());
}

#[tokio::test]
async fn expired_tasks_are_absent_and_walks_go_past_them() {
    let service = Service::start().await;
    store_many(&service, "m", 9, 0).await; // m-8 is 8 seconds older than m-0
    service.pass(TimeDelta::days(90) - TimeDelta::seconds(4));
    for filter in ["", "status=pending", "embedding_model_id=m"] {
        for limit in [1, 2, 3, 100] {
            let pages = walk(&service, filter, limit).await;
            assert_eq!(
                pages.concat(),
                ids("m", 4),
                "`{filter}` in pages of {limit}"
            );
        }
    }
    assert_eq!(
        service.stored_items().await,
        9,
        "Time to Live has not removed any"
    );
    service.pass(TimeDelta::seconds(4));
    store(&service, "new", "m", "o", 0).await;
    assert_eq!(walk(&service, "", 1).await.concat(), ["new"]);
}

#[tokio::test]
async fn a_list_of_many_partitions_queries_twenty_at_a_time() {
    let service = Arc::new(Service::start_with(vec![("LIST_SHARDS", "64")]).await);
    let queries = service.wire.hold_times(20, QUERY);
    let list = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.list("limit=1000").await.ok() }
    });
    for _ in 0..20 {
        queries.reached().await;
    }
    assert_eq!(service.wire.count(QUERY), 20, "the others wait");
    for _ in 0..20 {
        queries.release();
    }
    list.await.unwrap();
    let others = service.wire.requests(QUERY);
    assert_eq!(others.len(), 5 * 64 - 20);
    let affordable = MAX_ROWS_READ / (5 * 64);
    assert!(others.iter().all(|query| query["Limit"] == affordable));
}
