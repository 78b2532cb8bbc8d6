//! `dtask run`: creates one task, or as many parts as the ids need.

use crate::api::{Progress, TaskResponse};
use crate::args::Run;
use crate::error::Error;
use crate::ids::{Ids, Source};
use crate::parts::{self, Found, LEAST_PROBED_PARTS, Target};
use crate::screen::safe;
use crate::session::Session;
use crate::shell::option;
use crate::{show, wait};
use futures_util::{StreamExt, stream};
use shared::task::{ModelId, RequestReason, TaskId};
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// The most parts that are sent at once. Each has up to 6 MB.
const PARTS_AT_ONCE: usize = 4;
const BAR: &str = "{wide_bar} {pos}/{len} parts {left}";

/// Creates the tasks that do not exist yet, and waits for them with --wait.
///
/// # Errors
/// If the input is not valid, or a task of this name has other objects.
pub(crate) async fn run(session: &Session, arguments: Run) -> Result<(), Error> {
    check(&arguments)?;
    if let Some(file) = arguments.ids.iter().find(|id| Path::new(id).is_file()) {
        session.screen.note(&format!(
            "`{file}` is taken for an id, and there is a file of this name. To read ids from it, use {}",
            option("--file", file)
        ));
    }
    let source = Source::of(&arguments)?;
    let screen = session.screen.clone();
    let ids = tokio::task::spawn_blocking(move || Ids::read(source, &screen)).await;
    let ids = ids.map_err(|error| Error::Refused(error.to_string()))??;
    let is_named = arguments.task_id.is_some();
    let name = arguments
        .task_id
        .clone()
        .unwrap_or_else(|| Uuid::now_v7().to_string());
    let number = u32::try_from(ids.parts.len()).unwrap_or(u32::MAX);
    let target = Target::of(&name, number);
    if let Some(last) = target.ids.last() {
        TaskId::new(last.as_str()).map_err(|rule| {
            Error::Usage(format!(
                "--task-id: the parts' names, such as `{last}`, {rule}"
            ))
        })?;
    }
    if is_named {
        refuse_other_parts(session, &target).await?;
    }
    if !is_named && (number > 1 || session.json) {
        session.screen.note(&format!("The task's id is {name}."));
    }
    let created = create(session, &arguments, &target, ids).await?;
    if arguments.wait {
        return wait::wait_for(session, &target).await;
    }
    report(session, &target, &created)
}

/// # Errors
/// Names each option that is not valid.
fn check(arguments: &Run) -> Result<(), Error> {
    let mut errors = Vec::new();
    if let Err(rule) = ModelId::new(arguments.model.as_str()) {
        errors.push(format!("MODEL {rule}"));
    }
    if let Some(Err(rule)) = arguments.task_id.as_deref().map(TaskId::new) {
        errors.push(format!("--task-id {rule}"));
    }
    if let Some((base, _)) = arguments.task_id.as_deref().and_then(parts::parse) {
        errors.push(format!(
            "--task-id must not look like the name of a part; for all parts give `{base}`"
        ));
    }
    if let Some(Err(rule)) = arguments.reason.as_deref().map(RequestReason::new) {
        errors.push(format!("--reason {rule}"));
    }
    if arguments.ids.len() > 1 && arguments.ids.iter().any(|id| id == "-") {
        errors.push("IDS: `-` reads standard input, so it stands alone".to_owned());
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Error::Usage(errors.join("\n")))
}

/// Refuses ids that need another number of parts than an earlier run with the same name. Such ids
/// have changed, and their tasks would be created in addition to the earlier ones.
async fn refuse_other_parts(session: &Session, target: &Target) -> Result<(), Error> {
    let parts = u32::try_from(target.ids.len()).unwrap_or(u32::MAX);
    let last = target.ids.last().map(String::as_str).unwrap_or_default();
    if session.api.info(last).await?.is_some() {
        return Ok(());
    }
    let most = LEAST_PROBED_PARTS.max(parts.saturating_mul(4));
    let others = parts::other_numbers_of_parts(&session.api, &target.name, parts, most).await?;
    let Some(other) = others.first() else {
        return Ok(());
    };
    let other = Target::of(&target.name, *other)
        .ids
        .pop()
        .unwrap_or_default();
    Err(Error::Refused(format!(
        "`{other}` exists already, but these ids need another number of parts ({parts}): they have changed since. Nothing was created. Use another --task-id"
    )))
}

/// Creates the parts. The last one comes first, since it shows how many there are. If it existed,
/// the other existing parts come next: they show whether the ids have changed before anything is
/// created.
async fn create(
    session: &Session,
    arguments: &Run,
    target: &Target,
    ids: Ids,
) -> Result<Vec<TaskResponse>, Error> {
    let number = target.ids.len();
    let go_on = |created: usize| {
        let mut text = if number == 1 {
            "The task may have been created. To make sure, run the same command again".to_owned()
        } else {
            format!(
                "At least {created} of {number} parts exist. To go on, run the same command again"
            )
        };
        if arguments.task_id.is_none() {
            text += &format!(", with --task-id {}", target.name);
        }
        text
    };
    session.if_cut_short(go_on(0));
    let bar = (number > 1).then(|| session.screen.bar(number as u64, BAR));
    let parts = ids.parts.clone();
    let ids = Arc::new(Mutex::new(ids));
    let send = |(id, part): (String, _)| {
        let ids = Arc::clone(&ids);
        let (model, reason, name) = (
            arguments.model.clone(),
            arguments.reason.clone(),
            id.clone(),
        );
        async move {
            let body = tokio::task::spawn_blocking(move || {
                let mut ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
                ids.body(part, &model, &name, reason.as_deref())
            });
            let body = body
                .await
                .map_err(|error| Error::Refused(error.to_string()))??;
            let created = session.api.run(body.into()).await?;
            if created.is_mismatch {
                return Err(Error::Refused(format!(
                    "`{id}` exists already, with other objects or another model: this command is not the one that created it. It was \
                     left as it is. Use another --task-id"
                )));
            }
            Ok(created)
        }
    };
    let mut parts: Vec<_> = target.ids.iter().cloned().zip(parts).collect();
    let mut created: Vec<TaskResponse> = Vec::with_capacity(number);
    if let Some(last) = parts.pop() {
        created.push(send(last).await?);
    }
    let mut batches = vec![parts];
    if created.iter().any(|last| last.is_replayed) && number > 1 {
        let missing = Found::read(&session.api, target).await?.missing;
        let missing: HashSet<_> = missing.into_iter().collect();
        let parts = batches.into_iter().flatten();
        let (new, old) = parts.partition(|(id, _)| missing.contains(id));
        batches = vec![old, new];
    }
    for batch in batches {
        let batch = stream::iter(batch.into_iter().rev()).map(&send);
        let mut batch = std::pin::pin!(batch.buffer_unordered(PARTS_AT_ONCE));
        while let Some(one) = batch.next().await {
            created.push(one?);
            session.if_cut_short(go_on(created.len()));
            if let Some(bar) = &bar {
                bar.set_position(created.len() as u64);
            }
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
    if ids.repeats() > 0 && !session.json {
        session.screen.note(&format!(
            "{} were left out.",
            show::counted(ids.repeats(), "repeated id")
        ));
    }
    Ok(created)
}

fn report(session: &Session, target: &Target, created: &[TaskResponse]) -> Result<(), Error> {
    if session.json {
        for response in created {
            show::report(&response.json)?;
        }
        return Ok(());
    }
    let mut progress = Progress::default();
    created
        .iter()
        .for_each(|response| progress += response.task.progress);
    let objects = show::counted(progress.total, "object");
    let replayed = created
        .iter()
        .filter(|response| response.is_replayed)
        .count();
    let name = safe(&target.name);
    let text = match (created, replayed) {
        ([one], 0) => {
            let model = safe(&one.task.embedding_model_id);
            format!("{name} was created: {objects} of {model}")
        }
        ([one], _) => format!("{name} existed already: {objects}, {}", one.task.status),
        (many, 0) => format!("{name} was created in {} parts: {objects}", many.len()),
        (many, replayed) => format!(
            "{name} has {} parts, of which {replayed} existed already: {objects}; {}",
            many.len(),
            show::statuses(many.iter().map(|response| &response.task))
        ),
    };
    show::report(&text)?;
    if session.screen.is_terminal() {
        let command = session.command("wait", target.shown());
        session.screen.note(&format!("To wait for it: {command}"));
    }
    Ok(())
}
