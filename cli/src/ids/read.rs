//! Where ids come from: the command line, lines, a CSV column, JSON Lines.

use crate::args::Run;
use crate::error::Error;
use crate::screen::Screen;
use clap::ValueEnum;
use serde_json::Value;
use shared::task::check_object_id;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

/// The most errors that are named.
const MAX_ERRORS: u64 = 20;
/// The longest line. An id has at most 1,024 bytes, but the rest of a CSV or JSON line may be a
/// whole document.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// The columns or fields with the ids if none is named.
const USUAL_COLUMNS: [&str; 2] = ["object_id", "id"];
/// The characters between the fields of a table.
const SEPARATORS: &[u8] = b",;\t";

/// The format of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One id per line
    Lines,
    /// Comma-separated values (RFC 4180)
    Csv,
    /// One JSON value per line: a string, or an object
    Jsonl,
}

/// Where ids come from.
#[derive(Debug)]
pub(crate) enum Source {
    Given(Vec<String>),
    File {
        /// `None`: standard input.
        path: Option<PathBuf>,
        /// `None`: one id per line, unless the input looks like another format.
        format: Option<Format>,
        column: Option<String>,
        has_header: bool,
    },
}

type Each<'a> = &'a mut dyn FnMut(&str) -> Result<(), Error>;

impl Source {
    /// # Errors
    /// If an option does not apply to this input.
    pub(crate) fn of(run: &Run) -> Result<Self, Error> {
        let is_stdin = |path: &Path| path == Path::new("-");
        let path = match (&run.file, run.ids.as_slice()) {
            (Some(path), _) => Some((!is_stdin(path)).then(|| path.clone())),
            (None, [one]) if one == "-" => Some(None),
            (None, _) => None,
        };
        let extension = path.iter().flatten().find_map(|path| path.extension());
        let extension = extension.and_then(|extension| extension.to_str());
        let extension = extension.map(str::to_ascii_lowercase);
        let format = run.format.or(match extension.as_deref() {
            Some("csv") => Some(Format::Csv),
            Some("jsonl" | "ndjson") => Some(Format::Jsonl),
            _ => None,
        });
        let Some(path) = path else {
            if run.format.is_some() || run.column.is_some() {
                return Err(Error::Usage(
                    "--format and --column are for ids that are read from a file".to_owned(),
                ));
            }
            return Ok(Self::Given(run.ids.clone()));
        };
        let lines = matches!(format, None | Some(Format::Lines));
        if lines && run.column.is_some() {
            return Err(Error::Usage(
                "--column is for CSV and JSON Lines: add --format csv or --format jsonl".to_owned(),
            ));
        }
        if run.no_header && format != Some(Format::Csv) {
            return Err(Error::Usage("--no-header is for CSV".to_owned()));
        }
        Ok(Self::File {
            path,
            format,
            column: run.column.clone(),
            has_header: !run.no_header,
        })
    }

    /// Calls `each` with each valid id.
    ///
    /// # Errors
    /// Names what is wrong, with its line, after everything has been read.
    pub(super) fn each(self, screen: &Screen, each: Each<'_>) -> Result<(), Error> {
        let mut checked = Checked {
            each,
            errors: Vec::new(),
            wrong: 0,
        };
        match self {
            Self::Given(ids) => {
                for (position, id) in ids.iter().enumerate() {
                    checked.id(|| format!("id {}", position + 1), id)?;
                }
            }
            Self::File {
                path,
                format,
                column,
                has_header,
            } => {
                let name = path.as_ref().map_or_else(
                    || "standard input".to_owned(),
                    |path| path.display().to_string(),
                );
                let input: Box<dyn Read> = match path {
                    Some(path) => Box::new(
                        File::open(&path)
                            .map_err(|error| Error::Usage(format!("{name}: {error}")))?,
                    ),
                    None => {
                        if io::stdin().is_terminal() {
                            screen.note("Type one id a line. Ctrl-D ends the list.");
                        }
                        Box::new(io::stdin().lock())
                    }
                };
                let input = without_byte_order_mark(input).map_err(Error::file(name.clone()))?;
                match format {
                    None => lines(&name, input, |line, text| {
                        if line == 1 {
                            refuse_other_formats(&name, text)?;
                        }
                        checked.text(line, text)
                    })?,
                    Some(Format::Lines) => {
                        lines(&name, input, |line, text| checked.text(line, text))?
                    }
                    Some(Format::Jsonl) => {
                        let column = column.as_deref();
                        lines(&name, input, |line, text| checked.json(line, text, column))?;
                    }
                    Some(Format::Csv) => {
                        checked.csv(&name, input, column.as_deref(), has_header)?
                    }
                }
            }
        }
        checked.finish()
    }
}

/// Forwards valid ids, and collects the errors of the others.
struct Checked<'a> {
    each: Each<'a>,
    errors: Vec<String>,
    wrong: u64,
}

impl Checked<'_> {
    fn id(&mut self, place: impl Fn() -> String, id: &str) -> Result<(), Error> {
        match check_object_id(id) {
            Ok(()) => (self.each)(id),
            Err(rule) => {
                self.error(format!("{}: an id {rule}", place()));
                Ok(())
            }
        }
    }

    fn error(&mut self, text: String) {
        self.wrong += 1;
        if self.wrong <= MAX_ERRORS {
            self.errors.push(text);
        }
    }

    fn text(&mut self, line: u64, text: &[u8]) -> Result<(), Error> {
        match std::str::from_utf8(text) {
            Ok("") => Ok(()),
            Ok(id) => self.id(|| format!("line {line}"), id),
            Err(_) => {
                self.error(format!("line {line}: it is not UTF-8"));
                Ok(())
            }
        }
    }

    fn json(&mut self, line: u64, text: &[u8], column: Option<&str>) -> Result<(), Error> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let value: Value = match serde_json::from_slice(text) {
            Ok(value) => value,
            Err(error) => {
                // serde_json sees one line only, so its own line number says nothing.
                let error = error.to_string();
                let error = error.split(" at line ").next().unwrap_or_default();
                self.error(format!("line {line}: it is not JSON: {error}"));
                return Ok(());
            }
        };
        let names = column.as_slice();
        let names = if names.is_empty() {
            &USUAL_COLUMNS[..]
        } else {
            names
        };
        let found = match &value {
            Value::Object(fields) => names.iter().find_map(|name| fields.get(*name)),
            other => Some(other),
        };
        match found {
            Some(Value::String(id)) => self.id(|| format!("line {line}"), id),
            Some(_) => {
                self.error(format!("line {line}: the id is not a string"));
                Ok(())
            }
            None => {
                self.error(format!(
                    "line {line}: it has no field {}: name one with --column",
                    names.join(" or ")
                ));
                Ok(())
            }
        }
    }

    fn csv(
        &mut self,
        name: &str,
        input: impl Read,
        column: Option<&str>,
        has_header: bool,
    ) -> Result<(), Error> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(has_header)
            .from_reader(Strict::new(input));
        let unreadable = |error: csv::Error| Error::Usage(format!("{name}: {error}"));
        let at = if has_header {
            let header = reader.byte_headers().map_err(unreadable)?;
            column_of(header, column).map_err(|error| Error::Usage(format!("{name}: {error}")))?
        } else {
            position(column.unwrap_or_default()).ok_or_else(|| {
                Error::Usage(
                    "With --no-header, --column is the column's position, from 1".to_owned(),
                )
            })?
        };
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(unreadable)? {
            let line = record.position().map_or(0, csv::Position::line);
            match record.get(at) {
                Some(id) => match std::str::from_utf8(id) {
                    Ok(id) => self.id(|| format!("line {line}"), id)?,
                    Err(_) => self.error(format!("line {line}: the id is not UTF-8")),
                },
                None => self.error(format!("line {line}: it has no column {}", at + 1)),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        if self.wrong == 0 {
            return Ok(());
        }
        if self.wrong > MAX_ERRORS {
            self.errors
                .push(format!("and {} more", self.wrong - MAX_ERRORS));
        }
        let noun = if self.wrong == 1 {
            "One id is"
        } else {
            "Some ids are"
        };
        Err(Error::Usage(format!(
            "{noun} not valid, so nothing was sent:\n  {}",
            self.errors.join("\n  ")
        )))
    }
}

/// A reader that accepts only CSV with quotes as in RFC 4180. The csv crate accepts any quotes, so
/// a quote that is never closed would hide the lines after it.
struct Strict<R> {
    input: R,
    state: Quoting,
    line: u64,
    /// The line where the last quoted field began.
    opened: u64,
    record_bytes: u64,
}

enum Quoting {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote in a quoted field: either the field's end, or the first half of a doubled
    /// quote.
    MaybeClosed,
}

impl<R: Read> Strict<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            state: Quoting::FieldStart,
            line: 1,
            opened: 0,
            record_bytes: 0,
        }
    }

    fn check(&mut self, byte: u8) -> Result<(), String> {
        self.record_bytes += 1;
        if self.record_bytes > MAX_LINE_BYTES {
            return Err(format!(
                "the record that ends at line {} or later is longer than {MAX_LINE_BYTES} bytes",
                self.line
            ));
        }
        self.state = match (&self.state, byte) {
            (Quoting::Quoted, b'"') => Quoting::MaybeClosed,
            (Quoting::Quoted, _) => Quoting::Quoted,
            (Quoting::MaybeClosed, b'"') => Quoting::Quoted,
            (_, b'\n') => {
                self.record_bytes = 0;
                Quoting::FieldStart
            }
            (_, b',' | b'\r') => Quoting::FieldStart,
            (Quoting::FieldStart, b'"') => {
                self.opened = self.line;
                Quoting::Quoted
            }
            (Quoting::FieldStart | Quoting::Plain, byte) if byte != b'"' => Quoting::Plain,
            _ => {
                return Err(format!(
                    "line {}: a field with a quote must be quoted, and its quotes doubled (RFC 4180)",
                    self.line
                ));
            }
        };
        self.line += u64::from(byte == b'\n');
        Ok(())
    }
}

impl<R: Read> Read for Strict<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        for byte in buffer.iter().take(read) {
            self.check(*byte).map_err(io::Error::other)?;
        }
        if read == 0 && matches!(self.state, Quoting::Quoted) {
            let error = format!("line {}: the quote is never closed", self.opened);
            return Err(io::Error::other(error));
        }
        Ok(read)
    }
}

/// The position of the column with the ids, from 0.
fn column_of(header: &csv::ByteRecord, column: Option<&str>) -> Result<usize, String> {
    let is_separator = |byte: &u8| SEPARATORS.contains(byte);
    if header.len() == 1 && header.iter().flatten().any(is_separator) {
        return Err("its fields must be separated by commas".to_owned());
    }
    let named = |name: &str| header.iter().position(|field| field == name.as_bytes());
    let found = match column {
        Some(column) => named(column).or_else(|| position(column).filter(|at| *at < header.len())),
        None => USUAL_COLUMNS.into_iter().find_map(named),
    };
    found.ok_or_else(|| {
        let names: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
        let wanted = column.map_or_else(|| USUAL_COLUMNS.join(" or "), str::to_owned);
        format!(
            "it has no column {wanted}: name one of its columns with --column: {}",
            names.join(", ")
        )
    })
}

/// A column's number, from 1, as a position from 0.
fn position(column: &str) -> Option<usize> {
    column.parse::<usize>().ok()?.checked_sub(1)
}

/// Refuses input that looks like another format. Its lines would pass for ids, and none of them
/// would be found in the index.
fn refuse_other_formats(name: &str, line: &[u8]) -> Result<(), Error> {
    let start = line.trim_ascii_start().first();
    let is_json = matches!(start, Some(b'{' | b'[' | b'"'));
    let mut fields = line.split(|byte| SEPARATORS.contains(byte));
    let is_header = fields.any(|field| {
        let field = String::from_utf8_lossy(field);
        USUAL_COLUMNS.contains(&field.trim_matches(['"', ' ']))
    });
    let format = match (is_json, is_header) {
        (_, true) => "csv",
        (true, false) => "jsonl",
        (false, false) => return Ok(()),
    };
    Err(Error::Usage(format!(
        "{name}: its first line looks like {format}: add --format {format}, or --format lines if each line is an id"
    )))
}

/// The lines of a file, without their ends, numbered from 1.
fn lines(
    name: &str,
    mut input: impl BufRead,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = input
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line);
        let read = read.map_err(Error::file(name))?;
        if read == 0 {
            break;
        }
        if read as u64 == MAX_LINE_BYTES {
            return Err(Error::Usage(format!(
                "{name}: line {number} is longer than {MAX_LINE_BYTES} bytes"
            )));
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        // No id has a control character, so a carriage return belongs to the line's end.
        each(number, text.strip_suffix(b"\r").unwrap_or(text))?;
    }
    Ok(())
}

/// Skips a byte order mark. Programs on Windows write one at the start of UTF-8.
fn without_byte_order_mark(input: impl Read) -> io::Result<impl BufRead> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut start = Vec::new();
    input.by_ref().take(3).read_to_end(&mut start)?;
    if start == "\u{feff}".as_bytes() {
        start.clear();
    }
    Ok(io::Cursor::new(start).chain(input))
}
