//! The pauses that a store asked for, by `Retry-After` in responses with status 429.

use chrono::{DateTime, NaiveDateTime, Utc};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest pause. A store that asks for more is called again after this, since its own estimate
/// may be wrong.
const LONGEST: Duration = Duration::from_secs(600);
/// If there are this many pauses, those that are over are forgotten.
const MAX_OVER: usize = 1_000;
/// The three forms of a date ("Date/Time Formats", RFC 9110): the current one, and two that old
/// servers send.
const DATES: [&str; 3] = [
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %e %H:%M:%S %Y",
];

/// When the pause of each of a store's indexes is over, in this process.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<HashMap<String, DateTime<Utc>>>);

impl Pauses {
    /// The time that is left of an index's pause.
    pub(super) fn left(&self, index: &str, now: DateTime<Utc>) -> Duration {
        let end = self.ends().get(index).copied();
        let left = end.and_then(|end| (end - now).to_std().ok());
        left.unwrap_or_default()
    }

    /// Begins the pause of an index that a value of `Retry-After` asks for, unless a longer one is
    /// in force. A value that is neither a number of seconds nor a date asks for none.
    pub(super) fn begin(&self, index: &str, retry_after: &str, now: DateTime<Utc>) {
        let Some(pause) = asked_for(retry_after, now) else {
            return;
        };
        let mut ends = self.ends();
        if ends.len() >= MAX_OVER {
            ends.retain(|_, end| *end > now);
        }
        let end = ends.entry(index.to_owned()).or_insert(now);
        *end = (*end).max(now + pause);
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<String, DateTime<Utc>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause that a value of `Retry-After` asks for, at most [`LONGEST`].
fn asked_for(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let pause = if is_number {
        // A number that does not fit is a long time, too.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let mut dates = DATES.iter();
        let date = dates.find_map(|form| NaiveDateTime::parse_from_str(value, form).ok())?;
        // A date that has passed asks for no pause.
        (date.and_utc() - now).to_std().unwrap_or_default()
    };
    Some(pause.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn seconds_and_each_form_of_a_date_ask_for_a_pause_and_anything_else_for_none() {
        let now = "1994-11-06T08:49:00Z".parse().unwrap();
        for (value, seconds) in [
            ("0", Some(0)),
            ("30", Some(30)),
            (" 007 ", Some(7)),
            ("601", Some(600)),
            ("99999999999999999999999", Some(600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(37)),
            ("Sun Nov  6 08:49:37 1994", Some(37)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(600)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1 s", None),
            ("soon", None),
            ("1994-11-06T08:49:37Z", None),
            ("Mon, 06 Nov 1994 08:49:37 GMT", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(asked_for(value, now), expected, "{value}");
        }
    }

    #[test]
    fn a_pause_is_one_indexes_and_no_later_one_shortens_it() {
        let at = |second| DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let pauses = Pauses::default();
        pauses.begin("a", "20", at(0));
        pauses.begin("a", "5", at(1));
        pauses.begin("b", "nonsense", at(1));
        for (second, left) in [(0, 20), (19, 1), (20, 0), (21, 0)] {
            assert_eq!(pauses.left("a", at(second)), Duration::from_secs(left));
            assert_eq!(pauses.left("b", at(second)), Duration::ZERO);
        }
    }

    #[test]
    fn pauses_that_are_over_are_forgotten() {
        let (began, later) = (
            DateTime::UNIX_EPOCH,
            DateTime::UNIX_EPOCH + TimeDelta::seconds(2),
        );
        let pauses = Pauses::default();
        for number in 0..MAX_OVER {
            pauses.begin(&format!("index-{number}"), "1", began);
        }
        pauses.begin("a", "10", began);
        assert_eq!(pauses.ends().len(), MAX_OVER + 1);
        pauses.begin("b", "10", later);
        assert_eq!(pauses.ends().len(), 2);
    }
}
