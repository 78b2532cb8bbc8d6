//! The whole page.

use super::call::Call;
use super::document::{Document, entries, text};
use super::schema;
use super::text::{blocks, escaped, inline};
use yaml_rust2::Yaml;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The schema of every error. Those that only fix its status become rows of a table instead of sections.
const PROBLEM: &str = "Problem";

pub(super) fn write(document: &Document, origin: &str) -> String {
    let root = document.root();
    let info = &root["info"];
    let title = escaped(text(&info["title"]));
    let calls: Vec<_> = calls(root).collect();
    let links = calls.iter().map(|call| {
        let (method, name) = (call.method, call.name());
        format!("<li><a href=\"#{name}\"><span class=\"method {method}\">{method}</span> {name}</a></li>")
    });
    let schemas = entries(&root["components"]["schemas"])
        .filter(|(name, schema)| *name == PROBLEM || !is_problem(schema));
    let schemas: Vec<_> = schemas.collect();
    let schema_links = schemas
        .iter()
        .map(|(name, _)| format!("<li>{}</li>", schema::link(name)));
    let problems = entries(&root["components"]["schemas"]).filter(|(_, schema)| is_problem(schema));
    let problems = problems.map(|(name, schema)| problem_row(name, schema));
    let schemas = schemas
        .iter()
        .map(|(name, schema)| schema::section(document, name, schema));
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta name=color-scheme content=\"light dark\"><title>{title}</title><style>{STYLE}</style></head><body>\
         <nav><a class=home href=\"#top\">{title}</a><ul>{}</ul><a href=\"#servers\">Servers</a>\
         <a href=\"#problems\">Errors</a><a href=\"#schemas\">Schemas</a><ul class=small>{}</ul></nav>\
         <main id=top><header><h1>{title} <small>{}</small></h1><p class=lead>{}</p>{}\
         <p><a href=\"/docs/openapi.yaml\">The OpenAPI document of this page</a></p></header>\
         {}{}\
         <section id=\"problems\"><h2>Errors</h2><p>Every error is a {} of one of these kinds.</p><table>{}</table></section>\
         <section id=\"schemas\"><h2>Schemas</h2>{}</section></main><script>{SCRIPT}</script></body></html>\n",
        links.collect::<String>(),
        schema_links.collect::<String>(),
        escaped(text(&info["version"])),
        inline(text(&info["summary"])),
        blocks(text(&info["description"])),
        calls
            .iter()
            .map(|call| call.section(document, origin))
            .collect::<String>(),
        servers(root, origin),
        schema::link(PROBLEM),
        problems.collect::<String>(),
        schemas.collect::<String>(),
    )
}

fn calls(root: &Yaml) -> impl Iterator<Item = Call<'_>> {
    entries(&root["paths"]).flat_map(|(path, item)| {
        entries(item).map(move |(method, operation)| Call {
            method,
            path,
            operation,
        })
    })
}

/// Whether a schema is the error of one status.
fn is_problem(schema: &Yaml) -> bool {
    !schema["properties"]["status"]["const"].is_badvalue()
}

fn problem_row(name: &str, schema: &Yaml) -> String {
    let constant = |field: &str| &schema["properties"][field]["const"];
    format!(
        "<tr id=\"{name}\"><th scope=row><span class=\"status bad\">{}</span></th><td>{name}</td><td>{}</td></tr>",
        constant("status").as_i64().unwrap_or_default(),
        escaped(text(constant("title"))),
    )
}

/// Where the API is, and how a call is signed.
fn servers(root: &Yaml, origin: &str) -> String {
    let servers = root["servers"]
        .as_vec()
        .into_iter()
        .flatten()
        .map(|server| {
            let url = text(&server["url"]);
            // The document's http server is this runner.
            let url = if url.starts_with("http://") {
                origin
            } else {
                url
            };
            let described = inline(text(&server["description"]));
            format!(
                "<tr><th scope=row><code>{}</code></th><td>{described}</td></tr>",
                escaped(url)
            )
        });
    let schemes = entries(&root["components"]["securitySchemes"]);
    let schemes = schemes.map(|(_, scheme)| blocks(text(&scheme["description"])));
    format!(
        "<section id=\"servers\"><h2>Servers</h2><table>{}</table>{}</section>",
        servers.collect::<String>(),
        schemes.collect::<String>()
    )
}
