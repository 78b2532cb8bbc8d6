//! An example as indented, coloured JSON.

use super::document::{entries, items};
use super::text::escaped;
use yaml_rust2::Yaml;

/// A value of at most this many characters stays on one line.
const WIDTH: usize = 72;

/// A value in HTML.
pub(super) fn shown(value: &Yaml) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out
}

/// A value as JSON on one line.
pub(super) fn compact(value: &Yaml) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Yaml::Hash(_) => {
            let fields =
                entries(value).map(|(name, value)| format!("{}: {}", quoted(name), compact(value)));
            format!("{{{}}}", joined(fields.collect()))
        }
        Yaml::Array(_) => format!("[{}]", joined(items(value).map(compact).collect())),
        Yaml::String(text) => quoted(text),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Boolean(truth) => truth.to_string(),
        Yaml::Real(number) => number.clone(),
        Yaml::Null | Yaml::Alias(_) | Yaml::BadValue => "null".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write(value: &Yaml, depth: usize, out: &mut String) {
    // The first level is always broken into lines, so that similar responses look alike.
    let flat = depth > 0 && compact(value).chars().count() + 2 * depth <= WIDTH;
    let (open, close, parts): (_, _, Vec<(Option<&str>, &Yaml)>) = match value {
        Yaml::Hash(_) => (
            '{',
            '}',
            entries(value)
                .map(|(name, value)| (Some(name), value))
                .collect(),
        ),
        Yaml::Array(_) => ('[', ']', items(value).map(|value| (None, value)).collect()),
        scalar => return out.push_str(&coloured(scalar)),
    };
    let flat = flat || parts.is_empty();
    let count = parts.len();
    out.push(open);
    for (number, (name, part)) in parts.into_iter().enumerate() {
        if !flat {
            out.push('\n');
            out.push_str(&"  ".repeat(depth + 1));
        }
        if let Some(name) = name {
            out.push_str(&format!("<b>{}</b>: ", escaped(&quoted(name))));
        }
        write(part, depth + 1, out);
        if number + 1 < count {
            out.push_str(if flat { ", " } else { "," });
        }
    }
    if !flat {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
    out.push(close);
}

fn coloured(scalar: &Yaml) -> String {
    let class = match scalar {
        Yaml::String(_) => "s",
        _ => "n",
    };
    format!("<i class={class}>{}</i>", escaped(&compact(scalar)))
}
