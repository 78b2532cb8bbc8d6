//! The environment of a function: the variables that `template.yaml` names for it, and those that
//! Lambda itself sets.

use crate::files::in_repository;
use local::{DEFAULT_VECTOR_STORES, NAME, Running};
use std::net::SocketAddr;

/// The region of the embedded services.
const REGION: &str = "us-east-1";

/// The variables that Lambda itself sets, whatever the template says.
pub(super) fn of_lambda(function: &str, runtime_api: SocketAddr) -> Vec<(String, String)> {
    let variables = [
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", function.to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        (
            "AWS_LAMBDA_LOG_GROUP_NAME",
            format!("/aws/lambda/{function}"),
        ),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "stream".to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ("AWS_SESSION_TOKEN", SECRET.to_owned()),
    ];
    variables
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// The variables that `template.yaml` names for a function, with values for `running`, and the
/// addresses of the services.
pub(super) fn of(function: &str, running: &Running) -> Vec<(String, String)> {
    let names = template_variables(function).into_iter();
    let endpoints = [
        ("AWS_ENDPOINT_URL_DYNAMODB", running.dynamodb),
        ("AWS_ENDPOINT_URL_SQS", running.sqs),
        ("AWS_ENDPOINT_URL_S3VECTORS", running.s3vectors),
    ];
    let endpoints = endpoints.map(|(name, address)| (name.to_owned(), format!("http://{address}")));
    names
        .map(|name| {
            let value = value_of(&name, running);
            (name, value)
        })
        .chain(endpoints)
        .collect()
}

fn value_of(name: &str, running: &Running) -> String {
    let value = match name {
        "TABLE_NAME" => NAME,
        "QUEUE_URL" => &running.queue_url,
        "VECTOR_STORES" => DEFAULT_VECTOR_STORES,
        "EVENT_BUS" => "default",
        "LIST_SHARDS" => "4",
        "RETENTION_DAYS" => "90",
        "TASK_ID_REUSE" => "return",
        "TLS_ROOTS" => "amazon",
        // The most verbose level. Even at this level no body, object id or credential may be
        // logged.
        "LOG_LEVEL" => "trace",
        "METRICS_NAMESPACE" => "DeletionTasks/tests",
        _ => panic!("template.yaml sets {name}: say here what it is in tests"),
    };
    value.to_owned()
}

/// The names of the variables that `template.yaml` sets for a function: the global ones and its
/// own.
///
/// # Panics
/// When the template has no such function.
pub fn template_variables(function: &str) -> Vec<String> {
    let path = in_repository("template.yaml");
    let template = std::fs::read_to_string(path).expect("template.yaml can be read");
    let mut names = variables_after(&template, "Globals:");
    names.extend(variables_after(&template, &format!("Binary: {function}")));
    names
}

/// The keys of the first `Variables:` after a line.
fn variables_after(template: &str, line: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = template.lines().skip_while(|l| l.trim() != line);
    let found = lines.find(|l| l.trim() == "Variables:");
    let outer = indent(found.unwrap_or_else(|| panic!("no variables after `{line}`")));
    let inner = lines.take_while(|l| l.trim().is_empty() || indent(l) > outer);
    inner
        .filter(|l| indent(l) == outer + 2 && !l.trim().starts_with('#'))
        .filter_map(|l| Some(l.trim().split_once(':')?.0.to_owned()))
        .collect()
}

/// A credential that no log line and no response may contain.
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
