//! Parsing the responses of a store. The worker settles nothing on a response that does not have
//! the form of the protocol.

use crate::vector::port::{AfterDelete, Presence, VectorError, VectorErrorKind};
use serde::Deserialize;

/// The most bytes that are shown of a store's own text.
const MAX_WORDS: usize = 256;
/// The detail of an object that a store kept without giving a reason.
const KEPT: &str =
    "The vector store still has the object after the delete: it kept it, or it was inserted again";

#[derive(Deserialize)]
struct PresentResponse {
    present: Vec<bool>,
    #[serde(default)]
    refused: Option<Vec<RefusedId>>,
}

#[derive(Deserialize)]
struct RefusedId {
    position: usize,
    #[serde(default)]
    detail: Option<String>,
}

#[derive(Deserialize)]
struct DeleteResponse {
    outcomes: Vec<Word>,
    #[serde(default)]
    details: Option<Vec<Option<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Gone,
    Kept,
    More,
    Unconfirmed,
}

/// A problem (RFC 9457).
#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    title: Option<String>,
}

/// Parses the response to an existence check of `count` ids.
pub(super) fn presence(body: &[u8], count: usize) -> Result<Vec<Presence>, VectorError> {
    let response: PresentResponse = read(body)?;
    check_length("present", response.present.len(), count)?;
    let presence = response.present.into_iter().map(Presence::of);
    let mut presence: Vec<_> = presence.collect();
    for RefusedId { position, detail } in response.refused.unwrap_or_default() {
        let Some(id @ (Presence::Present | Presence::Absent)) = presence.get_mut(position) else {
            return Err(out_of_form(&format!(
                "`refused` names position {position} twice, or there is none"
            )));
        };
        let why = says(detail.as_deref());
        *id = Presence::InvalidId(
            why.unwrap_or_else(|| "The vector store refuses this id".to_owned()),
        );
    }
    Ok(presence)
}

/// Parses the response to a delete of `count` ids.
pub(super) fn outcomes(body: &[u8], count: usize) -> Result<Vec<AfterDelete>, VectorError> {
    let response: DeleteResponse = read(body)?;
    check_length("outcomes", response.outcomes.len(), count)?;
    let details = match response.details {
        None => vec![None; count],
        Some(details) => {
            check_length("details", details.len(), count)?;
            details
        }
    };
    let outcomes = response.outcomes.into_iter().zip(details);
    let outcomes = outcomes.map(|(word, detail)| match word {
        Word::Gone => AfterDelete::Gone,
        Word::Kept => {
            let why = says(detail.as_deref());
            AfterDelete::Kept(why.unwrap_or_else(|| KEPT.to_owned()))
        }
        Word::More => AfterDelete::More,
        Word::Unconfirmed => AfterDelete::Unconfirmed,
    });
    Ok(outcomes.collect())
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, VectorError> {
    // The library's message may repeat a part of the response, such as an id. The position is
    // enough.
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        out_of_form(&format!("see its line {line}, column {column}"))
    })
}

fn check_length(name: &str, found: usize, count: usize) -> Result<(), VectorError> {
    if found == count {
        return Ok(());
    }
    Err(out_of_form(&format!(
        "`{name}` has {found} values for {count} ids"
    )))
}

/// The error of a response that does not have the form of the protocol. It tells nothing, and
/// another try may get one that does.
pub(super) fn out_of_form(what: &str) -> VectorError {
    VectorError {
        kind: VectorErrorKind::Temporary,
        detail: format!(
            "The vector store's response does not have the form of the store protocol: {what}"
        ),
        code: "not of the protocol".to_owned(),
        source: None,
    }
}

/// The error that a response with this status means.
pub(super) fn error(status: u16, content_type: &str, body: &[u8], index: &str) -> VectorError {
    let is_problem = content_type.starts_with("application/problem+json");
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let words = says(problem.detail.as_deref().or(problem.title.as_deref()));
    let is_index_missing = is_problem && problem.r#type.ends_with("/index-missing");
    let (kind, what) = match status {
        404 if is_index_missing => {
            return VectorError {
                kind: VectorErrorKind::IndexMissing,
                detail: format!("Vector index `{index}` does not exist"),
                code: "404 index-missing".to_owned(),
                source: None,
            };
        }
        404 => (
            VectorErrorKind::Denied,
            "There is no vector store at the URL that VECTOR_STORES names for this model",
        ),
        401 | 403 => (
            VectorErrorKind::Denied,
            "The vector store denies access: check `auth` in VECTOR_STORES, and the token or the role",
        ),
        429 => (
            VectorErrorKind::Throttled,
            "The vector store is throttling requests",
        ),
        400..=499 => (
            VectorErrorKind::Denied,
            "The vector store refuses the request",
        ),
        300..=399 => (
            VectorErrorKind::Temporary,
            "The vector store redirects, which is not followed: name the URL itself in VECTOR_STORES",
        ),
        _ => (
            VectorErrorKind::Temporary,
            "The vector store failed to carry out the request",
        ),
    };
    let detail = match words {
        Some(words) => format!("{what}. {words}"),
        None => what.to_owned(),
    };
    VectorError {
        kind,
        detail,
        code: status.to_string(),
        source: None,
    }
}

/// The store's own text, for the person who reads the task.
fn says(words: Option<&str>) -> Option<String> {
    let words = clean(words?);
    (!words.is_empty()).then(|| format!("The store says: {words}"))
}

/// Cuts a text to one line of at most 256 bytes, without characters that could change how a
/// terminal or a page shows it.
fn clean(words: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let visible = words.replace(hides, " ");
    let mut line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = (0..=MAX_WORDS.min(line.len()))
        .rev()
        .find(|at| line.is_char_boundary(*at));
    line.truncate(end.unwrap_or(0));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_that_has_the_form_is_read_position_by_position() {
        let body = br#"{"present": [true, false, false], "refused": [{"position": 2, "detail": "ids are numbers"}], "more": 1}"#;
        let refused = Presence::InvalidId("The store says: ids are numbers".to_owned());
        let expected = [Presence::Present, Presence::Absent, refused];
        assert_eq!(presence(body, 3).unwrap(), expected);

        let body = br#"{"outcomes": ["gone", "kept", "more", "unconfirmed", "kept"], "details": [null, "on legal hold", null, null, null]}"#;
        let expected = [
            AfterDelete::Gone,
            AfterDelete::Kept("The store says: on legal hold".to_owned()),
            AfterDelete::More,
            AfterDelete::Unconfirmed,
            AfterDelete::Kept(KEPT.to_owned()),
        ];
        assert_eq!(outcomes(body, 5).unwrap(), expected);
        assert_eq!(
            outcomes(br#"{"outcomes": ["gone"]}"#, 1).unwrap(),
            [AfterDelete::Gone]
        );
    }

    #[test]
    fn nothing_is_read_from_any_other_response() {
        for body in [
            "",
            "null",
            "[true]",
            "{}",
            r#"{"present": true}"#,
            r#"{"present": []}"#,
            r#"{"present": [true, true]}"#,
            r#"{"present": ["true"]}"#,
            r#"{"present": [1]}"#,
            r#"{"present": [null]}"#,
            r#"{"present": [true], "refused": [{"position": 1}]}"#,
            r#"{"present": [true], "refused": [{"position": -1}]}"#,
            r#"{"present": [true], "refused": [{"position": 0}, {"position": 0}]}"#,
            r#"{"present": [true], "refused": {}}"#,
            r#"{"present": [true]} {"#,
        ] {
            let error = presence(body.as_bytes(), 1).unwrap_err();
            assert_eq!(error.kind, VectorErrorKind::Temporary, "{body}");
        }
        for body in [
            "",
            "{}",
            r#"{"outcomes": []}"#,
            r#"{"outcomes": ["gone", "gone"]}"#,
            r#"{"outcomes": ["Gone"]}"#,
            r#"{"outcomes": ["deleted"]}"#,
            r#"{"outcomes": [true]}"#,
            r#"{"outcomes": "gone"}"#,
            r#"{"outcomes": ["kept"], "details": []}"#,
            r#"{"outcomes": ["kept"], "details": [1]}"#,
            r#"{"outcomes": ["kept"], "details": "x"}"#,
        ] {
            let error = outcomes(body.as_bytes(), 1).unwrap_err();
            assert_eq!(error.kind, VectorErrorKind::Temporary, "{body}");
        }
    }

    #[test]
    fn each_status_has_its_meaning() {
        use VectorErrorKind::{Denied, IndexMissing, Temporary, Throttled};
        let problem = "application/problem+json";
        let missing = br#"{"type": "https://example.com/problems/index-missing", "detail": "no such collection"}"#;
        for (status, content_type, body, kind) in [
            (404, problem, missing.as_slice(), IndexMissing),
            (404, "application/json", missing, Denied),
            (404, problem, br#"{"type": "about:blank"}"#, Denied),
            (404, "text/html", b"<html>", Denied),
            (401, "", b"", Denied),
            (403, "", b"", Denied),
            (400, problem, br#"{"detail": "bad"}"#, Denied),
            (422, "", b"", Denied),
            (429, "", b"", Throttled),
            (301, "", b"", Temporary),
            (204, "", b"", Temporary),
            (500, "", b"", Temporary),
            (503, "", b"", Temporary),
        ] {
            let error = error(status, content_type, body, "my-index");
            assert_eq!(error.kind, kind, "{status} {content_type}");
        }
        let error = error(400, problem, br#"{"detail": "ids are numbers"}"#, "i");
        let detail = "The vector store refuses the request. The store says: ids are numbers";
        assert_eq!(error.detail, detail);
    }

    #[test]
    fn a_stores_words_are_one_clean_line_of_at_most_256_bytes() {
        for (words, cleaned) in [
            ("  on\tlegal\r\n hold\u{0}", "on legal hold"),
            ("a\u{1b}[31mb", "a [31mb"),
            ("\u{202e}evil\u{200b}", "evil"),
            (" \n ", ""),
        ] {
            assert_eq!(clean(words), cleaned);
        }
        assert_eq!(clean(&"é".repeat(200)), "é".repeat(128));
        assert_eq!(clean(&format!("a{}", "é".repeat(200))).len(), 255);
    }
}
