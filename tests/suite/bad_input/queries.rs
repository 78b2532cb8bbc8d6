//! Queries that are refused.

use super::{ROOT, assert_faults, assert_nothing_stored};
use tests::http::Reply;
use tests::{Service, ids, run_body};

/// Calls an endpoint by its name.
async fn call(service: &Service, name: &str, query: &str) -> Reply {
    let method = match name {
        "run" => "POST",
        "info" | "list" => "GET",
        _ => "PUT",
    };
    let path = format!("{ROOT}/{name}?{query}");
    service.send(method, &path, None, "").await
}

/// Fails the test unless each query is refused with its one fault, and nothing is stored.
async fn assert_refused(table: &[(&str, &str, &str, &str)]) {
    let service = Service::start().await;
    for (name, query, parameter, word) in table {
        let problem = call(&service, name, query).await.problem(422);
        let story = format!("{name}?{query}");
        assert_faults(&problem, "parameter", &[(parameter, word)], &story);
    }
    assert_nothing_stored(&service).await;
}

#[tokio::test]
async fn a_missing_task_id_is_named() {
    assert_refused(&[
        ("info", "", "task_id", "is required"),
        ("restart", "", "task_id", "is required"),
        ("cancel", "", "task_id", "is required"),
        ("info", "outcome=all", "task_id", "is required"),
        ("restart", "scope=all&attempt=1", "task_id", "is required"),
        ("info", "task_id", "task_id", "empty"),
        ("info", "task_id=", "task_id", "empty"),
        ("cancel", "task_id=&", "task_id", "empty"),
    ])
    .await;
}

#[tokio::test]
async fn a_bad_task_id_is_named() {
    let long = format!("task_id={}", "t".repeat(256));
    assert_refused(&[
        ("info", &long, "task_id", "255 bytes"),
        ("restart", &long, "task_id", "255 bytes"),
        ("cancel", &long, "task_id", "255 bytes"),
        ("info", "task_id=a%20b", "task_id", "white space"),
        ("info", "task_id=a+b", "task_id", "white space"),
        ("cancel", "task_id=%E3%80%80", "task_id", "U+3000"),
        ("restart", "task_id=a%0Ab", "task_id", "control"),
        ("info", "task_id=%00", "task_id", "control"),
    ])
    .await;
}

#[tokio::test]
async fn an_odd_percent_encoding_is_named() {
    assert_refused(
        &[
            ("info", "task_id=%", "task_id", "%25"),
            ("info", "task_id=100%", "task_id", "%25"),
            ("restart", "task_id=%zz", "task_id", "%25"),
            ("cancel", "task_id=a%2", "task_id", "%25"),
            ("info", "task_id=%FF", "task_id", "UTF-8"),
            ("info", "task_id=%C3%28", "task_id", "UTF-8"),
            ("info", "task_id=%ED%A0%80", "task_id", "UTF-8"),
            (
                "list",
                "embedding_model_id=%F0%9F",
                "embedding_model_id",
                "UTF-8",
            ),
            ("list", "limit=%3", "limit", "%25"),
            ("list", "%zz=1", "%zz", "%25"),
        ]
        .map(|(name, query, parameter, word)| (name, query, parameter, word)),
    )
    .await;
}

#[tokio::test]
async fn an_unknown_parameter_is_named_with_the_known_ones() {
    assert_refused(&[
        (
            "list",
            "page=2",
            "page",
            "status, embedding_model_id, limit, cursor",
        ),
        ("list", "Limit=2", "Limit", "did you mean `limit`"),
        ("list", "model=m", "model", "not known"),
        (
            "info",
            "task_id=t&scope=all",
            "scope",
            "task_id, outcome, cursor",
        ),
        (
            "restart",
            "task_id=t&outcome=all",
            "outcome",
            "task_id, scope, attempt",
        ),
        ("cancel", "task_id=t&scope=all", "scope", "task_id, attempt"),
        ("cancel", "task_id=t&=", "", "not known"),
        ("run", "task_id=t", "task_id", "takes no parameters"),
    ])
    .await;
}

#[tokio::test]
async fn a_repeated_parameter_is_named_however_it_is_spelt() {
    assert_refused(&[
        ("info", "task_id=t&task_id=t", "task_id", "more than once"),
        ("info", "task_id=t&task_id=u", "task_id", "more than once"),
        (
            "cancel",
            "task_id=t&%74ask_id=u",
            "task_id",
            "more than once",
        ),
        (
            "restart",
            "attempt=1&task_id=t&attempt=1",
            "attempt",
            "more than once",
        ),
        ("list", "limit=1&limit=1", "limit", "more than once"),
        (
            "list",
            "status=done&status=failed",
            "status",
            "more than once",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_value_that_breaks_a_rule_is_named_with_the_rule() {
    let long_model = format!("embedding_model_id={}", "m".repeat(129));
    let mut table = vec![
        (
            "list",
            long_model.as_str(),
            "embedding_model_id",
            "128 bytes",
        ),
        ("list", "embedding_model_id=", "embedding_model_id", "empty"),
        (
            "list",
            "embedding_model_id=a%00",
            "embedding_model_id",
            "control",
        ),
    ];
    for query in [
        "limit=0",
        "limit=-1",
        "limit=abc",
        "limit=",
        "limit=1001",
        "limit=1.5",
        "limit=1e2",
        "limit=%2B1",
        "limit=+1",
        "limit=0x10",
        "limit=99999999999999999999999",
    ] {
        table.push(("list", query, "limit", "whole number from 1 to 1000"));
    }
    for query in [
        "status=",
        "status=Pending",
        "status=cancelled",
        "status=done,failed",
        "status=all",
    ] {
        let words = "pending, processing, done, failed, canceled";
        table.push(("list", query, "status", words));
    }
    for query in [
        "outcome=",
        "outcome=Deleted",
        "outcome=not_found",
        "outcome=all,failed",
    ] {
        table.push(("info", query, "outcome", "deleted, failed, remaining, all"));
    }
    for query in ["scope=", "scope=failed", "scope=ALL"] {
        table.push(("restart", query, "scope", "`all`"));
    }
    for query in [
        "attempt=",
        "attempt=0",
        "attempt=abc",
        "attempt=-1",
        "attempt=1.0",
        "attempt=+1",
        "attempt=4294967296",
        "attempt=99999999999999999999999",
    ] {
        table.push(("restart", query, "attempt", "whole number"));
        table.push(("cancel", query, "attempt", "whole number"));
    }
    let named: Vec<_> = table
        .iter()
        .map(|(name, query, ..)| match *name {
            "list" => (*query).to_owned(),
            _ => format!("task_id=t&{query}"),
        })
        .collect();
    let table: Vec<_> = table
        .iter()
        .zip(&named)
        .map(|((name, _, parameter, word), query)| (*name, query.as_str(), *parameter, *word))
        .collect();
    assert_refused(&table).await;
}

#[tokio::test]
async fn every_fault_of_a_query_is_named_at_once() {
    let service = Service::start().await;
    let query = "taskId=t&attempt=0&scope=some&attempt=1&x=%zz";
    let expected = [
        ("taskId", "did you mean `task_id`"),
        ("task_id", "is required"),
        ("attempt", "whole number"),
        ("attempt", "more than once"),
        ("scope", "`all`"),
        ("x", "%25"),
    ];
    let problem = call(&service, "restart", query).await.problem(422);
    assert_faults(&problem, "parameter", &expected, query);
    let many: Vec<_> = (0..30).map(|i| format!("x{i}=1")).collect();
    let problem = call(&service, "list", &many.join("&")).await.problem(422);
    assert_eq!(problem["errors"].as_array().unwrap().len(), 20);
    assert!(problem["detail"].as_str().unwrap().contains("30 faults"));
}

#[tokio::test]
async fn a_cursor_is_good_only_as_it_was_given_and_for_its_own_query() {
    let service = Service::start().await;
    for id in ids("task", 3) {
        service.run(&run_body("m", &id, &["a"])).await.ok();
    }
    let pages = ["", "status=pending", "embedding_model_id=m"];
    let mut cursors = Vec::new();
    for query in pages {
        let page = service.list(&format!("{query}&limit=1")).await.ok();
        cursors.push(page["next_cursor"].as_str().unwrap().to_owned());
    }
    for (number, (query, own)) in pages.iter().zip(&cursors).enumerate() {
        let good = format!("{query}&limit=2&cursor={own}");
        service.list(&good).await.ok(); // another limit is the same query
        let cut = &own[..own.len() - 1];
        let damaged = [
            cut,
            &format!("{own}A"),
            &own.to_lowercase(),
            &format!("{own}="),
        ];
        let noise = [
            "",
            "0",
            "noise",
            "!!!",
            "%00",
            "AAAAAAAAAAAA",
            "%F0%9F%97%91",
            "null",
        ];
        let others = [&cursors[..number], &cursors[number + 1..]].concat();
        let others = others.iter().map(String::as_str);
        for cursor in damaged.into_iter().chain(noise).chain(others) {
            let bad = format!("{query}&cursor={cursor}");
            let problem = service.list(&bad).await.problem(422);
            assert_faults(
                &problem,
                "parameter",
                &[("cursor", "damaged or belongs to another query")],
                &bad,
            );
        }
    }
    let other = &cursors[0];
    for (query, word) in [
        (format!("outcome=all&cursor={other}"), "another query"),
        ("outcome=all&cursor=noise".into(), "another query"),
        (format!("cursor={other}"), "goes with `outcome`"),
        ("cursor=".into(), "goes with `outcome`"),
    ] {
        let problem = service
            .info(&format!("task_id=task-1&{query}"))
            .await
            .problem(422);
        assert_faults(&problem, "parameter", &[("cursor", word)], &query);
    }
}

#[tokio::test]
async fn a_cursor_of_objects_is_good_only_for_its_own_task_and_outcome() {
    let service = Service::start().await;
    let objects = ids("o", 1_001); // one more than a page
    for id in ["a", "b"] {
        service.run(&run_body("m", id, &objects)).await.ok();
    }
    let page = service.info("task_id=a&outcome=all").await.ok();
    let cursor = page["items_cursor"].as_str().unwrap();
    let good = format!("task_id=a&outcome=all&cursor={cursor}");
    let last = service.info(&good).await.ok();
    assert_eq!(last["items"][0]["object_id"], "o-1000");
    for other in ["task_id=b&outcome=all", "task_id=a&outcome=remaining"] {
        let bad = format!("{other}&cursor={cursor}");
        let problem = service.info(&bad).await.problem(422);
        let expected = [("cursor", "damaged or belongs to another query")];
        assert_faults(&problem, "parameter", &expected, &bad);
    }
}
