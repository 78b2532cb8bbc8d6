//! The OpenAPI document, `docs/openapi.yaml`, as JSON.

use crate::files::in_repository;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use yaml_rust2::{Yaml, YamlLoader};

/// The document.
#[derive(Clone, Debug)]
pub struct Document(Value);

/// One call of the API.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its method, in capitals.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its Operation Object.
    pub value: Value,
}

/// An example response of the document, and how to get it.
#[derive(Clone, Debug)]
pub struct Example {
    /// Its place in the document, for messages.
    pub place: String,
    /// What happened before, in the document's words.
    pub given: Option<String>,
    /// The method.
    pub method: String,
    /// The path and the query.
    pub target: String,
    /// The body, if there is one.
    pub body: Option<Vec<u8>>,
    /// The headers that give the body's type and encoding.
    pub content_headers: Vec<(&'static str, String)>,
    /// The status and the content type of the response.
    pub answer: (u16, String),
    /// The body of the response.
    pub value: Value,
    /// The headers of this response that others of its kind may lack.
    pub headers: Map<String, Value>,
    /// The headers that the document lists for every response of this kind, by their names in lower
    /// case.
    pub known_headers: BTreeMap<String, Value>,
}

impl Document {
    /// Reads the document.
    ///
    /// # Panics
    /// When it is not YAML.
    pub fn read() -> Self {
        let path = in_repository("docs/openapi.yaml");
        let text = std::fs::read_to_string(path).expect("docs/openapi.yaml can be read");
        let mut documents = YamlLoader::load_from_str(&text).expect("docs/openapi.yaml is YAML");
        Self(json(documents.remove(0)))
    }

    /// Returns the value at this JSON Pointer, with references resolved.
    ///
    /// # Panics
    /// When there is no such value.
    #[track_caller]
    pub fn at(&self, pointer: &str) -> &Value {
        let mut found = &self.0;
        for step in pointer.split('/').skip(1) {
            let inner = self.resolved(found).pointer(&format!("/{step}"));
            found = inner.unwrap_or_else(|| panic!("{pointer}: there is no `{step}`"));
        }
        self.resolved(found)
    }

    /// A schema of `components`.
    #[track_caller]
    pub fn schema(&self, name: &str) -> &Value {
        self.at(&format!("/components/schemas/{name}"))
    }

    /// The value that `value` refers to, or `value` itself if it is not a reference.
    pub fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str().and_then(|to| to.strip_prefix('#')) {
            Some(pointer) => self
                .0
                .pointer(pointer)
                .expect("a reference leads somewhere"),
            None => value,
        }
    }

    /// Every call.
    pub fn operations(&self) -> Vec<Operation> {
        let paths = self.0["paths"].as_object().expect("paths").iter();
        let operations = paths.flat_map(|(path, item)| {
            let methods = item.as_object().expect("a path item").iter();
            methods.map(|(method, value)| Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                value: value.clone(),
            })
        });
        operations.collect()
    }

    /// The statuses that the service itself gives this call.
    pub fn statuses(&self, operation: &Operation) -> BTreeSet<u16> {
        let responses = operation.value["responses"].as_object().expect("responses");
        let ours = responses
            .iter()
            .filter(|(_, response)| self.resolved(response)["x-sent-by"].is_null());
        ours.map(|(status, _)| status.parse().expect("a status"))
            .collect()
    }

    /// The errors in the examples of a response.
    pub fn problems<'a>(&self, response: &'a Value) -> impl Iterator<Item = &'a Value> + use<'a> {
        let examples = &response["content"]["application/problem+json"]["examples"];
        let examples = examples.as_object().into_iter().flatten();
        examples.map(|(_, example)| &example["value"])
    }

    /// Every example response of the service itself, each once.
    pub fn examples(&self) -> Vec<Example> {
        let mut all = Vec::new();
        for operation in self.operations() {
            let responses = operation.value["responses"].as_object().expect("responses");
            let inline = responses
                .iter()
                .filter(|(_, response)| response["$ref"].is_null());
            for (status, response) in inline {
                let place = format!("{} {} {status}", operation.method, operation.path);
                self.add_examples(&mut all, &place, response);
            }
        }
        let shared = self.at("/components/responses").as_object();
        for (name, response) in shared.expect("responses") {
            self.add_examples(&mut all, name, response);
        }
        all
    }

    fn add_examples(&self, all: &mut Vec<Example>, place: &str, response: &Value) {
        if !response["x-sent-by"].is_null() {
            return;
        }
        let headers = response["headers"].as_object().into_iter().flatten();
        let known = headers.map(|(name, header)| {
            let header = self.resolved(header).clone();
            (name.to_lowercase(), header)
        });
        let known = known.collect();
        for (content_type, media) in response["content"].as_object().into_iter().flatten() {
            for (name, example) in media["examples"].as_object().into_iter().flatten() {
                let place = format!("{place} {name}");
                all.push(Example::of(place, example, content_type, &known));
            }
        }
    }
}

impl Example {
    fn of(
        place: String,
        example: &Value,
        answer_type: &str,
        known: &BTreeMap<String, Value>,
    ) -> Self {
        let text = |field: &str| example[field].as_str().map(str::to_owned);
        let request = text("x-request").unwrap_or_else(|| panic!("{place} has no x-request"));
        let (method, target) = request.split_once(' ').expect("a request line");
        let body = match (&example["x-body"], example["x-body-bytes"].as_u64()) {
            (Value::Null, None) => None,
            (Value::Null, Some(length)) => Some(vec![b' '; length.try_into().expect("a length")]),
            (body, _) => Some(body.as_str().expect("a text").into()),
        };
        let content_type = text("x-content-type").unwrap_or("application/json".to_owned());
        let content_headers = [("content-type", content_type)].into_iter();
        let encoding = text("x-content-encoding").map(|encoding| ("content-encoding", encoding));
        let content_headers = content_headers.chain(encoding);
        let value = example["value"].clone();
        let problem = value["status"].as_u64().and_then(|n| n.try_into().ok());
        Self {
            given: text("x-given"),
            method: method.to_owned(),
            target: target.to_owned(),
            body,
            content_headers: content_headers.collect(),
            answer: (problem.unwrap_or(200), answer_type.to_owned()),
            value,
            headers: example["x-headers"]
                .as_object()
                .cloned()
                .unwrap_or_default(),
            known_headers: known.clone(),
            place,
        }
    }
}

fn json(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Boolean(value) => value.into(),
        Yaml::Integer(value) => value.into(),
        Yaml::String(value) => value.into(),
        Yaml::Array(values) => values.into_iter().map(json).collect(),
        Yaml::Hash(values) => {
            let entries = values.into_iter().map(|(name, value)| match name {
                Yaml::String(name) => (name, json(value)),
                name => panic!("{name:?} is not a name: put it in quotes"),
            });
            Value::Object(entries.collect())
        }
        Yaml::Real(_) | Yaml::Alias(_) | Yaml::BadValue => panic!("no place for {yaml:?}"),
    }
}
