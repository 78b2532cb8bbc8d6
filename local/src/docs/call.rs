//! One call: its parameters, its body, its responses, and a command to try it.

use super::document::{Document, entries, items, text};
use super::json;
use super::schema::{fields, row, rule, table};
use super::text::{blocks, escaped, inline};
use yaml_rust2::Yaml;

/// One call of the API.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) operation: &'a Yaml,
}

impl Call<'_> {
    /// Its name: the end of its path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Its method and path, in HTML.
    pub(super) fn line(&self) -> String {
        let (method, path) = (self.method, escaped(self.path));
        format!("<span class=\"method {method}\">{method}</span> <code>{path}</code>")
    }

    /// Its section of the page. `origin` is where the API is.
    pub(super) fn section(&self, document: &Document, origin: &str) -> String {
        let operation = self.operation;
        let (name, line) = (self.name(), self.line());
        let summary = inline(text(&operation["summary"]));
        let described = blocks(text(&operation["description"]));
        let takes = parameters(document, operation) + &body(document, operation);
        let responses: String = entries(&operation["responses"])
            .map(|(status, shown)| response(document, origin, status, shown))
            .collect();
        format!(
            "<section class=call id=\"{name}\"><h2>{summary}</h2><p class=line>{line}</p>{described}{takes}\
             <h3>Responses</h3>{responses}</section>"
        )
    }
}

/// One response: its status, its headers and its examples.
fn response(document: &Document, origin: &str, status: &str, response: &Yaml) -> String {
    let response = document.resolved(response);
    let described = inline(text(&response["description"]));
    let from = match response["x-answered-by"].as_str() {
        Some(who) => format!(" <em>from {}</em>", escaped(who)),
        None => String::new(),
    };
    let media = entries(&response["content"]).map(|(kind, media)| {
        let examples = entries(&media["examples"]);
        let examples = examples.map(|(_, example)| shown(example, origin));
        format!(
            "<p class=kind><code>{}</code> {}</p>{}",
            escaped(kind),
            rule(&media["schema"]),
            examples.collect::<String>()
        )
    });
    let media: String = media.collect();
    let headers = headers(document, response);
    let (class, open) = if status == "200" {
        ("good", " open")
    } else {
        ("bad", "")
    };
    format!(
        "<details{open}><summary><span class=\"status {class}\">{status}</span> {described}{from}</summary>\
         <div class=inside>{headers}{media}</div></details>"
    )
}

fn parameters(document: &Document, operation: &Yaml) -> String {
    let rows = items(&operation["parameters"]).map(|parameter| {
        let parameter = document.resolved(parameter);
        let required = parameter["required"].as_bool() == Some(true);
        let described = inline(text(&parameter["description"]));
        let row = row(
            document,
            text(&parameter["name"]),
            required,
            &parameter["schema"],
        );
        // The parameter's own description comes before that of its schema.
        row.replacen("</td><td>", &format!("</td><td>{described} "), 1)
    });
    table("<h3>Query</h3><table>", rows)
}

fn headers(document: &Document, response: &Yaml) -> String {
    let rows = entries(&response["headers"]).map(|(name, header)| {
        let header = document.resolved(header);
        let (rule, described) = (
            rule(&header["schema"]),
            inline(text(&header["description"])),
        );
        format!(
            "<tr><th scope=row><code>{}</code></th><td>{rule}</td><td>{described}</td></tr>",
            escaped(name)
        )
    });
    table("<table class=headers>", rows)
}

fn body(document: &Document, operation: &Yaml) -> String {
    let body = &operation["requestBody"];
    let media = entries(&body["content"]).map(|(kind, media)| {
        let examples = entries(&media["examples"]).map(|(_, example)| {
            let summary = inline(text(&example["summary"]));
            format!(
                "<figure><figcaption>{summary}</figcaption><pre>{}</pre></figure>",
                json::shown(&example["value"])
            )
        });
        format!(
            "<h3>Body</h3><p>{}</p><p class=kind><code>{}</code> {}</p>{}{}",
            inline(text(&body["description"])),
            escaped(kind),
            rule(&media["schema"]),
            fields(document, document.resolved(&media["schema"])),
            examples.collect::<String>()
        )
    });
    media.collect()
}

/// An example response, with the command that produces it if there is one.
fn shown(example: &Yaml, origin: &str) -> String {
    let given = match example["x-given"].as_str() {
        Some(given) => format!(" <span class=given>given that {}</span>", inline(given)),
        None => String::new(),
    };
    let headers = entries(&example["x-headers"]);
    let headers = headers.map(|(name, value)| format!("{name}: {}\n", text(value)));
    let command = match example["x-request"].as_str() {
        Some(request) => format!(
            "<pre class=curl>{}</pre>",
            escaped(&curl(request, example, origin))
        ),
        None => String::new(),
    };
    format!(
        "<figure><figcaption>{}{given}</figcaption>{command}<pre>{}{}</pre></figure>",
        inline(text(&example["summary"])),
        escaped(&headers.collect::<String>()),
        json::shown(&example["value"]),
    )
}

/// The command that sends an example's request.
fn curl(request: &str, example: &Yaml, origin: &str) -> String {
    let (method, target) = request.split_once(' ').unwrap_or_default();
    let mut command = format!(
        "curl -sS -X {method} {}",
        quoted(&format!("{origin}{target}"))
    );
    let kind = example["x-content-type"]
        .as_str()
        .unwrap_or("application/json");
    let mut kind = format!(" \\\n  -H {}", quoted(&format!("content-type: {kind}")));
    if let Some(coding) = example["x-content-encoding"].as_str() {
        let header = quoted(&format!("content-encoding: {coding}"));
        kind.push_str(&format!(" \\\n  -H {header}"));
    }
    if let Some(body) = example["x-body"].as_str() {
        command.push_str(&kind);
        command.push_str(&format!(" \\\n  -d {}", quoted(body)));
    }
    if let Some(length) = example["x-body-bytes"].as_i64() {
        command.insert_str(0, &format!("head -c {length} /dev/zero | "));
        command.push_str(&kind);
        command.push_str(" --data-binary @-");
    }
    command
}

/// An argument quoted for a shell.
fn quoted(argument: &str) -> String {
    format!("'{}'", argument.replace('\'', r"'\''"))
}
