//! Times: parsed from the command line, and formatted for people.

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use shared::clock::Clock;

/// A time that was given on the command line.
pub(crate) type Moment = DateTime<Utc>;

/// Parses `2026-11-29T12:00:00Z`, `2026-11-29` (midnight UTC), or a duration such as `12h`, which
/// means that long ago.
///
/// # Errors
/// Says which forms a time can have.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    moment_at(text, Clock::System.now())
}

fn moment_at(text: &str, now: Moment) -> Result<Moment, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    let ago = humantime::parse_duration(text).ok();
    let ago = ago.and_then(|ago| TimeDelta::from_std(ago).ok());
    ago.and_then(|ago| now.checked_sub_signed(ago))
        .ok_or_else(|| {
            "it is neither a time (2026-11-29T12:00:00Z), nor a date (2026-11-29), nor a duration ago (90m, 12h, 7d)".to_owned()
        })
}

/// A time in the form of the API.
pub(crate) fn rfc3339(time: Moment) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The first whole second that is not before this time.
pub(crate) fn whole_second(time: Moment) -> Moment {
    if time.timestamp_subsec_nanos() == 0 {
        return time;
    }
    second_after(time)
}

/// The first whole second after this time.
pub(crate) fn second_after(time: Moment) -> Moment {
    let second = time.timestamp().saturating_add(1);
    DateTime::from_timestamp(second, 0).unwrap_or(Moment::MAX_UTC)
}

/// How long ago, in one unit: `12s`, `5m`, `3h`, `9d`.
pub(crate) fn age(time: Moment, now: Moment) -> String {
    let seconds = (now - time).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_three_ways() {
        let noon: Moment = "2026-11-29T12:00:00Z".parse().unwrap();
        for (written, expected) in [
            ("2026-11-29T13:00:00+01:00", "2026-11-29T12:00:00Z"),
            ("2026-11-29", "2026-11-29T00:00:00Z"),
            ("2h", "2026-11-29T10:00:00Z"),
        ] {
            assert_eq!(
                moment_at(written, noon).map(rfc3339).as_deref(),
                Ok(expected)
            );
        }
        for nonsense in [
            "",
            "yesterday",
            "29.11.2026",
            "-5m",
            "99999999999999999999d",
        ] {
            assert!(moment_at(nonsense, noon).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_time_is_rounded_up_to_a_whole_second() {
        for (time, whole, after) in [
            ("12:00:00Z", "12:00:00Z", "12:00:01Z"),
            ("12:00:00.1Z", "12:00:01Z", "12:00:01Z"),
        ] {
            let time: Moment = format!("2026-11-29T{time}").parse().unwrap();
            let shown = [whole_second(time), second_after(time)].map(rfc3339);
            assert_eq!(shown, [whole, after].map(|it| format!("2026-11-29T{it}")));
        }
        assert_eq!(second_after(Moment::MAX_UTC), Moment::MAX_UTC);
    }

    #[test]
    fn an_age_has_one_unit() {
        let now: Moment = "2026-11-29T12:00:00Z".parse().unwrap();
        for (seconds, shown) in [
            (-5, "0s"),
            (59, "59s"),
            (61, "1m"),
            (7_199, "1h"),
            (172_800, "2d"),
        ] {
            assert_eq!(age(now - TimeDelta::seconds(seconds), now), shown);
        }
    }
}
