//! How a function starts.

use super::services;
use serde_json::json;
use tests::lines::checked;
use tests::runtime_api::{Function, SECRET, function_names, template_variables};

/// The variables that are required in every function that has them.
const REQUIRED: [&str; 3] = ["TABLE_NAME", "QUEUE_URL", "VECTOR_STORES"];

#[tokio::test]
async fn a_function_without_its_variables_ends_and_names_each_that_is_missing() {
    for name in function_names() {
        let ended = Function::start_unconfigured(&name).await.ended().await;
        assert!(!ended.status.success(), "{name}");
        let given = template_variables(&name);
        for variable in REQUIRED {
            let named = ended.stderr.contains(&format!("{variable} is not set"));
            let needed = given.iter().any(|given| given == variable);
            assert_eq!(named, needed, "{name} and {variable}: {}", ended.stderr);
        }
        assert_eq!(ended.stdout, "", "{name}");
    }
}

#[tokio::test]
async fn a_worker_whose_store_nobody_verifies_says_so_at_its_start() {
    let running = services().await;
    for (parameters, says) in [
        (
            "sslmode=require",
            Some("sslmode=require checks no certificate"),
        ),
        (
            "sslmode=disable",
            Some("sslmode=disable checks and encrypts nothing"),
        ),
        ("sslmode=verify-full", None),
    ] {
        let url = format!("postgres://u@db.example.com/d?table=t&id_column=c&{parameters}");
        let changes = [
            ("VECTOR_STORES", json!({"a": url, "b": url}).to_string()),
            ("VECTOR_STORE_PASSWORD", SECRET.to_owned()),
        ];
        let worker = Function::start_changed("deletion-worker", &running, &changes).await;
        worker.ready().await;
        let logged = worker.end().await.stdout;
        assert!(!logged.contains(SECRET), "{logged}");
        let lines: Vec<_> = logged.lines().map(checked).collect();
        assert_eq!(lines.len(), usize::from(says.is_some()), "{logged}");
        for line in lines {
            let why = line["why"].as_str().unwrap();
            assert!(says.is_some_and(|says| why.starts_with(says)), "{why}");
            assert_eq!(line["store"], "db.example.com");
        }
    }
}
