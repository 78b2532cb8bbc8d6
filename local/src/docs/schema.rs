//! A schema: the type of a value and its rules.

use super::document::{Document, entries, items, referred, text};
use super::json::compact;
use super::text::{blocks, escaped, inline};
use yaml_rust2::Yaml;

/// The section of the page for a schema of `components`.
pub(super) fn section(document: &Document, name: &str, schema: &Yaml) -> String {
    let base = match referred(schema) {
        Some(base) => format!("<p>All of {}, and:</p>", link(base)),
        None => String::new(),
    };
    let described = blocks(text(&schema["description"]));
    let fields = fields(document, schema);
    let own = if fields.is_empty() {
        format!("<p class=rule>{}</p>", rule(schema))
    } else {
        fields
    };
    format!("<section class=schema id=\"{name}\"><h3>{name}</h3>{described}{base}{own}</section>")
}

/// A table of an object's fields; empty if there are none.
pub(super) fn fields(document: &Document, schema: &Yaml) -> String {
    let required =
        |name: &str| items(&schema["required"]).any(|known| known.as_str() == Some(name));
    let rows =
        entries(&schema["properties"]).filter(|(_, field)| !matches!(field, Yaml::Boolean(_)));
    let rows = rows.map(|(name, field)| row(document, name, required(name), field));
    table("<table>", rows)
}

/// A table that begins with `start`; empty if there are no rows.
pub(super) fn table(start: &str, rows: impl Iterator<Item = String>) -> String {
    let rows: String = rows.collect();
    if rows.is_empty() {
        return rows;
    }
    format!("{start}{rows}</table>")
}

/// A row of a table: a name, its type and rules, and its description.
pub(super) fn row(document: &Document, name: &str, required: bool, schema: &Yaml) -> String {
    let required = if required { " <em>required</em>" } else { "" };
    let own = text(&schema["description"]);
    let described = if own.is_empty() {
        text(&document.resolved(schema)["description"])
    } else {
        own
    };
    // A list does not fit in a row.
    let described = if described.contains("\n- ") || described.starts_with("- ") {
        String::new()
    } else {
        inline(described)
    };
    format!(
        "<tr><th scope=row><code>{}</code>{required}</th><td>{}</td><td>{described}</td></tr>",
        escaped(name),
        rule(schema),
    )
}

/// A type and its rules, in HTML.
pub(super) fn rule(schema: &Yaml) -> String {
    if let Some(name) = referred(schema) {
        return link(name);
    }
    let choices = items(&schema["anyOf"]).map(rule).collect::<Vec<_>>();
    if !choices.is_empty() {
        return choices.join(" or ");
    }
    let mut words = vec![kind(schema)];
    let code = |value: &Yaml| format!("<code>{}</code>", escaped(&compact(value)));
    if !schema["const"].is_badvalue() {
        words.push(format!("always {}", code(&schema["const"])));
    }
    let choices: Vec<_> = items(&schema["enum"]).map(code).collect();
    if !choices.is_empty() {
        words.push(choices.join(" "));
    }
    words.extend(range(schema, "minimum", "maximum", ""));
    words.extend(range(schema, "minItems", "maxItems", " items"));
    match schema["x-max-bytes"].as_i64() {
        Some(most) => words.push(format!("1 to {most} bytes")),
        None => words.extend(range(schema, "minLength", "maxLength", " characters")),
    }
    if !schema["default"].is_badvalue() {
        words.push(format!("default {}", code(&schema["default"])));
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        words.push(format!("<code class=pattern>{}</code>", escaped(pattern)));
    }
    words.retain(|word| !word.is_empty());
    words.join("<br>")
}

fn kind(schema: &Yaml) -> String {
    let named = match &schema["type"] {
        Yaml::Array(names) => names.iter().map(text).collect::<Vec<_>>().join(" or "),
        name => text(name).to_owned(),
    };
    match (named.as_str(), &schema["items"]) {
        ("array", items) if !items.is_badvalue() => format!("array of {}", rule(items)),
        _ => escaped(&named),
    }
}

fn range(schema: &Yaml, least: &str, most: &str, unit: &str) -> Option<String> {
    match (schema[least].as_i64(), schema[most].as_i64()) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (None, None) => None,
    }
}

/// A link to a schema's section.
pub(super) fn link(name: &str) -> String {
    format!("<a href=\"#{name}\">{name}</a>")
}
