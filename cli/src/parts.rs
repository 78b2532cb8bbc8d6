//! The names of tasks that were created in parts: `NAME.1-of-3`, `NAME.2-of-3`, `NAME.3-of-3`.

use crate::api::{Api, TaskResponse};
use crate::error::Error;
use crate::session::Session;
use futures_util::{StreamExt, TryStreamExt, stream};
use shared::task::TaskId;

/// The most parts that a name may have: enough for billions of ids.
const MAX_PARTS: u32 = 100_000;
/// The most parts that are searched for if their number is not known.
const MAX_PROBED_PARTS: u32 = 256;
/// The least bound of a search for a number of parts that is not expected. So a file that lost most
/// of its lines is noticed.
pub(crate) const LEAST_PROBED_PARTS: u32 = 16;
/// The most calls at once.
pub(crate) const CALLS_AT_ONCE: usize = 8;

/// A task, or all parts of one.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The name of the whole.
    pub(crate) name: String,
    /// The ids of its tasks.
    pub(crate) ids: Vec<String>,
}

impl Target {
    /// The tasks of a whole that is created in `parts` parts.
    pub(crate) fn of(name: &str, parts: u32) -> Self {
        let ids = if parts == 1 {
            vec![name.to_owned()]
        } else {
            (1..=parts)
                .map(|number| part(name, number, parts))
                .collect()
        };
        Self {
            name: name.to_owned(),
            ids,
        }
    }

    /// Notes that there are also parts of this name, which are tasks of their own.
    pub(crate) async fn note_parts_beside(&self, session: &Session) -> Result<(), Error> {
        let most = LEAST_PROBED_PARTS;
        for parts in other_numbers_of_parts(&session.api, &self.name, 1, most).await? {
            let first = part(&self.name, 1, parts);
            session.screen.note(&format!("`{first}` and the other parts are tasks of their own. Name one of them to change them."));
        }
        Ok(())
    }

    /// A name by which [`Self::find`] finds this target.
    pub(crate) fn shown(&self) -> &str {
        match self.ids.as_slice() {
            [first, ..] if self.ids.len() > MAX_PROBED_PARTS as usize => first,
            _ => &self.name,
        }
    }

    /// Finds what a person means by `name`: one task, or all parts.
    ///
    /// # Errors
    /// If there is no such task.
    pub(crate) async fn find(api: &Api, name: &str) -> Result<Self, Error> {
        if let Some((base, parts)) = parse(name) {
            let target = Self::of(base, parts);
            let last = target.ids.last().map_or(name, String::as_str);
            if api.info(name).await?.is_none() && api.info(last).await?.is_none() {
                return Err(not_found(name));
            }
            return Ok(target);
        }
        if api.info(name).await?.is_some() {
            return Ok(Self::of(name, 1));
        }
        match other_numbers_of_parts(api, name, 1, MAX_PROBED_PARTS)
            .await?
            .as_slice()
        {
            [] => Err(not_found(name)),
            [parts] => Ok(Self::of(name, *parts)),
            several => {
                let names = several.iter().map(|parts| part(name, 1, *parts));
                let names = names.collect::<Vec<_>>().join(", ");
                Err(Error::Usage(format!(
                    "`{name}` was created more than once. Name one of them: {names}"
                )))
            }
        }
    }
}

/// The tasks of a target as the service shows them.
#[derive(Debug)]
pub(crate) struct Found {
    /// The responses in the target's order.
    pub(crate) responses: Vec<TaskResponse>,
    /// The ids of the tasks that do not exist.
    pub(crate) missing: Vec<String>,
}

impl Found {
    /// Makes it from one response, or none, for each task of a target.
    pub(crate) fn of(target: &Target, responses: Vec<Option<TaskResponse>>) -> Self {
        let missing = target.ids.iter().zip(&responses);
        let missing = missing.filter(|(_, response)| response.is_none());
        Self {
            missing: missing.map(|(id, _)| id.clone()).collect(),
            responses: responses.into_iter().flatten().collect(),
        }
    }

    /// Reads all tasks of a target.
    pub(crate) async fn read(api: &Api, target: &Target) -> Result<Self, Error> {
        let reads = target.ids.iter().map(|id| api.info(id));
        let reads = stream::iter(reads).buffered(CALLS_AT_ONCE);
        Ok(Self::of(target, reads.try_collect().await?))
    }
}

/// The error for a task that does not exist.
pub(crate) fn not_found(id: &str) -> Error {
    Error::Refused(format!("Task with ID `{id}` not found"))
}

/// The name of one part.
fn part(base: &str, number: u32, parts: u32) -> String {
    format!("{base}.{number}-of-{parts}")
}

/// The name of the whole and its number of parts, if `name` is a part's.
pub(crate) fn parse(name: &str) -> Option<(&str, u32)> {
    let (base, place) = name.rsplit_once('.')?;
    let (number, parts) = place.split_once("-of-")?;
    let (number, parts): (u32, u32) = (number.parse().ok()?, parts.parse().ok()?);
    let is_written_so = part(base, number, parts) == name;
    (is_written_so
        && !base.is_empty()
        && (2..=MAX_PARTS).contains(&parts)
        && (1..=parts).contains(&number))
    .then_some((base, parts))
}

/// Returns the numbers of parts, other than `parts` and up to `most`, in which tasks of this name
/// exist. The last part is created first, so its existence tells.
pub(crate) async fn other_numbers_of_parts(
    api: &Api,
    name: &str,
    parts: u32,
    most: u32,
) -> Result<Vec<u32>, Error> {
    let most = most.min(MAX_PARTS);
    let others = (1..=most).filter(|other| *other != parts);
    let lasts = others.map(|other| (other, Target::of(name, other).ids.pop().unwrap_or_default()));
    // No task has a name that is too long, and the service refuses to look for one.
    let lasts = lasts.filter(|(_, last)| TaskId::new(last.as_str()).is_ok());
    let probes = lasts
        .map(|(other, last)| async move { Ok::<_, Error>(api.info(&last).await?.map(|_| other)) });
    let found = stream::iter(probes).buffered(CALLS_AT_ONCE);
    found
        .try_filter_map(|found| async move { Ok(found) })
        .try_collect()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_part_names_the_whole() {
        assert_eq!(parse("erase.2-of-3"), Some(("erase", 3)));
        assert_eq!(parse("a.b.1-of-70"), Some(("a.b", 70)));
        for other in [
            "erase",
            "erase.0-of-3",
            "erase.4-of-3",
            "erase.1-of-1",
            "erase.01-of-3",
            ".1-of-3",
            "x.1-of-",
            "x.1-of-4000000000",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(Target::of("a", 1).ids, ["a"]);
        assert_eq!(Target::of("a", 2).ids, ["a.1-of-2", "a.2-of-2"]);
    }
}
