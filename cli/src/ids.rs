//! The objects' ids: read from the command line or from a file, checked, without repeats, and cut
//! into parts that fit into one request.
//!
//! They are kept in temporary files. Memory holds one bit for each id, and the hashes of one 64th
//! of the ids at a time.

mod read;
mod repeats;

pub(crate) use read::{Format, Source};

use crate::error::Error;
use crate::screen::Screen;
use repeats::{Repeated, Repeats};
use serde::Serialize;
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use tempfile::SpooledTempFile;

/// The most bytes of ids in one request, in the event that API Gateway makes of it. Lambda accepts
/// 6 MB (6,291,556 bytes; "Lambda quotas"). The rest is for the headers and the request's context.
const PART_BYTES: usize = 5_880_000;
/// The most bytes of a temporary file that stays in memory.
const SPOOL_BYTES: usize = 1 << 20;
/// The number of ids after which the progress of reading is shown again.
const SHOWN_EVERY: u64 = 10_000;

/// Ids that have been read and checked.
#[derive(Debug)]
pub(crate) struct Ids {
    /// The ids, one per line.
    spool: SpooledTempFile,
    repeated: Repeated,
    /// The ids of each task.
    pub(crate) parts: Vec<Part>,
}

/// The ids of one task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Where the part begins in the spool, in bytes and (`first`) in lines.
    offset: u64,
    first: u64,
    lines: u64,
    /// How many ids it has.
    pub(crate) ids: u64,
}

impl Ids {
    /// Reads all ids. This blocks.
    ///
    /// # Errors
    /// Names the ids that are not valid, up to 20 of them.
    pub(crate) fn read(source: Source, screen: &Screen) -> Result<Self, Error> {
        let bar = screen.bar(0, "{spinner} Read {human_pos} ids ({rate})");
        let full = || {
            Error::file(format!(
                "The temporary folder {} cannot be used (TMPDIR names another)",
                std::env::temp_dir().display()
            ))
        };
        let mut repeats = Repeats::default();
        let mut spool = BufWriter::new(SpooledTempFile::new(SPOOL_BYTES));
        let mut count = 0;
        source.each(screen, &mut |id| {
            repeats.push(id).map_err(full())?;
            spool.write_all(id.as_bytes()).map_err(full())?;
            spool.write_all(b"\n").map_err(full())?;
            count += 1;
            if count % SHOWN_EVERY == 0 {
                bar.set_position(count);
            }
            Ok(())
        })?;
        bar.finish_and_clear();
        let repeated = repeats.finish().map_err(full())?;
        let spool = spool
            .into_inner()
            .map_err(|error| full()(error.into_error()))?;
        let mut ids = Self {
            spool,
            repeated,
            parts: Vec::new(),
        };
        ids.parts = ids.cut(PART_BYTES).map_err(full())?;
        if ids.parts.is_empty() {
            return Err(Error::Usage("There are no ids to delete".to_owned()));
        }
        Ok(ids)
    }

    /// How many repeats there were.
    pub(crate) fn repeats(&self) -> u64 {
        self.repeated.count()
    }

    fn cut(&mut self, part_bytes: usize) -> std::io::Result<Vec<Part>> {
        self.spool.seek(SeekFrom::Start(0))?;
        let mut parts: Vec<Part> = Vec::new();
        let (mut offset, mut bytes) = (0, usize::MAX);
        for (line, id) in BufReader::new(&mut self.spool).lines().enumerate() {
            let (line, id) = (line as u64, id?);
            if !self.repeated.contains(line) {
                let cost = event_bytes(&id);
                if bytes.saturating_add(cost) > part_bytes {
                    parts.push(Part {
                        offset,
                        first: line,
                        lines: 0,
                        ids: 0,
                    });
                    bytes = 0;
                }
                bytes += cost;
                if let Some(part) = parts.last_mut() {
                    part.ids += 1;
                }
            }
            if let Some(part) = parts.last_mut() {
                part.lines += 1;
            }
            offset += id.len() as u64 + 1;
        }
        Ok(parts)
    }

    /// The body of the request that creates the task of a part.
    pub(crate) fn body(
        &mut self,
        part: Part,
        model: &str,
        task_id: &str,
        reason: Option<&str>,
    ) -> Result<Vec<u8>, Error> {
        let broken = || Error::file("The ids' temporary file");
        self.spool
            .seek(SeekFrom::Start(part.offset))
            .map_err(broken())?;
        let mut ids = Vec::new();
        let lines = BufReader::new(&mut self.spool).lines();
        let lines = (part.first..part.first + part.lines).zip(lines);
        for (line, id) in lines {
            let id = id.map_err(broken())?;
            if !self.repeated.contains(line) {
                ids.push(id);
            }
        }
        #[derive(Serialize)]
        struct Body<'a> {
            embedding_model_id: &'a str,
            task_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
            object_ids: Vec<String>,
        }
        let body = Body {
            embedding_model_id: model,
            task_id,
            reason,
            object_ids: ids,
        };
        serde_json::to_vec(&body).map_err(|error| broken()(error.into()))
    }
}

/// How many bytes an id adds to the event, in which the request's body is a string. Quotes, escapes
/// and the comma are included. Characters that are not ASCII count as if they were escaped, since
/// AWS does not document it.
fn event_bytes(id: &str) -> usize {
    let escaped = |c: char| match c {
        '"' | '\\' => 4,
        c if c.is_ascii() => 1,
        c => 6 * c.len_utf16(),
    };
    5 + id.chars().map(escaped).sum::<usize>()
}

#[cfg(test)]
mod tests;
