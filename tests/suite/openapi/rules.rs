//! Tests that the document states the same rules as the code.

use regex::Regex;
use serde_json::{Value, json};
use shared::api::{MAX_BODY_BYTES, PROBLEM_TYPE, ProblemKind, Route, limits};
use shared::task::{
    MAX_MODEL_ID_BYTES, MAX_OBJECT_ID_BYTES, MAX_REQUEST_REASON_BYTES, MAX_TASK_ID_BYTES, ModelId,
    NOT_FOUND, ObjectIds, Outcome, Reason, TaskId, TaskStatus,
};
use std::collections::BTreeSet;
use tests::Service;
use tests::openapi::{Document, Operation};

fn words<'a>(value: &'a Value, field: &str) -> Vec<&'a str> {
    let values = value[field].as_array().into_iter().flatten();
    values.filter_map(Value::as_str).collect()
}

/// The names that the refusal of `unknown` lists as known.
fn known_names(problem: &Value) -> BTreeSet<String> {
    let detail = problem["errors"][0]["detail"].as_str().unwrap();
    let Some((_, names)) = detail.split_once("the known ones are ") else {
        assert!(detail.contains("takes no parameters"), "{problem}");
        return BTreeSet::new();
    };
    names.split(", ").map(str::to_owned).collect()
}

async fn send(service: &Service, operation: &Operation, query: &str, body: &str) -> Value {
    let target = format!("{}?{query}", operation.path);
    let json = Some("application/json");
    let reply = service.send(&operation.method, &target, json, body.to_owned());
    reply.await.json
}

#[tokio::test]
async fn each_call_takes_the_parameters_and_fields_that_are_documented() {
    let (document, service) = (Document::read(), Service::start().await);
    for operation in document.operations() {
        let refused = send(&service, &operation, "unknown=1", "{}").await;
        let parameters = operation.value["parameters"]
            .as_array()
            .into_iter()
            .flatten();
        let documented = parameters.map(|parameter| {
            let name = &document.resolved(parameter)["name"];
            name.as_str().unwrap().to_owned()
        });
        assert_eq!(
            known_names(&refused),
            documented.collect(),
            "{}",
            operation.path
        );
        if operation.value["requestBody"].is_null() {
            continue;
        }
        let refused = send(&service, &operation, "", r#"{"unknown": 1}"#).await;
        let fields = document.schema("RunRequest")["properties"]
            .as_object()
            .unwrap();
        assert_eq!(known_names(&refused), fields.keys().cloned().collect());
    }
}

#[test]
fn every_call_of_the_route_table_is_documented_and_deployed_and_no_other() {
    let calls = Route::ALL.map(|route| (route.method().to_string(), route.path()));
    let documented = Document::read().operations();
    let documented = documented
        .into_iter()
        .map(|operation| (operation.method, operation.path));
    assert_eq!(documented.collect::<BTreeSet<_>>(), BTreeSet::from(calls));

    let served = Route::ALL.map(|route| {
        let method = route.method().as_str().to_lowercase();
        (
            method,
            route.path(),
            format!("functions/{}/", route.function()),
        )
    });
    let template = include_str!("../../../template.yaml");
    // In the template each function's `CodeUri` comes before its path.
    let (mut code, mut method) = ("", "");
    let mut deployed = BTreeSet::new();
    for line in template.lines().map(str::trim) {
        match line.split_once(": ") {
            Some(("CodeUri", value)) => code = value,
            Some(("Method", value)) => method = value,
            Some(("Path", path)) => {
                deployed.insert((method.to_owned(), path.to_owned(), code.to_owned()));
            }
            _ => {}
        }
    }
    assert_eq!(deployed, BTreeSet::from(served));
}

#[test]
fn every_problem_that_the_code_can_make_is_documented_and_no_other() {
    let document = Document::read();
    let problem = document.schema("Problem");
    assert_eq!(problem["properties"]["type"]["const"], PROBLEM_TYPE);
    let made: BTreeSet<_> = ProblemKind::ALL
        .iter()
        .map(|kind| (kind.status().as_u16(), json!(kind.title())))
        .map(|(status, title)| (status, title.to_string()))
        .collect();
    let mut documented = BTreeSet::new();
    for operation in document.operations() {
        for status in document
            .statuses(&operation)
            .into_iter()
            .filter(|status| *status != 200)
        {
            let response = document.resolved(&operation.value["responses"][status.to_string()]);
            for problem in document.problems(response) {
                assert_eq!(problem["status"], status, "{}: {problem}", operation.path);
                // Client generators make one type of `Problem`, so the schema cannot say that only
                // a 422 has `errors`.
                assert_eq!(problem["errors"].is_array(), status == 422, "{problem}");
                documented.insert((status, problem["title"].to_string()));
            }
        }
    }
    assert_eq!(documented, made);
}

#[test]
fn numbers_are_those_of_the_code() {
    let document = Document::read();
    let task = &document.schema("ListedTask")["properties"];
    let items = document.at("/components/schemas/TaskWithItems/allOf/1/properties/items");
    let tasks = &document.schema("TaskList")["properties"]["tasks"];
    let list = document.at("/paths/~1internal~1deletion-tasks~1list/get/parameters/4/schema");
    let problem = &document.schema("Problem")["properties"];
    let retry = document.at("/components/responses/ServiceUnavailable/headers/Retry-After/schema");
    for (documented, coded) in [
        (&document.schema("TaskId")["x-max-bytes"], MAX_TASK_ID_BYTES),
        (&document.schema("TaskId")["maxLength"], MAX_TASK_ID_BYTES),
        (&document.schema("EmbeddingModelId")["x-max-bytes"], MAX_MODEL_ID_BYTES),
        (&document.schema("EmbeddingModelId")["maxLength"], MAX_MODEL_ID_BYTES),
        (&document.schema("ObjectId")["x-max-bytes"], MAX_OBJECT_ID_BYTES),
        (&document.schema("ObjectId")["maxLength"], MAX_OBJECT_ID_BYTES),
        (&list["maximum"], limits::MAX_LIMIT as usize),
        (&list["default"], limits::DEFAULT_LIMIT as usize),
        (&document.schema("Reason")["x-max-bytes"], MAX_REQUEST_REASON_BYTES),
        (&document.schema("Reason")["maxLength"], MAX_REQUEST_REASON_BYTES),
        (&tasks["maxItems"], limits::MAX_LIMIT as usize),
        (&task["failed_item_ids"]["maxItems"], limits::MAX_FAILURES),
        (
            &items["maxItems"],
            limits::MAX_ITEMS,
        ),
        (&problem["errors"]["maxItems"], limits::MAX_VALIDATION_ERRORS),
        (&retry["const"], limits::RETRY_AFTER_SECONDS as usize),
        (&task["attempt"]["maximum"], u32::MAX as usize),
        (
            document.at("/components/parameters/attempt/schema/maximum"),
            u32::MAX as usize,
        ),
        (
            document.at("/components/responses/ContentTooLarge/content/application~1problem+json/examples/large/x-body-bytes"),
            MAX_BODY_BYTES + 1,
        ),
    ] {
        assert_eq!(*documented, coded);
    }
    let rows = document.at("/paths/~1internal~1deletion-tasks~1list/get/description");
    let thousands = limits::MAX_ROWS_READ / 1000;
    let most = format!(
        "more than {thousands},{:03} rows",
        limits::MAX_ROWS_READ % 1000
    );
    assert!(rows.as_str().unwrap().contains(&most), "{most}");
    let listed =
        document.at("/paths/~1internal~1deletion-tasks~1list/get/responses/200/description");
    let most = format!("at most {} failures a task", limits::MAX_HEAD_ITEMS);
    assert!(listed.as_str().unwrap().contains(&most), "{most}");
    assert_eq!(document.at("/info/version"), env!("CARGO_PKG_VERSION"));
}

#[test]
fn words_are_those_of_the_code() {
    let document = Document::read();
    let statuses = TaskStatus::ALL.map(TaskStatus::as_str);
    assert_eq!(words(document.schema("Status"), "enum"), statuses);
    let outcomes = [
        Outcome::Deleted,
        Outcome::Failed(Reason::NotFound),
        Outcome::Remaining,
    ];
    let outcomes = outcomes.map(|outcome| outcome.as_str());
    let item = &document.schema("Item")["properties"]["outcome"];
    assert_eq!(words(item, "enum"), outcomes);
    let filter = document.at("/paths/~1internal~1deletion-tasks~1info/get/parameters/1/schema");
    assert_eq!(words(filter, "enum"), [&outcomes[..], &["all"]].concat());
    let detail = &document.schema("FailedItem")["properties"]["detail"]["description"];
    assert!(detail.as_str().unwrap().contains(&format!("`{NOT_FOUND}`")));
    for status in statuses {
        let described = document.schema("Status")["description"].as_str().unwrap();
        assert!(described.contains(&format!("- `{status}`:")), "{status}");
    }
}

#[test]
fn nothing_stands_beside_a_reference() {
    // Many client generators ignore what is next to a reference, without a warning.
    fn check(value: &Value) {
        match value {
            Value::Object(members) => {
                let alone = !members.contains_key("$ref") || members.len() == 1;
                assert!(alone, "{value}");
                members.values().for_each(check);
            }
            Value::Array(items) => items.iter().for_each(check),
            _ => {}
        }
    }
    check(Document::read().at(""));
}

#[test]
fn patterns_allow_the_characters_that_the_code_allows() {
    let document = Document::read();
    let pattern = |name: &str| {
        let pattern = document.schema(name)["pattern"].as_str().unwrap();
        Regex::new(pattern).unwrap()
    };
    let (task, model, object) = (
        pattern("TaskId"),
        pattern("EmbeddingModelId"),
        pattern("ObjectId"),
    );
    // Every character up to the last one with a rule, the ideographic space, and a sample of the
    // others.
    let scalars = (0..=0x3100).chain((0x3100..=0x10_FFFF).step_by(97));
    for character in scalars.filter_map(char::from_u32) {
        let text = character.to_string();
        let shown = character.escape_unicode();
        assert_eq!(task.is_match(&text), TaskId::new(&*text).is_ok(), "{shown}");
        assert_eq!(
            model.is_match(&text),
            ModelId::new(&*text).is_ok(),
            "{shown}"
        );
        let taken = ObjectIds::default().push(&text).is_ok();
        assert_eq!(object.is_match(&text), taken, "{shown}");
    }
    for pattern in [task, model, object] {
        assert!(!pattern.is_match("") && !pattern.is_match("a\n"));
    }
}
