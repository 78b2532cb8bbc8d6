//! What a person sees on standard error while a command runs: notes, and progress if it is a
//! terminal.

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often a bar is redrawn even if nothing has changed.
const TICK: Duration = Duration::from_millis(200);

/// The shortest time between two prints of the same note.
const SAME_NOTE_EVERY: Duration = Duration::from_secs(30);

/// Standard error. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen {
    bars: MultiProgress,
    /// When each recurring note was last printed.
    noted: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Screen {
    /// Whether standard error is a terminal, so that a person can watch.
    pub(crate) fn is_terminal(&self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// Whether bars are drawn. Not every terminal can show them.
    pub(crate) fn draws(&self) -> bool {
        !self.bars.is_hidden()
    }

    /// Prints a note about something that lasts: once, and again from time to time.
    pub(crate) fn note_now_and_then(&self, text: &str) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let last = noted.get(text).map(Instant::elapsed);
        if last.is_none_or(|last| last >= SAME_NOTE_EVERY) {
            noted.insert(text.to_owned(), Instant::now());
            drop(noted);
            self.note(text);
        }
    }

    /// Prints a line above the bars.
    pub(crate) fn note(&self, text: &str) {
        self.bars.suspend(|| {
            let _ = writeln!(anstream::stderr(), "{}", safe_lines(text));
        });
    }

    /// A bar in the style of `template`, in indicatif's syntax with two more keys: `{rate}` is the
    /// number per second, `{left}` the time that is left.
    pub(crate) fn bar(&self, total: u64, template: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
                let _ = write!(out, "{:.0}/s", state.per_sec());
            })
            .with_key("left", |state: &ProgressState, out: &mut dyn fmt::Write| {
                // While nothing moves, the time is not known.
                if state.per_sec() > 0.0 {
                    let _ = write!(out, "{} left ", HumanDuration(state.eta()));
                }
            });
        let bar = self
            .bars
            .add(ProgressBar::new(total).with_style(style.progress_chars("━━─")));
        bar.enable_steady_tick(TICK);
        bar
    }

    /// Removes all bars.
    pub(crate) fn clear(&self) {
        let _ = self.bars.clear();
    }
}

/// A caller's or a store's text, safe for a terminal. Characters that would move the cursor or
/// reorder the line are written as `\u…`, which in JSON is the same text.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_safe) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().map(|c| {
        if is_safe(c) {
            c.to_string()
        } else {
            format!("\\u{:04x}", u32::from(c))
        }
    });
    Cow::Owned(escaped.collect())
}

/// The same as [`safe`] for a text of several lines.
pub(crate) fn safe_lines(text: &str) -> String {
    text.split('\n').map(safe).collect::<Vec<_>>().join("\n")
}

/// Whether a character is neither a control character nor a mark of Unicode's bidirectional
/// algorithm (UAX #9).
fn is_safe(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_text_cannot_move_the_cursor() {
        assert_eq!(safe("日本 ok"), "日本 ok");
        assert_eq!(safe("a\u{1b}[2Jb"), "a\\u001b[2Jb");
        assert_eq!(safe("a\u{202e}b"), "a\\u202eb");
        assert_eq!(safe_lines("a\nb\rc"), "a\nb\\u000dc");
    }
}
