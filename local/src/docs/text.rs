//! Prose: the part of CommonMark that the document uses, which is paragraphs, lists and code.

use std::fmt::Write;

/// Text escaped for HTML, inside or between tags.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}

/// One paragraph's text, with its `code` marked up.
pub(super) fn inline(text: &str) -> String {
    let mut out = String::new();
    for (number, part) in text.trim().split('`').enumerate() {
        let part = escaped(part);
        let _ = match number % 2 {
            0 => write!(out, "{part}"),
            _ => write!(out, "<code>{part}</code>"),
        };
    }
    out
}

/// Paragraphs and lists.
pub(super) fn blocks(text: &str) -> String {
    let mut out = String::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let Some(list) = block.trim_start().strip_prefix("- ") else {
            let _ = write!(out, "<p>{}</p>", inline(block));
            continue;
        };
        let list = list.split("\n- ");
        let list = list.map(|item| format!("<li>{}</li>", inline(item)));
        let _ = write!(out, "<ul>{}</ul>", list.collect::<String>());
    }
    out
}
