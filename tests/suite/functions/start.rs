//! How a function starts.

use tests::runtime_api::{Function, function_names, template_variables};

/// The variables without which a function that has them cannot work.
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
