use super::*;
use crate::ids::read::{Format, Source};
use std::path::PathBuf;

/// The ids of a file with this content, or the error.
fn read(format: Format, column: Option<&str>, content: &[u8]) -> Result<Vec<String>, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let source = Source::File {
        path: Some(PathBuf::from(file.path())),
        format: Some(format),
        column: column.map(str::to_owned),
        has_header: true,
    };
    let mut ids = Ids::read(source, &Screen::default()).map_err(|error| error.to_string())?;
    let parts = ids.parts.clone();
    let ids = parts.iter().flat_map(|part| ids_of(&mut ids, *part));
    Ok(ids.collect())
}

fn ids_of(ids: &mut Ids, part: Part) -> Vec<String> {
    let body = ids.body(part, "m", "t", None).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    serde_json::from_value(body["object_ids"].clone()).unwrap()
}

#[test]
fn a_file_of_lines_may_come_from_windows_and_has_each_id_once() {
    let content = "\u{feff}a\r\nb c\r\n\r\na\r\nü\"\\\r\nb c".as_bytes();
    assert_eq!(
        read(Format::Lines, None, content).unwrap(),
        ["a", "b c", "ü\"\\"]
    );
}

#[test]
fn csv_has_ids_in_a_column_by_name_or_by_position() {
    let content = b"name,object_id\n\"x\ny\",\"a,1\"\nz,b\n";
    assert_eq!(read(Format::Csv, None, content).unwrap(), ["a,1", "b"]);
    assert_eq!(read(Format::Csv, Some("2"), content).unwrap(), ["a,1", "b"]);
    assert_eq!(
        read(Format::Csv, Some("name"), b"name\nn1\n").unwrap(),
        ["n1"]
    );
    let error = read(Format::Csv, Some("key"), content).unwrap_err();
    assert!(
        error.ends_with(
            "it has no column key: name one of its columns with --column: name, object_id"
        ),
        "{error}"
    );
}

#[test]
fn a_quote_that_would_swallow_lines_is_refused_with_its_line() {
    for (content, expected) in [
        (
            "id,name\n1,\"Joe\n2,Ann\n",
            "line 2: the quote is never closed",
        ),
        (
            "id,name\n1,\"Joe\n2,\"Ann\n",
            "line 3: a field with a quote",
        ),
        (
            "id,name\n1,Joe\n2,5\" disk\n",
            "line 3: a field with a quote",
        ),
    ] {
        let error = read(Format::Csv, None, content.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let quoted = b"id,name\n1,\"a \"\"b\"\"\nc\"\n\"2\",\n";
    assert_eq!(read(Format::Csv, None, quoted).unwrap(), ["1", "2"]);
}

#[test]
fn json_lines_are_strings_or_objects() {
    let content = b"\"a\"\n{\"object_id\":\"b\",\"outcome\":\"failed\"}\n\n{\"id\":\"c\"}\n";
    assert_eq!(read(Format::Jsonl, None, content).unwrap(), ["a", "b", "c"]);
    assert_eq!(
        read(Format::Jsonl, Some("key"), b"{\"key\":\"k\",\"id\":\"c\"}").unwrap(),
        ["k"]
    );
}

#[test]
fn every_invalid_id_is_named_with_its_line_and_nothing_is_sent() {
    let long = "x".repeat(1025);
    let content = [b"a\n\xff\n".as_slice(), long.as_bytes(), b"\nb\tc\n"].concat();
    let error = read(Format::Lines, None, &content).unwrap_err();
    assert_eq!(
        error,
        "Some ids are not valid, so nothing was sent:\n  line 2: it is not UTF-8\n  \
         line 3: an id must be at most 1024 bytes of UTF-8, got 1025\n  \
         line 4: an id must not contain control characters, got U+0009"
    );
    let error = read(Format::Jsonl, None, b"{\"object_id\":1}\n{}\nnope\n").unwrap_err();
    for expected in [
        "line 1: the id is not a string",
        "line 2: it has no field object_id or id",
        "line 3: it is not JSON",
    ] {
        assert!(error.contains(expected), "{error}");
    }
    let error = read(Format::Lines, None, "\t\n".repeat(30).as_bytes()).unwrap_err();
    assert!(error.ends_with("and 10 more"), "{error}");
    assert_eq!(
        read(Format::Lines, None, b"\n\n").unwrap_err(),
        "There are no ids to delete"
    );
}

#[test]
fn parts_are_full_keep_the_order_and_lose_no_id() {
    let given: Vec<_> = (0..1000)
        .map(|number| format!("id-{}", number % 900))
        .collect();
    let mut ids = Ids::read(Source::Given(given.clone()), &Screen::default()).unwrap();
    assert_eq!(
        (ids.parts.len(), ids.parts[0].ids, ids.repeats()),
        (1, 900, 100)
    );
    let size = 100 * event_bytes("id-100");
    ids.parts = ids.cut(size).unwrap();
    assert_eq!(ids.parts.len(), 9);
    let parts = ids.parts.clone();
    // Read them in another order, since the last part is sent first.
    let mut found: Vec<_> = parts
        .iter()
        .rev()
        .map(|part| ids_of(&mut ids, *part))
        .collect();
    found.reverse();
    for part in &found {
        let bytes: usize = part.iter().map(|id| event_bytes(id)).sum();
        assert!(bytes <= size);
    }
    assert_eq!(found.concat(), given[..900]);
}

#[test]
fn an_id_costs_what_it_takes_in_a_string_of_json_in_json() {
    for id in ["a", "550e8400-e29b-41d4-a716-446655440000", "\"\\", "{}"] {
        let body = serde_json::to_string(&[id, id]).unwrap();
        let more = serde_json::to_string(&[id, id, id]).unwrap();
        let event = |body: &str| serde_json::to_string(body).unwrap().len();
        assert_eq!(event_bytes(id), event(&more) - event(&body), "{id}");
    }
}
